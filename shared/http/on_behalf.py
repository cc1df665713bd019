"""The header that names the person for whom a token acts: a compact JWS (RFC 7515, HS256).

Its claims are `sub` (the person's id), `roles`, `owners` (owner ids, or null: all) and `iat` (Unix
seconds of signing). It is signed with a secret that belongs to the token and is never sent, so that
reading requests on their way does not suffice to name somebody else.
"""

import base64
import binascii
import hashlib
import hmac
from datetime import UTC, datetime
from typing import Annotated, Any, Final

import msgspec
from msgspec import Meta
from starlette.datastructures import Headers

from shared.contracts.events import ID_LENGTH_MAX
from shared.http.holder import Person
from shared.http.scopes import ROLES
from shared.kernel.errors import Invalid
from shared.kernel.text import kept

HEADER: Final = "Ebbwatch-On-Behalf-Of"

AGE_S_MAX: Final = 60
"""Seconds after its signing for which a header counts, and so may be replayed at most, by someone
who also has the token: long enough for a page of requests and a retry."""

SKEW_S_MAX: Final = 30
"""Seconds that the signer's clock may be ahead of ours or behind it."""

HEADER_CHARS_MAX: Final = 8 * 1024
"""Characters of a header: some 400 owner ids. A manager names only the own id to alerts."""

PREFIX: Final = "ebs_"
"""Makes a leaked secret recognisable to secret scanners."""

SALT_BYTES: Final = 32

UNAUTHORIZED: Final = 401

Id = Annotated[str, Meta(min_length=1, max_length=ID_LENGTH_MAX)]


class NotBelieved(Exception):  # noqa: N818 (an answer, not an error of ours)
    """The header is refused; `status` of the answer, and why."""

    def __init__(self, status: int, detail: str) -> None:
        super().__init__(detail)
        self.status = status
        self.detail = detail


class _Head(msgspec.Struct):
    alg: str
    crit: Any = None


class _Claims(msgspec.Struct):
    sub: Id
    roles: Annotated[tuple[Id, ...], Meta(max_length=len(ROLES))]
    owners: tuple[Id, ...] | None
    iat: float
    exp: float | None = None
    nbf: float | None = None
    aud: Any = None


_HEAD: Final = msgspec.json.Decoder(_Head)
_CLAIMS: Final = msgspec.json.Decoder(_Claims)


def secret_of(token: str, salt: bytes) -> str:
    """Returns a token's signing secret.

    It follows from the token and a stored salt: neither the database nor a request alone gives it.
    """
    return PREFIX + _encoded(hmac.digest(token.encode(), salt, hashlib.sha256))


def claim_of(headers: Headers) -> str | None:
    """Returns the header's value; None where it is not sent. Raises NotBelieved for several."""
    found = headers.getlist(HEADER)
    if len(found) > 1:
        # Of two, a proxy on the way may have checked the other one.
        raise NotBelieved(UNAUTHORIZED, f"{HEADER}: send it once")
    return found[0] if found else None


def signed(person: Person, secret: str, at: datetime) -> str:
    """Returns the header's value for a person, signed at a time (UTC)."""
    claims = {
        "sub": person.id,
        "roles": list(person.roles),
        "owners": None if person.owner_ids is None else sorted(person.owner_ids),
        "iat": int(at.timestamp()),
    }
    head = {"alg": "HS256", "typ": "JWT"}
    text = f"{_encoded(msgspec.json.encode(head))}.{_encoded(msgspec.json.encode(claims))}"
    return f"{text}.{_encoded(_signature(text, secret))}"


def believed(header: str, secret: str, now: datetime) -> Person:
    """Returns the person that a header names; `now`: UTC.

    Raises NotBelieved for a header that is forged, too old or of the future, and Invalid, which
    names the claim, for one that is signed but says what cannot be.
    """
    if len(header) > HEADER_CHARS_MAX:
        raise Invalid(HEADER, f"send at most {HEADER_CHARS_MAX:,} characters")
    text, _, signature = header.rpartition(".")
    head, _, payload = text.partition(".")
    if not hmac.compare_digest(_decoded(signature), _signature(text, secret)):
        raise _unsigned()
    try:
        stated = _HEAD.decode(_decoded(head))
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise _unsigned() from error
    if stated.alg != "HS256" or stated.crit is not None:
        raise NotBelieved(UNAUTHORIZED, f"{HEADER}: sign it with HS256, without `crit`")
    try:
        claims = _CLAIMS.decode(_decoded(payload))
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise Invalid(HEADER, str(error)) from error
    if claims.aud is not None:
        # A bound that the signer states and that is not kept would be none.
        raise Invalid(HEADER, "`aud`: leave it out, each service has a secret of its own")
    _check_time(claims, now)
    return _person(claims)


def _check_time(claims: _Claims, now: datetime) -> None:
    age = now.astimezone(UTC).timestamp() - claims.iat
    early = claims.nbf is not None and claims.nbf > now.timestamp() + SKEW_S_MAX
    if age < -SKEW_S_MAX or early:
        which = "nbf" if early else "iat"
        why = f"{HEADER}: `{which}` is in the future: set the signer's clock"
        raise NotBelieved(UNAUTHORIZED, why)
    expired = claims.exp is not None and now.timestamp() >= claims.exp + SKEW_S_MAX
    if age >= AGE_S_MAX + SKEW_S_MAX or expired:
        raise NotBelieved(UNAUTHORIZED, f"{HEADER}: expired: sign it at most {AGE_S_MAX} s earlier")


def _person(claims: _Claims) -> Person:
    if unknown := sorted(set(claims.roles) - set(ROLES)):
        raise Invalid(HEADER, f"`roles`: {unknown} not among {sorted(ROLES)}")
    if not claims.sub.strip():
        raise Invalid(HEADER, "`sub`: is blank")
    owners = claims.owners
    for each in (claims.sub, *(owners or ())):
        kept(HEADER, each)
    return Person(claims.sub, claims.roles, None if owners is None else frozenset(owners))


def _unsigned() -> NotBelieved:
    return NotBelieved(UNAUTHORIZED, f"{HEADER}: no genuine signature of this token's secret")


def _signature(text: str, secret: str) -> bytes:
    return hmac.digest(secret.encode(), text.encode("utf-8", "replace"), hashlib.sha256)


def _encoded(content: bytes) -> str:
    return base64.urlsafe_b64encode(content).rstrip(b"=").decode()


def _decoded(text: str) -> bytes:
    """Returns what base64url stands for; nothing for what is none, which no signature is."""
    try:
        return base64.b64decode(text + "=" * (-len(text) % 4), altchars=b"-_", validate=True)
    except (binascii.Error, ValueError):
        return b""
