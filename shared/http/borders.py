"""Checks every request before any route: authentication, size limits, validity.

The order keeps unauthenticated requests cheap: path and query, how many requests are in progress,
the token, and only then the body, with bounded bytes, time and nesting. Every answer carries
headers that keep it out of caches and frames. New routes are protected by default.
"""

import asyncio
import base64
import binascii
from collections import Counter
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Final, Protocol
from urllib.parse import parse_qsl, unquote_to_bytes

from starlette.datastructures import Headers, MutableHeaders
from starlette.responses import Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from shared.http.content import DEPTH_MAX, TooDeep, look_at
from shared.http.holder import Holder
from shared.http.inflating import Inflating, TooLarge
from shared.http.on_behalf import UNAUTHORIZED, NotBelieved, claim_of
from shared.http.problems import problem
from shared.kernel.errors import Invalid, Transient
from shared.kernel.text import kept

REQUESTS_MAX: Final = 256
"""Requests in progress at once, probes aside: PostgreSQL serves some ten of them at a time, and a
client behind so many has given up before the answer."""

BODIES_BYTES_MAX: Final = 80 * 1024 * 1024
"""Bytes of all bodies held at once: what a small container can spare."""

IDLE_S_MAX: Final = 5.0
"""Longest pause between two pieces of a body, in seconds: a mobile network's pause."""

ENTITY: Final = frozenset({"POST", "PUT", "PATCH", "DELETE"})
"""Methods with a body that is read."""

HOLDER: Final = "ebbwatch.holder"
"""Key of a request's scope that stores the token's holder."""

ROUTES: Final = "ebbwatch.routes"
"""Key of a request's scope that stores the application's routes."""

PROBES: Final = frozenset({"/livez", "/readyz", "/startupz"})

HEADERS: Final = {
    "X-Content-Type-Options": "nosniff",
    "Cache-Control": "no-store",
    "X-Frame-Options": "DENY",
    "Content-Security-Policy": "frame-ancestors 'none'",
    "Referrer-Policy": "no-referrer",
}
"""Set on every answer: it contains customer data, which no cache or foreign page may hold."""


class Guard(Protocol):
    """Finds the holders of tokens; `claim`: the header that names a person."""

    async def holder_of(self, token: str, claim: str | None = None) -> Holder | None: ...


Audited = Callable[[Scope, Receive, Send, ASGIApp, bytes | None], Awaitable[None]]
"""Serves a request, by the application and with the body that are given, with an audit entry around
it where it may change something."""


@dataclass(frozen=True, slots=True)
class BodyRule:
    """The limits of bodies sent to routes below a path."""

    bytes_max: int = 1024 * 1024
    seconds_max: float = 15.0
    """From its first byte to its last: 1 MiB over a line of 1 Mbit/s takes 9 s."""

    raw: bool = False
    """True: the route checks the content itself, because it is signed, or holds many events that
    are refused one by one."""

    gzip: bool = False
    """Whether `Content-Encoding: gzip` is taken; the bound on the bytes then holds for both forms,
    and the route gets the decompressed one."""

    at_once_max: int = REQUESTS_MAX
    """Requests below the path at once: fewer where senders are known by their content only, so
    that strangers' bodies leave room for the others'."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Limits:
    """What differs between the services. A path covers itself and all paths below it."""

    guard: Guard | None = None
    """None: routes authenticate themselves (tests of single routes)."""
    open: tuple[str, ...] = ()
    """Paths that need no token, beside the probes."""
    basic: tuple[str, ...] = ()
    """Paths that also take a token as the user name of Basic authentication, without a password, as
    clients of other systems send their key."""
    bodies: Mapping[str, BodyRule] = field(default_factory=dict)
    """Exceptions from the default body rule, by path."""
    audit: Audited | None = None
    """None: nothing is audited (tests of single routes)."""

    def body(self, path: str) -> tuple[str, BodyRule]:
        """Return the rule for bodies sent to `path`, after the path that it is given for."""
        given = self.bodies.items()
        return next(((at, body) for at, body in given if below(path, at)), ("", BodyRule()))


class _Refused(Exception):  # noqa: N818
    """Carries the answer to a request that is refused here."""

    def __init__(self, answer: Response) -> None:
        super().__init__()
        self.answer = answer


def below(path: str, at: str) -> bool:
    """Returns whether `path` is `at` or lies below it."""
    return path == at or path.startswith(f"{at.rstrip('/')}/")


class Borders:
    """ASGI middleware around an application; counts the requests in progress in this process."""

    def __init__(self, app: ASGIApp, limits: Limits) -> None:
        self._app = app
        self._limits = limits
        self._requests = 0
        self._requests_at: Counter[str] = Counter()
        """Requests in progress by the path of their body rule."""
        self._bytes = 0

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Check and handle one request."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        send = _with_headers(send)
        if _has_two_lengths(scope):
            detail = "send Content-Length or Transfer-Encoding, not both"
            answer = problem(400, "Request refused", detail, {"Connection": "close"})
            await answer(scope, receive, send)
            return
        if scope["path"] in PROBES:
            await self._app(scope, receive, send)
            return
        if self._requests >= REQUESTS_MAX:
            await _busy("too many requests are under way")(scope, receive, send)
            return
        at, rule = self._limits.body(scope["path"])
        if self._requests_at[at] >= rule.at_once_max:
            await _busy("too many requests of this kind are under way")(scope, receive, send)
            return
        self._requests += 1
        self._requests_at[at] += 1
        held = 0
        try:
            _check_target(scope)
            await self._identify(scope)
            body = await self._body(rule, scope, receive)
            held = len(body or b"")
            receive = receive if body is None else _replay(body, receive)
            if self._limits.audit is None:
                await self._app(scope, receive, send)
            else:
                await self._limits.audit(scope, receive, send, self._app, body)
        except _Refused as refused:
            await refused.answer(scope, receive, send)
        except Invalid as wrong:
            await problem(422, "Invalid input", str(wrong))(scope, receive, send)
        finally:
            self._requests -= 1
            self._requests_at[at] -= 1
            self._bytes -= held

    async def _identify(self, scope: Scope) -> None:
        """Store the token's holder in the scope; refuse a request without a valid token."""
        guard, path = self._limits.guard, scope["path"]
        if guard is None or any(below(path, at) for at in self._limits.open):
            return
        basic = any(below(path, at) for at in self._limits.basic)
        token = token_of(Headers(scope=scope).get("authorization", ""), basic=basic)
        if not token:
            way = "Basic, with the token as user name" if basic else "Bearer <token>"
            raise _Refused(unauthorized(f"send `Authorization: {way}`", basic=basic))
        try:
            holder = await guard.holder_of(token, claim_of(Headers(scope=scope)))
        except Transient:
            raise _Refused(_busy("try again shortly")) from None
        except NotBelieved as refused:
            raise _Refused(_not_believed(refused)) from None
        if holder is None:
            raise _Refused(unauthorized("this token is unknown or was revoked", basic=basic))
        scope[HOLDER] = holder

    async def _body(self, rule: BodyRule, scope: Scope, receive: Receive) -> bytes | None:
        """Read the whole body, counted in `_bytes`; None where none is read."""
        if scope["method"] not in ENTITY:
            return None
        headers = Headers(scope=scope)
        compressed = _check_head(headers, rule)
        body = await self._read(rule, receive, Inflating(rule.bytes_max) if compressed else None)
        try:
            if body and not rule.raw:
                _check_json(headers, body)
        except BaseException:
            self._bytes -= len(body)
            raise
        return body

    async def _read(self, rule: BodyRule, receive: Receive, inflating: Inflating | None) -> bytes:
        body = bytearray()
        try:
            async with asyncio.timeout(rule.seconds_max):
                while await self._piece(rule, receive, body, inflating):
                    pass
            if inflating is not None:
                inflating.end()
        except BaseException as error:
            self._bytes -= len(body)
            if isinstance(error, TimeoutError):
                raise _Refused(_slow(rule)) from None
            if isinstance(error, TooLarge):
                raise _Refused(problem(413, "Request refused", str(error))) from None
            raise
        return bytes(body)

    async def _piece(
        self, rule: BodyRule, receive: Receive, body: bytearray, inflating: Inflating | None
    ) -> bool:
        """Add the next piece of a body; return whether more follows."""
        async with asyncio.timeout(IDLE_S_MAX):
            message = await receive()
        if message["type"] == "http.disconnect":
            raise _Refused(problem(400, "Request refused", "the body ended early"))
        piece: bytes = message.get("body", b"")
        if inflating is not None:
            piece = inflating.add(piece)
        if len(body) + len(piece) > rule.bytes_max:
            raise _Refused(_too_large(rule))
        if self._bytes + len(piece) > BODIES_BYTES_MAX:
            raise _Refused(_busy("too much is being sent at once"))
        body += piece
        self._bytes += len(piece)
        return bool(message.get("more_body", False))


def token_of(authorization: str, *, basic: bool) -> str:
    """Returns the token in the header `Authorization`; the empty text when there is none.

    `basic`: the user name of Basic authentication is taken for one too.
    """
    scheme, _, given = authorization.partition(" ")
    if scheme.lower() == "bearer":
        return given.strip()
    if not basic or scheme.lower() != "basic":
        return ""
    try:
        user, _, _ = base64.b64decode(given.strip(), validate=True).decode().partition(":")
    except (binascii.Error, ValueError):
        return ""
    return user


def unauthorized(detail: str, *, basic: bool = False) -> Response:
    """Returns the answer to a request without a valid token."""
    challenge = 'Basic realm="ebbwatch"' if basic else "Bearer"
    return problem(401, "Request refused", detail, {"WWW-Authenticate": challenge})


def _not_believed(refused: NotBelieved) -> Response:
    """Returns the answer to a request for a person that is not believed."""
    if refused.status == UNAUTHORIZED:
        return unauthorized(refused.detail)
    return problem(refused.status, "Request refused", refused.detail)


def _busy(detail: str) -> Response:
    return problem(503, "Temporarily unavailable", detail)


def _too_large(rule: BodyRule) -> Response:
    return problem(413, "Request refused", f"send at most {rule.bytes_max:,} bytes at once")


def _slow(rule: BodyRule) -> Response:
    detail = (
        f"the body came too slowly: send all of it within {rule.seconds_max:g} s, "
        f"without a pause of {IDLE_S_MAX:g} s"
    )
    return problem(408, "Request refused", detail, {"Connection": "close"})


def _has_two_lengths(scope: Scope) -> bool:
    """Returns whether both length headers are present.

    A proxy before us may have used the other one; the rest would then be read as another client's
    request.
    """
    names = {name for name, _ in scope["headers"]}
    return {b"transfer-encoding", b"content-length"} <= names


def _check_target(scope: Scope) -> None:
    """Raise Invalid for a path or a query with text that cannot be stored or is not UTF-8."""
    raw = scope.get("raw_path") or scope["path"].encode()
    try:
        kept("path", unquote_to_bytes(raw).decode())
        query = scope.get("query_string", b"").decode("ascii")
        pairs = parse_qsl(query, keep_blank_values=True, errors="strict", max_num_fields=100)
    except UnicodeDecodeError:
        raise Invalid("path or query", "not UTF-8, written with %") from None
    except ValueError:
        raise Invalid("query", "more than 100 parameters") from None
    for name, value in pairs:
        kept("query", name)
        kept(f"query.{name}", value)


def _check_head(headers: Headers, rule: BodyRule) -> bool:
    """Refuse a body by its headers; return whether it is compressed."""
    encoding = headers.get("content-encoding", "identity").strip().lower()
    compressed = encoding in {"gzip", "x-gzip"} and rule.gzip
    if not compressed and encoding not in {"", "identity"}:
        mend, taken = "uncompressed", "identity"
        if rule.gzip:
            mend, taken = "with gzip, or uncompressed", "gzip, identity"
        detail = f"Content-Encoding {encoding[:40]!r} is not taken: send the body {mend}"
        raise _Refused(problem(415, "Request refused", detail, {"Accept-Encoding": taken}))
    length = headers.get("content-length", "")
    if length.isascii() and length.isdigit() and int(length) > rule.bytes_max:
        raise _Refused(_too_large(rule))
    return compressed


def _check_json(headers: Headers, body: bytes) -> None:
    media = headers.get("content-type", "application/json").partition(";")[0].strip().lower()
    if not media.endswith(("/json", "+json")):
        detail = f"Content-Type {media[:80]!r} is not taken: send application/json"
        raise _Refused(problem(415, "Request refused", detail))
    try:
        look_at(body)
    except TooDeep:
        detail = f"nested deeper than {DEPTH_MAX} levels"
        raise _Refused(problem(413, "Request refused", f"body: {detail}")) from None


def _with_headers(send: Send) -> Send:
    async def sending(message: Message) -> None:
        if message["type"] == "http.response.start":
            headers = MutableHeaders(scope=message)
            for name, value in HEADERS.items():
                headers.setdefault(name, value)
        await send(message)

    return sending


def _replay(body: bytes, receive: Receive) -> Callable[[], Awaitable[Message]]:
    """Returns a `receive` that returns the body once, then the messages that follow."""
    waiting: list[dict[str, Any]] = [{"type": "http.request", "body": body, "more_body": False}]

    async def replaying() -> Message:
        return waiting.pop() if waiting else await receive()

    return replaying
