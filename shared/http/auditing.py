"""Writes an audit entry for each request that may change something: by default for every route.

The entry is stored before the route runs; without it the request is refused (503), so that no
change is made unseen.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final, Protocol

import msgspec
import structlog
from starlette.responses import Response
from starlette.types import ASGIApp, Receive, Scope, Send

from shared.http.answered import Answered
from shared.http.borders import ENTITY, HOLDER
from shared.http.declared import UNDECLARED, declared
from shared.http.holder import Holder
from shared.http.problems import problem
from shared.http.route_of import route_of
from shared.kernel.errors import UNREADABLE, Transient
from shared.kernel.text import unkeepable
from shared.postgres.audit import Change
from shared.runtime.clock import Clock

SENT_BYTES_MAX: Final = 16 * 1024
"""Bytes of a request's content that are kept: a policy has some 5 KB."""

log = structlog.get_logger(__name__)


class Entries(Protocol):
    """Stores audit entries."""

    async def begin(self, change: Change, at: Any) -> int: ...
    async def end(self, entry: int, change: Change, outcome: str, at: Any) -> None: ...


@dataclass(frozen=True, slots=True, kw_only=True)
class Auditing:
    """Audits a service's requests, as the routes declare it (`shared.http.declared`).

    A route that declares nothing is audited where it may change something, without its content. One
    that reads is audited where it declares so.
    """

    entries: Entries
    clock: Clock

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
        answer = Answered(send, "no answer")
        try:
            await serve(scope, receive, answer)
        finally:
            try:
                await self.entries.end(entry, change, answer.status, self.clock.now())
            except Transient as trouble:
                log.warning("an audit entry stays open", entry=entry, trouble=str(trouble))

    def _change(self, scope: Scope, body: bytes | None) -> Change | None:
        holder: Holder | None = scope.get(HOLDER)
        if holder is None:
            return None
        route, values = route_of(scope)
        if route is None:
            return None
        what = declared(route.endpoint)
        if what is None:
            what = UNDECLARED if scope["method"] in ENTITY else None
        if what is None or not what.has_entry:
            return None
        content = _content(body)
        fields = content if isinstance(content, dict) else {}
        client = scope.get("client")
        return Change(
            actor=holder.name,
            origin=client[0] if client else "",
            action=f"{scope['method']} {route.path}",
            target={name: value for name, value in values.items() if name != what.customer},
            customer_id=_text(what.customer, values, fields),
            sent=content if what.content == "kept" else None,
            on_behalf_of=None if holder.person is None else holder.person.id,
            state=what.state,
            key=None if what.state is None else what.state.key(values, fields),
        )


def _text(name: str, *given: Mapping[str, Any]) -> str | None:
    """Returns the first value of a name, if PostgreSQL can keep it: the route refuses any other."""
    found = next((each[name] for each in given if name in each), None)
    return found if isinstance(found, str) and unkeepable(found) is None else None


def _content(body: bytes | None) -> Any:
    """Returns a request's content; a note where it is too long or no JSON."""
    if not body:
        return None
    if len(body) > SENT_BYTES_MAX:
        return f"({len(body):,} bytes)"
    try:
        return msgspec.json.decode(body)
    except UNREADABLE:
        return f"({len(body):,} bytes, no JSON)"


def _unavailable() -> Response:
    return problem(503, "Temporarily unavailable", "no change is made that cannot be audited")
