"""One request to a CRM as a value: what is sent, before an adapter adds the access token.

What it is for: the meeting point of the pure parts and the adapters. It never sends.
"""

import json
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any

import msgspec

from services.alerts.core.retry import Answer, Reply

DAYS_S_MAX = 400 * 86_400.0
"""No access token lasts longer than a year and a bit: anything else is a mistake."""

JSON = {"content-type": "application/json"}


@dataclass(frozen=True, slots=True)
class Call:
    """A request: method, path below the API's address, headers and body."""

    method: str
    path: str
    body: bytes = b""
    headers: Mapping[str, str] = field(default_factory=dict)


def json_call(method: str, path: str, content: Any, **headers: str) -> Call:
    """A request with a JSON body; Chinese text goes as UTF-8, not as escapes."""
    body = json.dumps(content, ensure_ascii=False, separators=(",", ":")).encode()
    return Call(method, path, body, JSON | headers)


def seconds_of(value: Any) -> float:
    """A duration in an answer; 0 where it says none, so that the token is not kept.

    >>> seconds_of("7200"), seconds_of(None)
    (7200.0, 0.0)
    """
    try:
        seconds = float(value)
    except (TypeError, ValueError):
        return 0.0
    return seconds if 0 < seconds < DAYS_S_MAX else 0.0


def overloaded(given: Answer, so: bool) -> Answer:  # noqa: FBT001 (a fact about the answer)
    """The answer, marked where the vendor has said that we are too fast."""
    return replace(given, throttled=True) if so else given


def content_of(reply: Reply) -> dict[str, Any] | None:
    """The JSON object in a reply; None where it is anything else, such as an HTML page."""
    try:
        found = msgspec.json.decode(reply.body)
    except ValueError:
        return None
    return found if isinstance(found, dict) else None
