"""Reads a record of the dead-letter topic; any process may have written there.

Our dead letters carry their facts in headers. A foreign record is reported as one, with its own
place as the origin, and is stored whole like any other. Never raises: the index of failures must
not fail on one.
"""

from shared.contracts.dead_letter import DeadLetter, Headers, Origin

PARTITION_MAX = 2**31 - 1
OFFSET_MAX = 2**63 - 1
TEXT_CHARS_MAX = 2_000
"""Characters of a stored text; our own are far shorter."""


def read(
    key: bytes | None, value: bytes | None, headers: Headers, place: tuple[str, int, int]
) -> DeadLetter:
    """Returns the dead letter in a record at `place` (topic, partition, offset).

    >>> read(None, b"?", (), ("ebbwatch.dead-letter", 0, 7)).reason
    'not a dead letter of ours: KeyError'
    """
    try:
        found = DeadLetter.from_record(key, value, headers)
        _check(found.origin)
    except (KeyError, ValueError, AttributeError) as error:  # AttributeError: a null header
        return DeadLetter(
            key=key,
            value=value,
            original_headers=headers,
            origin=Origin(*place),
            stage="unknown",
            field="headers",
            reason=f"not a dead letter of ours: {type(error).__name__}",
        )
    return DeadLetter(
        key=key,
        value=value,
        original_headers=found.original_headers,
        origin=Origin(_storable(found.origin.topic), found.origin.partition, found.origin.offset),
        stage=_storable(found.stage),
        field=_storable(found.field),
        reason=_storable(found.reason),
    )


def _check(origin: Origin) -> None:
    if not (0 <= origin.partition <= PARTITION_MAX and 0 <= origin.offset <= OFFSET_MAX):
        raise ValueError("no such place")


def _storable(text: str) -> str:
    """Replaces NUL characters, which PostgreSQL's text cannot hold, and cuts the text."""
    return text.replace("\0", "\ufffd")[:TEXT_CHARS_MAX]
