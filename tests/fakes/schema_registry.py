"""A schema registry on loopback, made after the documented API of Confluent's."""

import hashlib
import json
from base64 import b64encode
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any
from uuid import UUID

from aiohttp import web

from tests.fakes.crm.serving import Served, answer


@dataclass(slots=True)
class FakeRegistry(Served):
    """Keeps schemas by number and subject. `user`, `password`: what it asks for, where set."""

    user: str = ""
    password: str = ""
    schemas: list[dict[str, Any]] = field(default_factory=list)
    """A schema's number is its place, from 1."""
    subjects: dict[str, list[int]] = field(default_factory=dict)
    bodies: dict[str, bytes] = field(default_factory=dict)
    """Answers of status 200 to come instead, by path."""

    def register(
        self, subject: str, schema: Any, kind: str = "AVRO", references: Sequence[Any] = ()
    ) -> int:
        """Register a schema (a descriptor in bytes: of Protobuf); return its number."""
        text = b64encode(schema).decode() if isinstance(schema, bytes) else json.dumps(schema)
        given = {"schema": text, "schemaType": kind, "references": list(references)}
        return int(self._registered(subject, given)["id"])

    def guid(self, number: int) -> UUID:
        """Return the GUID of a schema."""
        text = json.dumps(self.schemas[number - 1], sort_keys=True).encode()
        return UUID(bytes=hashlib.blake2b(text, digest_size=16).digest())

    def app(self) -> web.Application:
        app = web.Application(middlewares=[self._guard])
        app.router.add_get("/schemas/ids/{number}", self._by_number)
        app.router.add_get("/schemas/guids/{guid}", self._by_guid)
        app.router.add_get("/subjects/{subject}/versions/{version}", self._version)
        app.router.add_post("/subjects/{subject}/versions", self._register)
        app.router.add_post("/subjects/{subject}", self._look_up)
        return app

    @web.middleware
    async def _guard(self, request: web.Request, handler: Any) -> web.StreamResponse:
        wanted = b64encode(f"{self.user}:{self.password}".encode()).decode()
        if self.user and request.headers.get("authorization") != f"Basic {wanted}":
            return answer({"error_code": 401, "message": "Unauthorized"}, 401)
        if request.path in self.bodies:
            return web.Response(body=self.bodies[request.path])
        found: web.StreamResponse = await handler(request)
        return found

    async def _by_number(self, request: web.Request) -> web.Response:
        number = int(request.match_info["number"])
        return self._shown(request, number, 40403)

    async def _by_guid(self, request: web.Request) -> web.Response:
        guid = UUID(request.match_info["guid"])
        numbers = [n for n in range(1, len(self.schemas) + 1) if self.guid(n) == guid]
        return self._shown(request, numbers[0] if numbers else 0, 40403)

    async def _version(self, request: web.Request) -> web.Response:
        subject, version = request.match_info["subject"], request.match_info["version"]
        numbers = self.subjects.get(subject, [])
        if not numbers:
            return answer({"error_code": 40401, "message": "Subject not found"}, 404)
        at = len(numbers) if version == "latest" else int(version)
        if not 1 <= at <= len(numbers):
            return answer({"error_code": 40402, "message": "Version not found"}, 404)
        return self._shown(request, numbers[at - 1], 40403, subject=subject, version=at)

    async def _register(self, request: web.Request) -> web.Response:
        return answer(self._registered(request.match_info["subject"], await request.json()))

    async def _look_up(self, request: web.Request) -> web.Response:
        return answer(self._registered(request.match_info["subject"], await request.json()))

    def _registered(self, subject: str, given: dict[str, Any]) -> dict[str, Any]:
        kept = {
            "schema": given["schema"],
            "schemaType": given.get("schemaType", "AVRO"),
            "references": given.get("references") or [],
        }
        if kept not in self.schemas:
            self.schemas.append(kept)
        number = self.schemas.index(kept) + 1
        numbers = self.subjects.setdefault(subject, [])
        if number not in numbers:
            numbers.append(number)
        return self._whole(number, subject=subject, version=numbers.index(number) + 1)

    def _whole(self, number: int, **more: Any) -> dict[str, Any]:
        kept = self.schemas[number - 1]
        whole = {"id": number, "guid": str(self.guid(number)), **more, **kept}
        if kept["schemaType"] == "AVRO":
            whole.pop("schemaType")  # as older registries answer
        return whole

    def _shown(self, request: web.Request, number: int, code: int, **more: Any) -> web.Response:
        if not 1 <= number <= len(self.schemas):
            return answer({"error_code": code, "message": "Schema not found"}, 404)
        whole = self._whole(number, **more)
        if whole.get("schemaType") == "PROTOBUF" and request.query.get("format") != "serialized":
            whole["schema"] = 'syntax = "proto3"; // the source, as it is shown without a format'
        return answer(whole)
