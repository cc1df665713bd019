"""One request to a CRM as a value: what is sent, before an adapter adds the access token.

What it is for: the meeting point of the pure parts and the adapters. It never sends.
"""

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import msgspec

from services.alerts.core.retry import Reply

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


def content_of(reply: Reply) -> dict[str, Any] | None:
    """The JSON object in a reply; None where it is anything else, such as an HTML page."""
    try:
        found = msgspec.json.decode(reply.body)
    except ValueError:
        return None
    return found if isinstance(found, dict) else None
