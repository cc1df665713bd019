"""Asks a schema registry over its documented HTTP API (Confluent's, which others have too)."""

import asyncio
import ssl
from pathlib import Path
from typing import Final
from urllib.parse import quote

import httpx

from services.ingest.core.faults import fault
from services.ingest.core.framing.frame import SchemaKey
from services.ingest.core.framing.schemas import (
    ANSWER_BYTES_MAX,
    PROTOBUF,
    Reference,
    RegisteredSchema,
    is_not_found,
    named,
    read_schema,
)
from shared.kernel.errors import Invalid, Transient

REQUEST_S: Final = 5.0
"""How long one answer may take, in seconds; it comes from the registry's memory."""

CONNECTIONS_MAX: Final = 8
"""Requests at once: new schemas come one by one, unknown numbers perhaps in crowds."""

ACCEPT: Final = "application/vnd.schemaregistry.v1+json, application/json"
SERIALIZED: Final = {"format": "serialized"}
"""Asks for Protobuf's descriptor instead of its source, which would have to be compiled."""

_FOUND: Final = 200
_ABSENT: Final = 404
_UNSUPPORTED: Final = 501


class SchemaRegistry:
    """One per process; `close` it."""

    def __init__(
        self, url: str, user: str = "", password: str = "", cafile: Path | None = None
    ) -> None:
        """`cafile`: the authorities to trust instead of the system's. Raises OSError."""
        self._url = url.rstrip("/")
        self._client = httpx.AsyncClient(
            auth=httpx.BasicAuth(user, password) if user else None,
            verify=ssl.create_default_context(cafile=cafile),
            headers={"accept": ACCEPT, "accept-encoding": "identity"},
            limits=httpx.Limits(max_connections=CONNECTIONS_MAX),
            timeout=REQUEST_S,
            follow_redirects=False,
            trust_env=False,
        )

    async def schema(self, key: SchemaKey) -> RegisteredSchema:
        """Return a schema; raises Invalid where there is none or it is unusable, and Transient."""
        kind = "ids" if isinstance(key, int) else "guids"
        return await self._asked(f"/schemas/{kind}/{key}", {}, named(key))

    async def version(self, reference: Reference, *, serialized: bool) -> RegisteredSchema:
        """Return a schema that another one refers to, even if it was deleted since.

        `serialized`: it is one of Protobuf. Raises Invalid and Transient.
        """
        subject, version = reference.subject, reference.version
        query = {"deleted": "true"} | (SERIALIZED if serialized else {})
        path = f"/subjects/{quote(subject, safe='')}/versions/{version}"
        return await self._answered(path, query, f"subject {subject!r:.100}, version {version}")

    async def close(self) -> None:
        """Close the connections."""
        await self._client.aclose()

    async def _asked(self, path: str, query: dict[str, str], what: str) -> RegisteredSchema:
        found = await self._answered(path, query, what)
        if found.type == PROTOBUF:
            return await self._answered(path, query | SERIALIZED, what)
        return found

    async def _answered(self, path: str, query: dict[str, str], what: str) -> RegisteredSchema:
        try:
            async with (
                asyncio.timeout(REQUEST_S),
                self._client.stream("GET", self._url + path, params=query) as answer,
            ):
                status, body = answer.status_code, await _bounded(answer)
        except (httpx.HTTPError, httpx.InvalidURL, OSError, TimeoutError) as error:
            raise Transient(f"the schema registry does not answer: {_shown(error)}") from error
        if body is None:
            raise fault("value", f"{what}: the answer has more than {ANSWER_BYTES_MAX:,} bytes")
        if status == _ABSENT and is_not_found(body):
            raise fault("value", f"{what} is not in the registry")
        if status == _UNSUPPORTED and query.get("format"):
            raise fault("value", f"{what}: the registry cannot send Protobuf as a descriptor")
        if status != _FOUND:
            raise Transient(f"the schema registry answers {status} for {what}: {_mend(status)}")
        try:
            return read_schema(body)
        except Invalid as wrong:
            raise Transient(f"the schema registry's answer for {what}: {wrong}") from wrong


async def _bounded(answer: httpx.Response) -> bytes | None:
    """Returns the body of an answer; None where it is too long."""
    if answer.headers.get("content-encoding", "identity") != "identity":
        raise httpx.DecodingError("compressed, though that was not asked for")
    found = bytearray()
    async for part in answer.aiter_raw():
        found += part
        if len(found) > ANSWER_BYTES_MAX:
            return None
    return bytes(found)


def _mend(status: int) -> str:
    """Returns what to check after an answer that is not one of a working registry."""
    if status in (401, 403):
        return "check user and password"
    return "check its address" if status < 500 else "it will be asked again"  # noqa: PLR2004


def _shown(error: Exception) -> str:
    return f"{type(error).__name__} {error!s:.200}".strip()
