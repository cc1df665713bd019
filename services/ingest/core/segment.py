"""Completes the calls of Segment's HTTP API, as Segment's own server does before it passes them on.

A library sends what its caller gave it; the time of arrival, the kind of call (by the path) and
what a batch states once for all its calls are added here, so that one call by itself can be mapped.
"""

from datetime import UTC, datetime
from hashlib import blake2b
from typing import Any, Final

import msgspec
import orjson

from services.ingest.core import message
from services.ingest.core.bodies import check_count
from services.ingest.core.faults import decoded
from shared.kernel.errors import Invalid

SOURCE: Final = "segment"
"""The HTTP source of these calls: `mappings put … --http segment` replaces the shipped mapping."""

CALLS: Final = ("track", "identify", "group", "alias", "page", "screen")
BATCH: Final = "batch"


class _Batch(msgspec.Struct):
    """What is read of a batch."""

    batch: list[msgspec.Raw]
    sentAt: Any = None  # noqa: N815 (Segment's name)
    context: dict[str, Any] | None = None


_BATCH: Final = msgspec.json.Decoder(_Batch)


def calls(path: str, body: bytes, arrived_ms: int) -> list[bytes]:
    """Returns the completed calls of a request to `/v1/<path>`; raises Invalid for no such body.

    What is not a JSON object is returned as it came: the mapping refuses it with its reason.
    `arrived_ms`: Unix ms.
    """
    arrived = datetime.fromtimestamp(arrived_ms / 1000, UTC).isoformat().replace("+00:00", "Z")
    if path != BATCH:
        return [_completed(body, {"type": path}, {}, arrived, 0)]
    found = decoded(_BATCH, body, "body", "a batch of calls")
    shared = {} if found.sentAt is None else {"sentAt": found.sentAt}
    if found.context:
        shared["context"] = found.context
    check_count(len(found.batch))
    return [
        _completed(bytes(call), {}, shared, arrived, index)
        for index, call in enumerate(found.batch)
    ]


def _completed(
    call: bytes, fixed: dict[str, Any], shared: dict[str, Any], arrived: str, index: int
) -> bytes:
    """Returns a call with `fixed` replaced, and with `shared` where it has nothing itself."""
    try:
        given = message.document(message.present(call))
    except Invalid:
        return call
    if not isinstance(given, dict):
        return call
    context = given.get("context")
    if isinstance(context, dict) and "context" in shared:
        given["context"] = shared["context"] | context
    # A caller without ids of its own gets one for each request, as from Segment: a call that is
    # sent again is then another one.
    number = blake2b(b"%b %d %b" % (arrived.encode(), index, call), digest_size=16).hexdigest()
    given = {"messageId": f"api-{number}", "receivedAt": arrived} | shared | given | fixed
    try:
        return orjson.dumps(given)
    except orjson.JSONEncodeError:  # nested too deep with what was added
        return call
