"""Tests of every implementation of `ports.Store`; the fake and the real one inherit them."""

import math
from collections.abc import Sequence
from dataclasses import replace
from datetime import UTC, datetime, timedelta

import numpy as np
import pytest

from services.scoring.core.features.events import Kind
from services.scoring.core.features.state import (
    CELLS,
    STATE,
    empty,
    to_bytes,
)
from services.scoring.core.risk.timers import PULLED
from services.scoring.model.rule_model import RuleModel
from services.scoring.ports import AlreadyStored, EventRows
from shared.contracts import events as types
from shared.contracts.events import Profile
from shared.kernel.errors import Transient
from shared.postgres.ledger import Claim, Fenced, Move
from shared.postgres.outbox import Message, Pending
from tests.fakes.activity import RECEIVED_MS, day
from tests.fakes.log import Consumed
from tests.fakes.scoring_rows import AssessmentRow, Found, found, written
from tests.fakes.scoring_worker import TOPIC, Claiming

RULE = RuleModel(28)
EMPTY = to_bytes(empty(1))[0]
FULL = to_bytes(np.arange(1, CELLS + 1, dtype=np.uint64).view(STATE))[0]
"""Every cell differs from the empty state."""
SILENT = 0b1_0000_0000
"""A sign of leaving, as its bit in the stored number."""
NAMES = ("ann", "客户-七", "a\u0301 'quoted' \\ \t", "x" * 256)
"""Customer ids of every kind that ingest accepts."""


def rows(*keys: tuple[str, str], hashes: Sequence[bytes] = ()) -> EventRows:
    """Builds events by (customer, id)."""
    events = EventRows()
    for n, (customer, name) in enumerate(keys):
        events.customer.append(customer)
        events.source.append("till")
        events.id.append(name)
        events.content_hash.append(hashes[n] if hashes else b"0123456789abcdef")
        events.type.append(types.PURCHASE)
        events.kind.append(int(Kind.PURCHASE))
        events.time.append(day(0))
        events.amount.append(math.nan)
        events.score.append(math.nan)
        events.original_customer.append(customer)
        events.received_ms.append(RECEIVED_MS)
        events.live.append(True)
        events.profile.append(Profile(name="somebody") if n == 0 else None)
        events.record.append(Consumed(TOPIC, 0, n, b"{}"))
    return events


def assessment(customer: str, revision: int, at: float, **given: object) -> AssessmentRow:
    """Builds an assessment that is not published, unless `message` is given."""
    row = AssessmentRow(
        customer=customer,
        partition=0,
        revision=revision,
        assessed_at=day(at),
        probability=0.125 * revision,
        band=revision % 4,
        next_assessment_at=day(at + 3),
        features=b"\0\xff" * 8,
        published_signs=0,
        value_at_risk=2.5 * revision,
        message=None,
        horizons=b"\x01" * 16,
    )
    return replace(row, **given)  # type: ignore[arg-type] # the test's own words


def nothing(customers: int) -> Found:
    """Returns what is found for unknown customers."""
    unknown = {name: [None] * customers for name in Found.__slots__}
    return Found(**unknown | {"published_signs": [0] * customers})  # type: ignore[arg-type]


class StoreSuite:
    """Tests of a store; a subclass provides the fixture `store`."""

    async def write(self, store: Claiming, *moves: Move, **given: object) -> list[Pending]:
        """Write in a transaction of its own, knowing what is stored; returns what is to be sent."""
        async with store.open() as work:
            effects = written(RULE, day(0), moves=moves, **given)  # type: ignore[arg-type]
            unread = np.full(len(effects.customers), np.nan)
            read = await store.load(work, effects.customers, unread)
            effects.stored, effects.timer = read.known, read.due_at
            return await store.write(work, effects)

    async def loaded(self, store: Claiming, *customers: str) -> Found:
        """Return what is stored of these customers."""
        async with store.open() as work:
            return found(await store.load(work, customers, np.full(len(customers), np.nan)))

    async def known(self, store: Claiming, events: EventRows) -> dict[int, bytes]:
        """Return which of the events are stored."""
        async with store.open() as work:
            return await store.known(work, events)

    async def due(
        self, store: Claiming, nows: dict[int, datetime], limit: int = 100
    ) -> list[tuple[str, int]]:
        """Return customers with due timers."""
        async with store.open() as work:
            found = await store.due(work, nows, limit)
        return list(zip(found.customers, found.partition.tolist(), strict=True))

    async def test_nothing_is_stored_of_strangers(self, store: Claiming) -> None:
        """Every column is None (no sign was published), for as many as were requested."""
        assert await self.loaded(store, "ann", "bob") == nothing(2)
        assert (await self.loaded(store)).state == []
        assert await self.known(store, rows(("ann", "1"))) == {}
        assert await self.known(store, EventRows()) == {}
        assert await self.due(store, {}) == await self.due(store, {0: day(9_999)}) == []

    async def test_states_come_back_as_they_went(self, store: Claiming) -> None:
        """Bytes and order are kept, for any customer id; a later state replaces an earlier one."""
        await self.write(store, states=[(name, 3, EMPTY) for name in NAMES])
        await self.write(store, states=[(NAMES[1], 3, FULL)])
        read = await self.loaded(store, *reversed(NAMES), "stranger")
        assert read.state == [EMPTY, EMPTY, FULL, EMPTY, None]
        assert read.revision == [None] * 5

    async def test_event_keys_are_found_by_index_with_their_hash(self, store: Claiming) -> None:
        """Known by (customer, source, id), returned by index with the hash that was stored."""
        first = rows(*((name, "1") for name in NAMES), hashes=[b"a", b"b", b"c", b"d"])
        await self.write(store, events=first)
        again = rows(("ann", "2"), (NAMES[2], "1"), ("bob", "1"), ("ann", "1"))
        assert await self.known(store, again) == {1: b"c", 3: b"a"}
        again.source[3] = "another till"
        assert await self.known(store, again) == {1: b"c"}

    async def test_a_key_that_is_there_aborts(self, store: Claiming) -> None:
        """`AlreadyStored` is raised, and nothing of the batch is written."""
        await self.write(store, events=rows(("ann", "1")))
        with pytest.raises(AlreadyStored):
            await self.write(
                store, events=rows(("bob", "1"), ("ann", "1")), states=[("bob", 0, EMPTY)]
            )
        assert await self.known(store, rows(("bob", "1"))) == {}
        assert (await self.loaded(store, "bob")).state == [None]

    async def test_a_customer_moves_to_another_partition(self, store: Claiming) -> None:
        """Two partitions have events of one customer: a write from the new one is refused once.

        The state may have been overwritten meanwhile. The refused one adopts the customer, timer
        included, before reading anew; from then on the first one is refused.
        """
        await self.write(
            store, states=[("ann", 0, EMPTY), ("bob", 0, EMPTY)], timers=[("ann", 0, day(1))]
        )
        with pytest.raises(Transient):
            await self.write(store, states=[("ann", 3, FULL), ("bob", 3, FULL)])
        assert (await self.loaded(store, "ann", "bob")).state == [EMPTY, EMPTY]
        assert await self.due(store, {0: day(9), 3: day(9)}) == [("ann", 3)]
        await self.write(store, states=[("ann", 3, FULL), ("bob", 3, FULL)])
        with pytest.raises(Transient):
            await self.write(store, states=[("ann", 0, EMPTY), ("eve", 0, EMPTY)])
        read = await self.loaded(store, "ann", "bob", "eve")
        assert read.state == [FULL, FULL, None]

    async def test_an_assessment_follows_the_one_that_was_read(self, store: Claiming) -> None:
        """One made from an older assessment than the stored one: Transient, and the stored one
        stays."""
        await self.write(store, states=[("ann", 0, EMPTY)], assessments=[assessment("ann", 1, 0)])
        await self.write(store, assessments=[assessment("ann", 2, 1)])
        with pytest.raises(Transient):
            await self.write(store, assessments=[assessment("ann", 2, 9)])
        assert (await self.loaded(store, "ann")).next_assessment_at == [day(4)]

    async def test_timers_are_due_at_their_time_and_read_oldest_first(
        self, store: Claiming
    ) -> None:
        """Due at their time and not before, by partition, oldest first, up to a limit.

        They are armed as given, earlier or later.
        """
        await self.write(
            store,
            timers=[("d", 1, day(4)), ("b", 0, day(2)), ("c", 0, day(3)), ("a", 0, day(1))],
        )
        assert await self.due(store, {0: day(0.9), 1: day(0.9)}) == []
        assert await self.due(store, {0: day(2)}) == [("a", 0), ("b", 0)]
        assert await self.due(store, {0: day(1), 1: day(9)}) == [("a", 0), ("d", 1)]
        everyone = {0: day(9), 1: day(9)}
        assert [c for c, _ in await self.due(store, everyone)] == ["a", "b", "c", "d"]
        assert [c for c, _ in await self.due(store, everyone, 3)] == ["a", "b", "c"]
        async with store.open() as work:
            others = await store.due(work, everyone, 9, avoid=("a", "c", "nobody"))
            one = await store.due(work, everyone, 9, only=("c", "nobody"))
        assert (others.customers, one.customers) == (["b", "d"], ["c"])
        await self.write(store, timers=[("a", 0, day(20)), ("d", 1, day(0))])
        assert [c for c, _ in await self.due(store, everyone)] == ["d", "b", "c"]
        assert (await self.loaded(store, "a", "d")).due_at == [day(20), day(0)]

    async def test_customers_left_for_another_batch_are_reported(self, store: Claiming) -> None:
        """With most customers in one partition of three, sweeps stay within the limit.

        Each but the last reports that there are more, and together they return every customer once.
        """
        homes = dict.fromkeys("abcdefg", 0) | {"x": 1, "y": 1}
        await self.write(store, timers=[(name, home, day(1)) for name, home in homes.items()])
        seen: list[str] = []
        more = True
        while more:
            async with store.open() as work:
                found = await store.due(work, dict.fromkeys(range(3), day(9)), 3)
            more = found.more
            assert len(found) <= 3 and (found.customers or not more)
            assert more or len(seen) + len(found) == len(homes)
            await self.write(store, timers=[(c, homes[c], day(99)) for c in found.customers])
            seen += found.customers
        assert sorted(seen) == sorted(homes)

    async def test_a_timer_that_is_known_is_not_read(self, store: Claiming) -> None:
        """Due customers are returned with their exact timers.

        Given timers are used unchanged, and the others' are read.
        """
        at = day(1) + timedelta(microseconds=1)
        await self.write(store, timers=[("a", 0, at), ("b", 0, day(2))])
        async with store.open() as work:
            found = await store.due(work, {0: day(9)}, 9)
            assert found.at.tolist() == [at.timestamp(), day(2).timestamp()]
            known = np.array([found.at[0], np.nan, np.nan])
            read = await store.load(work, ["a", "b", "nobody"], known)
        expected = [at.timestamp(), day(2).timestamp(), np.nan]
        assert np.array_equal(read.due_at, expected, equal_nan=True)

    async def test_a_timer_that_was_pulled_stays(self, store: Claiming) -> None:
        """Pulled between a batch's reading and writing: the batch is refused."""
        await self.write(store, timers=[("a", 0, day(1))])
        pulled = datetime.fromtimestamp(PULLED, UTC)
        await self.write(store, timers=[("a", 0, pulled)])
        with pytest.raises(Transient):
            async with store.open() as work:
                late = written(RULE, day(0), timers=[("a", 0, day(20))])
                late.timer[:] = day(1).timestamp()
                await store.load(work, late.customers, late.timer)
                await store.write(work, late)
        assert (await self.loaded(store, "a")).due_at == [pulled]

    async def test_equal_times_are_swept_once_each(self, store: Claiming) -> None:
        """Ties are broken by the customer, so that bounded sweeps reach everyone."""
        names = [f"c{n:02}" for n in range(20)]
        await self.write(store, timers=[(name, 0, day(1)) for name in names])
        seen: list[str] = []
        while due := await self.due(store, {0: day(2)}, 7):
            seen += [customer for customer, _ in due]
            await self.write(store, timers=[(c, p, day(30)) for c, p in due])
        assert sorted(seen) == names

    async def test_current_and_published_assessments_are_kept_apart(self, store: Claiming) -> None:
        """The current assessment is the last one; the published one stays until the next is
        published.

        Only the published signs are carried along.
        """
        reported = assessment("ann", 1, 0, message=b"{}", published_signs=SILENT)
        await self.write(
            store,
            states=[("ann", 0, EMPTY), ("bob", 0, EMPTY)],
            assessments=[reported, assessment("bob", 1, 0)],
        )
        first = await self.loaded(store, "ann", "bob", "eve")
        assert first.revision == [1, 1, None]
        assert first.band == [1, 1, None]
        assert first.next_assessment_at == [day(3), day(3), None]
        assert first.published_at == [day(0), None, None]
        assert first.published_probability == [0.125, None, None]
        assert first.published_band == [1, None, None]
        assert first.published_signs == [SILENT, 0, 0]

        later = assessment("ann", 2, 5, published_signs=SILENT)
        await self.write(store, assessments=[later, assessment("bob", 2, 5, message=b"{}")])
        second = await self.loaded(store, "ann", "bob")
        assert second.revision == second.band == [2, 2]
        assert second.next_assessment_at == [day(8), day(8)]
        assert second.published_at == [day(0), day(5)]
        assert second.published_probability == [0.125, 0.25]
        assert second.published_band == [1, 2]
        assert second.published_signs == [SILENT, 0]

    async def test_a_state_and_its_assessment_change_alone_or_together(
        self, store: Claiming
    ) -> None:
        """An import writes states, a sweep assessments, a batch of events both; the rest stays
        unchanged."""
        reported = assessment("ann", 1, 0, message=b"{}", published_signs=SILENT)
        await self.write(
            store, states=[("ann", 0, EMPTY), ("bob", 0, EMPTY)], assessments=[reported]
        )
        await self.write(store, states=[("ann", 0, FULL)])
        read = await self.loaded(store, "ann", "bob")
        assert (read.state, read.revision) == ([FULL, EMPTY], [1, None])
        assert (read.next_assessment_at, read.published_at) == ([day(3), None], [day(0), None])
        assert read.published_signs == [SILENT, 0]
        await self.write(store, states=[("eve", 0, FULL)], assessments=[assessment("ann", 2, 5)])
        read = await self.loaded(store, "ann", "eve")
        assert (read.state, read.revision) == ([FULL, FULL], [2, None])
        assert (read.next_assessment_at, read.published_signs) == ([day(8), None], [0, 0])

    async def test_messages_keep_their_order(self, store: Claiming) -> None:
        """Those of one cause keep their order, and ids grow, across transactions too."""
        found = [Message((TOPIC, 0), "risk", b"k", str(n).encode()) for n in range(50)]
        pending = await self.write(store, messages=found[:30])
        pending += await self.write(store, messages=found[30:])
        assert [message for p in pending for message in p.messages] == found
        ids = [p.id for p in pending]
        assert ids == sorted(set(ids))

    @pytest.mark.parametrize("stale", ["epoch", "offset"])
    async def test_a_fenced_transaction_writes_nothing(self, store: Claiming, stale: str) -> None:
        """One of two partitions is lost: it is named, and no table has changed."""
        mine = await store.take_over((TOPIC, 0))
        lost = await store.take_over((TOPIC, 1))
        if stale == "epoch":
            await store.take_over((TOPIC, 1))
        else:
            lost = replace(lost, next_offset=5)
        with pytest.raises(Fenced) as fenced:
            await self.write(
                store,
                *(Move(claim, 1, None, {}) for claim in (mine, lost)),
                events=rows(("ann", "1")),
                states=[("ann", 0, EMPTY)],
                timers=[("ann", 0, day(0))],
                assessments=[assessment("ann", 1, 0, message=b"{}")],
                messages=[Message((TOPIC, 0), "risk", b"ann", b"{}")],
            )
        assert fenced.value.lost == {(TOPIC, 1)}
        read = await self.loaded(store, "ann")
        assert read == nothing(1)
        assert await self.known(store, rows(("ann", "1"))) == {}
        assert (await store.take_over((TOPIC, 0))).next_offset is None

    async def test_a_move_is_what_the_next_claim_reads(self, store: Claiming) -> None:
        """Offset and progress are committed with the rest."""
        claim = await store.take_over((TOPIC, 0))
        await self.write(store, Move(claim, 7, None, {"now": 1.5, "backfill": "import-1"}))
        again = await store.take_over((TOPIC, 0))
        assert again == Claim(TOPIC, 0, 2, 7, None, {"now": 1.5, "backfill": "import-1"})

    async def test_an_error_rolls_everything_back(self, store: Claiming) -> None:
        """A handler that fails after the write leaves nothing, also for the session's next
        transaction."""

        async def fail() -> None:
            async with store.open() as work:
                effects = written(
                    RULE, day(0), events=rows(("ann", "1")), states=[("ann", 0, EMPTY)]
                )
                await store.write(work, effects)
                raise RuntimeError("a bug")

        with pytest.raises(RuntimeError):
            await fail()
        await self.write(store, events=rows(("bob", "1")), states=[("bob", 0, FULL)])
        assert (await self.loaded(store, "ann", "bob")).state == [None, FULL]
        assert await self.known(store, rows(("ann", "1"), ("bob", "1"))) == {1: b"0123456789abcdef"}

    async def test_times_keep_their_microseconds(self, store: Claiming) -> None:
        """A timer is compared with the times that set it."""
        at = day(0) + timedelta(microseconds=1)
        await self.write(store, timers=[("ann", 0, at)])
        assert (await self.loaded(store, "ann")).due_at == [at]
        assert await self.due(store, {0: day(0)}) == []
        assert await self.due(store, {0: at}) == [("ann", 0)]
