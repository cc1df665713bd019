"""Reads records of the dead-letter topic, and decides how a dead letter is sent back.

Any process may write to that topic. Our dead letters carry their facts in headers. A foreign record
is reported as one, with its own place as the origin, and is stored whole like any other. Reading
never raises: the index of failures must not fail on one.
"""

from dataclasses import dataclass, replace
from typing import Final

import msgspec

from services.ingest.core.refused import is_http
from shared.contracts import headers as names
from shared.contracts.dead_letter import DeadLetter, Headers, Origin
from shared.contracts.events import ID_LENGTH_MAX
from shared.kernel.errors import UNREADABLE, Invalid
from shared.kernel.text import unkeepable

PARTITION_MAX = 2**31 - 1
OFFSET_MAX = 2**63 - 1
SERIAL_DIGITS_MAX = 18
"""Digits of a number that fits 64 bits."""
TEXT_CHARS_MAX = 2_000
"""Characters of a stored text; our own are far shorter."""
FOREIGN: Final = "unknown"
"""Stage of a record on the dead-letter topic that is no dead letter of ours."""
REPLAY_HEADERS: Final = frozenset({names.ARRIVED, names.REPLAY_OF})

CE_SUBJECT: Final = f"{names.CLOUDEVENTS_PREFIX}subject"
CE_SOURCE: Final = f"{names.CLOUDEVENTS_PREFIX}source"


class _Produced(msgspec.Struct):
    source: str | None = None


class _About(msgspec.Struct):
    subject: str | None = None


_PRODUCED = msgspec.json.Decoder(_Produced)
_ABOUT = msgspec.json.Decoder(_About)


@dataclass(frozen=True, slots=True)
class ReadLetter:
    """A dead letter as it is read from the topic."""

    letter: DeadLetter
    replay_of: int | None = None
    """Number of the dead letter with a replay that was refused again."""

    @property
    def producer(self) -> str | None:
        """The event's `source`, where one can be read."""
        return producer_of(self.letter.value, self.letter.original_headers)


def without_content(found: ReadLetter, reason: str) -> ReadLetter:
    """Returns a dead letter without key, value and headers, and with another reason."""
    letter = replace(found.letter, key=None, value=None, original_headers=(), reason=reason)
    return replace(found, letter=letter)


def read(
    key: bytes | None, value: bytes | None, headers: Headers, place: tuple[str, int, int]
) -> ReadLetter:
    """Returns the dead letter in a record at `place` (topic, partition, offset).

    >>> read(None, b"?", (), ("ebbwatch.dead-letter", 0, 7)).letter.reason
    'not a dead letter of ours: KeyError'
    """
    try:
        found = DeadLetter.from_record(key, value, headers)
        _check(found)
    except (KeyError, ValueError, AttributeError) as error:  # AttributeError: a null header
        reason = f"not a dead letter of ours: {type(error).__name__}"
        return ReadLetter(
            DeadLetter(key, value, headers, Origin(*place), FOREIGN, "headers", reason)
        )
    given = dict(found.original_headers)
    kept = tuple(h for h in found.original_headers if h[0] not in REPLAY_HEADERS)
    letter = replace(
        found,
        original_headers=kept,
        origin=replace(found.origin, topic=_storable(found.origin.topic)),
        stage=_storable(found.stage),
        field=_storable(found.field),
        reason=_storable(found.reason),
        arrived_ms=first_arrival(found.original_headers, found.arrived_ms),
    )
    return ReadLetter(letter, _serial(given.get(names.REPLAY_OF)))


def first_arrival(headers: Headers, arrived_ms: int | None) -> int | None:
    """Returns when a record first arrived (Unix ms): before `arrived_ms` if it is a replay.

    >>> first_arrival(((names.ARRIVED, b"1000"),), 5000), first_arrival((), 5000)
    (1000, 5000)
    """
    for name, value in headers:
        if name == names.ARRIVED and (first := _serial(value)) is not None:
            return first if arrived_ms is None else min(first, arrived_ms)
    return arrived_ms


def replay_headers(letter: DeadLetter, letter_id: int) -> Headers:
    """Returns the headers of a replayed record: the original ones, its arrival and its number."""
    arrived = letter.arrived_ms
    first = () if arrived is None else ((names.ARRIVED, b"%d" % arrived),)
    return (*letter.original_headers, *first, (names.REPLAY_OF, b"%d" % letter_id))


def destination(letter: DeadLetter, raw_topic: str) -> tuple[str, int | None]:
    """Returns the topic and the partition (None: by key) that a dead letter goes back to.

    `raw_topic` receives what came over HTTP. Raises Invalid where there is no such topic.
    """
    if letter.stage == FOREIGN:
        raise Invalid("stage", "not a dead letter of ours, so no topic to send it back to is known")
    if is_http(letter.origin.topic):
        return raw_topic, None
    return letter.origin.topic, letter.origin.partition


def subject_of(value: bytes | None, headers: Headers) -> str | None:
    """Returns the `subject` of a record that may be a CloudEvent: its customer; None without one.

    >>> subject_of(b'{"subject": "c-1"}', ()), subject_of(b"?", (("ce_subject", b"c-2"),))
    ('c-1', 'c-2')
    """
    try:
        if given := dict(headers).get(CE_SUBJECT):
            return given.decode()
        return None if value is None else _ABOUT.decode(value).subject
    except UNREADABLE:
        return None


def producer_of(value: bytes | None, headers: Headers) -> str | None:
    """Returns the `source` of a record that may be a CloudEvent; None where there is none.

    >>> producer_of(b'{"source": "shop/till"}', ()), producer_of(b"\\\\x00Avro", ())
    ('shop/till', None)
    """
    found: str | None = None
    try:
        if given := dict(headers).get(CE_SOURCE):
            found = given.decode()
        elif value is not None:
            found = _PRODUCED.decode(value).source
    except UNREADABLE:
        return None
    if not found or len(found) > ID_LENGTH_MAX or unkeepable(found) is not None:
        return None
    return found


def _check(letter: DeadLetter) -> None:
    origin, arrived = letter.origin, letter.arrived_ms
    if not (0 <= origin.partition <= PARTITION_MAX and 0 <= origin.offset <= OFFSET_MAX):
        raise ValueError("no such place")
    if arrived is not None and not 0 <= arrived < 10**SERIAL_DIGITS_MAX:
        raise ValueError("no such time")


def _serial(text: bytes | None) -> int | None:
    fits = text is not None and text.isdigit() and len(text) <= SERIAL_DIGITS_MAX
    return int(text) if fits and text is not None else None


def _storable(text: str) -> str:
    """Replaces NUL characters, which PostgreSQL's text cannot hold, and cuts the text."""
    return text.replace("\0", "\ufffd")[:TEXT_CHARS_MAX]
