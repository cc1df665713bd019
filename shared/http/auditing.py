"""Writes an audit entry for each request that may change something: by default for every route.

The entry is stored before the route runs; without it the request is refused (503), so that no
change is made unseen.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final, Protocol

import msgspec
import structlog
from starlette.responses import Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from shared.http.borders import ENTITY, HOLDER, Holder, below
from shared.http.problems import problem
from shared.http.route_of import route_of
from shared.kernel.errors import Transient
from shared.postgres.audit import Change
from shared.runtime.clock import Clock

SENT_BYTES_MAX: Final = 16 * 1024
"""Bytes of a request's content that are kept: a policy has some 5 KB."""

CUSTOMER: Final = "customer_id"
"""Name of the path's value that is a customer."""

PERSONAL: Final = (
    "/v1/absences",
    "/v1/customers",
    "/v1/erasures",
    "/v1/exports",
    "/v1/feedback",
    "/v1/grades",
    "/v1/identities",
    "/v1/tasks",
)
"""Paths with content about customers, which an append-only table must not keep."""

SECRETS: Final = ("secret", "token", "password", "key", "credential")
"""A field whose name contains one of these is left out."""

LEFT_OUT: Final = "(left out)"

log = structlog.get_logger(__name__)


class Entries(Protocol):
    """Stores audit entries."""

    async def begin(self, change: Change, at: Any) -> int: ...
    async def end(self, entry: int, outcome: str, at: Any) -> None: ...


@dataclass(frozen=True, slots=True, kw_only=True)
class Auditing:
    """Audits a service's requests. A path covers itself and all paths below it."""

    entries: Entries
    clock: Clock
    also: Sequence[str] = ()
    """Paths whose reading is audited, too."""
    skipped: Sequence[str] = ()
    """Paths whose requests change nothing, or bring events, which are counted elsewhere."""

    async def __call__(
        self, scope: Scope, receive: Receive, send: Send, serve: ASGIApp, body: bytes | None
    ) -> None:
        """Serve a request, with an entry around it where it may change something."""
        change = self._change(scope, body)
        if change is None:
            await serve(scope, receive, send)
            return
        try:
            entry = await self.entries.begin(change, self.clock.now())
        except Transient:
            await _unavailable()(scope, receive, send)
            return
        status = _Status(send)
        try:
            await serve(scope, receive, status)
        finally:
            try:
                await self.entries.end(entry, status.outcome, self.clock.now())
            except Transient as trouble:
                log.warning("an audit entry stays open", entry=entry, trouble=str(trouble))

    def _change(self, scope: Scope, body: bytes | None) -> Change | None:
        holder: Holder | None = scope.get(HOLDER)
        path = scope["path"]
        if holder is None:
            return None
        if scope["method"] not in ENTITY and not any(below(path, at) for at in self.also):
            return None
        if any(below(path, at) for at in self.skipped):
            return None
        route, values = route_of(scope)
        if route is None:
            return None
        client = scope.get("client")
        return Change(
            actor=holder.name,
            origin=client[0] if client else "",
            action=f"{scope['method']} {route}",
            target={name: value for name, value in values.items() if name != CUSTOMER},
            customer_id=values.get(CUSTOMER),
            sent=None if any(below(path, at) for at in PERSONAL) else _content(body),
        )


class _Status:
    """A `send` that remembers the answer's status."""

    def __init__(self, send: Send) -> None:
        self._send = send
        self.outcome = "no answer"

    async def __call__(self, message: Message) -> None:
        if message["type"] == "http.response.start":
            self.outcome = str(message["status"])
        await self._send(message)


def _content(body: bytes | None) -> Any:
    """Returns a request's content without secrets; a note where it is too long or no JSON."""
    if not body:
        return None
    if len(body) > SENT_BYTES_MAX:
        return f"({len(body):,} bytes)"
    try:
        return without_secrets(msgspec.json.decode(body))
    except msgspec.DecodeError:
        return f"({len(body):,} bytes, no JSON)"


def without_secrets(value: Any) -> Any:
    """Returns a value of JSON with every secret left out.

    >>> without_secrets({"url": "u", "secrets": ["s"], "inner": [{"api_key": "k"}]})
    {'url': 'u', 'secrets': '(left out)', 'inner': [{'api_key': '(left out)'}]}
    """
    if isinstance(value, dict):
        return {
            name: LEFT_OUT if _is_secret(name) and inner is not None else without_secrets(inner)
            for name, inner in value.items()
        }
    if isinstance(value, list):
        return [without_secrets(inner) for inner in value]
    return value


def _is_secret(name: str) -> bool:
    return any(word in name.lower() for word in SECRETS)


def _unavailable() -> Response:
    return problem(503, "Temporarily unavailable", "no change is made that cannot be audited")
