"""A request to a CRM as a value, before an adapter adds the access token.

The pure parts return it and the adapters send it; nothing is sent here.
"""

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any

import msgspec

from services.alerts.delivery.core.retry import REMOTE_ID, Answer, Reply
from shared.kernel.errors import UNREADABLE

DAYS_S_MAX = 400 * 86_400.0
"""Longest life of an access token, a little over a year: anything longer is a mistake."""

NUMBER_MAX = 2**63
"""No id or code of a vendor is larger; parsing an unbounded number from text would cost time."""

WORD_LENGTH_MAX = 255
"""Characters of a code, an id or a name in an answer; a longer text counts as none."""

TOKEN = re.compile(r"[!-~]{1,4096}")
"""Pattern of an access token: it goes into a header, which allows nothing else."""

JSON = {"content-type": "application/json"}


@dataclass(frozen=True, slots=True)
class Call:
    """A request: method, path below the API's address, headers and body."""

    method: str
    path: str
    body: bytes = b""
    headers: Mapping[str, str] = field(default_factory=dict)


def json_call(method: str, path: str, content: Any, **headers: str) -> Call:
    """Make a request with a JSON body; Chinese text is sent as UTF-8, not as escapes."""
    body = json.dumps(content, ensure_ascii=False, separators=(",", ":")).encode()
    return Call(method, path, body, JSON | headers)


def seconds_of(value: Any) -> float:
    """Return a duration in an answer; 0 where there is none, so that the token is not kept.

    >>> seconds_of("7200"), seconds_of(None)
    (7200.0, 0.0)
    """
    try:
        seconds = float(value)
    except (TypeError, ValueError, OverflowError):
        return 0.0
    return seconds if 0 < seconds < DAYS_S_MAX else 0.0


def word_of(value: Any) -> str:
    """Return a code, an id or a name in an answer; empty where it is nothing of the kind.

    >>> word_of("SUCCESS"), word_of(4150868), word_of({"id": 1}), word_of(None)
    ('SUCCESS', '4150868', '', '')
    """
    if isinstance(value, int) and not isinstance(value, bool):
        return str(value) if abs(value) < NUMBER_MAX else ""
    return value if isinstance(value, str) and len(value) <= WORD_LENGTH_MAX else ""


def id_of(value: Any) -> str:
    """Return the id of a record in an answer; raise ValueError where it cannot be one."""
    found = word_of(value)
    if not REMOTE_ID.fullmatch(found):
        raise ValueError("a record without a usable id")
    return found


def key_of(value: Any) -> str:
    """Return our key in a record of an answer; empty where there is none."""
    found = word_of(value)
    return found if REMOTE_ID.fullmatch(found) else ""


def token_of(value: Any) -> str | None:
    """Return the access token in an answer; None where it cannot be one."""
    return value if isinstance(value, str) and TOKEN.fullmatch(value) else None


def overloaded(given: Answer, so: bool) -> Answer:  # noqa: FBT001 (a fact about the answer)
    """Return the answer, marked as throttled where the vendor reported too many requests."""
    return replace(given, throttled=True) if so else given


def code_of(content: Mapping[str, Any] | None, name: str) -> int | None:
    """Return the number of a refusal or a success in an answer; None where it is no such code."""
    code = content.get(name) if content else None
    # `false` is an int in Python, but not a code.
    return code if type(code) is int and abs(code) < NUMBER_MAX else None


def content_of(reply: Reply) -> dict[str, Any] | None:
    """Return the JSON object in a reply; None where it is anything else, such as an HTML page."""
    try:
        found = msgspec.json.decode(reply.body)
    except UNREADABLE:
        return None
    return found if isinstance(found, dict) else None
