"""Takes chosen dead letters page by page, locked, and settles them: what replay and discard share.

Whatever two operators do at once, a dead letter is settled by one of them: the other waits for the
lock and then finds it settled. A dead letter is marked in the transaction that locks it, after it
was acted on: if a process ends in between, it still waits.
"""

from collections import Counter
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, field, replace
from typing import Final

from services.ingest.ports import DeadLetterIndex, Search, Settlement, StoredDeadLetter
from shared.postgres.engine import UnitOfWork

PAGE: Final = 20
"""Dead letters in memory at once: 20 of the largest take 80 MB, 20 usual ones 40 KB."""

SETTLED_MAX: Final = 10_000
"""Dead letters settled by one call: some seconds of work, and few enough to look at the result."""

REFUSALS_MAX: Final = 100
"""Refusals that are reported one by one; all are counted."""


@dataclass(frozen=True, slots=True)
class Choice:
    """Which dead letters: by number, or by what matches a search."""

    ids: tuple[int, ...] | None = None
    search: Search = field(default_factory=Search)
    limit: int = SETTLED_MAX
    again: bool = False
    """With numbers: also those that were replayed or discarded before."""


@dataclass(frozen=True, slots=True)
class Untouched:
    """A dead letter that was left as it is, and why."""

    id: int
    reason: str


@dataclass(slots=True)
class Settled:
    """The result of one call."""

    ids: list[int] = field(default_factory=list)
    topics: Counter[str] = field(default_factory=Counter)
    """Of a replay: how many were sent to each topic."""
    untouched: list[Untouched] = field(default_factory=list)
    """At most `REFUSALS_MAX`."""
    untouched_count: int = 0
    more: bool = False
    """Whether matches are left beyond the limit."""

    @property
    def count(self) -> int:
        """How many were settled."""
        return len(self.ids)

    def leave(self, letter_id: int, reason: str) -> None:
        """Note a dead letter that is left as it is."""
        self.untouched_count += 1
        if len(self.untouched) < REFUSALS_MAX:
            self.untouched.append(Untouched(letter_id, reason))


Act = Callable[[Sequence[StoredDeadLetter], Settled], Awaitable[Sequence[int]]]
"""Acts on locked dead letters and returns the numbers of those to settle; leaves the others."""


async def settle(index: DeadLetterIndex, choice: Choice, done: Settlement, act: Act) -> Settled:
    """Settle the chosen dead letters, oldest first; raises Transient.

    Dead letters that are stored meanwhile are left out: otherwise a replay of records that are
    still bad would never end.
    """
    if choice.ids is not None:
        return await _by_number(index, choice, done, act)
    search = replace(choice.search, id_max=await index.newest())
    result, last, left = Settled(), 0, choice.limit
    while left > 0:
        async with index.transaction() as work:
            page = await index.locked(work, search, None, min(PAGE, left), last)
            await _settle_page(work, index, page, done, act, result)
        if not page:
            return result
        left, last = left - len(page), page[-1].facts.id
    result.more = bool(await index.search(search, 1, after=last))
    return result


async def _by_number(index: DeadLetterIndex, choice: Choice, done: Settlement, act: Act) -> Settled:
    result, every = Settled(), sorted(set(choice.ids or ()))
    result.more = len(every) > choice.limit
    every = every[: choice.limit]
    for begin in range(0, len(every), PAGE):
        part = every[begin : begin + PAGE]
        async with index.transaction() as work:
            found = await index.locked(work, Search(state=None), part, PAGE, 0)
            for missing in sorted(set(part) - {stored.facts.id for stored in found}):
                result.leave(missing, "there is no such dead letter")
            page = [x for x in found if _open(x, result, again=choice.again)]
            await _settle_page(work, index, page, done, act, result)
    return result


async def _settle_page(
    work: UnitOfWork,
    index: DeadLetterIndex,
    page: Sequence[StoredDeadLetter],
    done: Settlement,
    act: Act,
    result: Settled,
) -> None:
    if page and (ids := await act(page, result)):
        await index.settle(work, ids, done)
        result.ids += ids


def _open(stored: StoredDeadLetter, result: Settled, *, again: bool) -> bool:
    facts = stored.facts
    if again or facts.state == "waiting":
        return True
    at = f" {facts.settled_at:%Y-%m-%d %H:%M}Z" if facts.settled_at else ""
    result.leave(facts.id, f"was {facts.state} already{at}")
    return False
