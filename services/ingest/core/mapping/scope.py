"""What an expression of a mapping may read besides its value, and what its evaluation may cost."""

from collections.abc import Callable, Iterable
from datetime import UTC, datetime, timedelta
from difflib import get_close_matches
from typing import Any, Final
from zoneinfo import ZoneInfo

from services.ingest.core.faults import fault
from shared.contracts.dead_letter import Headers
from shared.kernel.errors import Invalid

STEPS_MAX: Final = 200_000
"""List elements that the expressions of one record may visit: twenty expressions over each of
10,000 elements, 50 ms. More is a mapping that multiplies lists, or a record made to be costly."""

TEXT_CHARS_MAX: Final = 4_000
"""Characters of a text that a function makes: the longest text of a contract."""

NOTES_MAX: Final = 20
"""Notes that one record may cause."""

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


class Refused(ValueError):  # noqa: N818 (a word of the domain)
    """An expression cannot give a value for this record; the text states why and what to do."""


class Mistake(ValueError):  # noqa: N818 (a word of the domain)
    """A mapping cannot be used; `at`: the character of its expression (from 0) that is wrong."""

    def __init__(self, reason: str, at: int | None = None) -> None:
        super().__init__(reason)
        self.at = at


def suggested(given: str, known: Iterable[str]) -> str:
    """Returns a hint: the known name that is nearly the given one, else all that are known.

    >>> suggested("curency", ["amount", "currency"]), suggested("x", ["a", "b"])
    ('is `currency` meant?', 'known are a, b')
    """
    names = list(known)
    near = get_close_matches(given[:60], names, n=1, cutoff=0.75)
    return f"is `{near[0]}` meant?" if near else f"known are {', '.join(names)}"


class Scope:
    """One per record: the whole record, its headers and arrival, and the costs so far."""

    __slots__ = ("_steps", "arrived_ms", "headers", "key", "notes", "record", "zone")

    def __init__(
        self,
        record: Any,
        arrived_ms: int,
        headers: Headers = (),
        key: bytes | None = None,
        zone: ZoneInfo | None = None,
    ) -> None:
        self.record = record
        self.arrived_ms = arrived_ms
        self.headers = headers
        self.key = key
        self.zone = zone
        """The zone of times without an offset; None: such a time is refused."""
        self.notes: list[Invalid] = []
        self._steps = 0

    def visit(self, count: int) -> None:
        """Count visited list elements; Refused beyond `STEPS_MAX`."""
        self._steps += count
        if self._steps > STEPS_MAX:
            raise Refused(f"visits more than {STEPS_MAX:,} list elements")

    def note(self, field: str, reason: str) -> None:
        """Add a note for the sender; beyond `NOTES_MAX` it is left out."""
        if len(self.notes) < NOTES_MAX:
            self.notes.append(fault(field, reason))

    @property
    def arrived(self) -> datetime:
        """When the record arrived, UTC."""
        return _EPOCH + timedelta(milliseconds=self.arrived_ms)


Evaluate = Callable[[Any, Scope], Any]
"""A compiled expression: the current value and the scope in, a JSON value out. Raises Refused, or
ValueError, ArithmeticError or RecursionError on values that a function cannot use."""
