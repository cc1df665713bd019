"""An erasure takes effect at its place in the log, exactly once, in every table of scoring."""

from collections.abc import Sequence
from datetime import datetime, timedelta

import pytest
from sqlalchemy.ext.asyncio import AsyncEngine

from services.scoring.handlers.erase_customers import DropErased, EraseCustomers
from services.scoring.inbound.activity import erasure_of
from services.scoring.store.erasure import INDEXED, SCANNED, CustomerErasure
from services.scoring.store.tables import SCHEMA, metadata
from shared.contracts import events as types
from shared.kafka.transaction import BatchTransactions
from shared.postgres.erasures import Erasures
from shared.postgres.ledger import Ledger
from shared.postgres.outbox import Outbox, Pending
from tests.fakes import activity
from tests.fakes.activity import day
from tests.fakes.scoring_worker import CHANGES, EVERYTHING, RISK, TOPIC, ScoringWorker
from tests.integration.scoring.postgres import PostgresStore, Relayed, counts, table

pytestmark = [pytest.mark.stack, pytest.mark.erasure]


def erasure(request: str, customer: str, at: datetime) -> bytes:
    """Build a request to erase a customer."""
    return activity.event(request, customer, at, kind=types.ERASURE)


def worker(
    engine: AsyncEngine, store: PostgresStore, relayed: Relayed | None = None
) -> ScoringWorker:
    """Return a worker whose batches are erased from as the service's are."""
    relayed, removal = relayed or Relayed(engine), CustomerErasure(engine)
    made = ScoringWorker(store, relayed, without_erased=DropErased(removal.erasures))
    made.handle = EraseCustomers(
        transactions=BatchTransactions(
            engine=engine, ledger=Ledger(engine, SCHEMA), outbox=Outbox(SCHEMA), relay=relayed
        ),
        store=removal,
        read=erasure_of,
        topics=(RISK, CHANGES),
        clock=made.clock,
        forget=lambda: None,
        handle=made.handle,
    )
    return made


def time_passes(scoring: ScoringWorker) -> int:
    """Let a second pass before the next batch, which takes all records."""
    scoring.clock.pass_by(timedelta(seconds=1))
    return EVERYTHING


async def customers(engine: AsyncEngine, name: str = "customer_state") -> list[str]:
    """Return the customers of a table's rows."""
    return [row["customer_id"] for row in await table(engine, name)]


async def test_what_is_before_goes_and_what_follows_stays(
    engine: AsyncEngine, store: PostgresStore
) -> None:
    """Within one batch, in the order of the log; another customer keeps everything."""
    scoring = worker(engine, store)
    for n in range(5):
        scoring.log.append(0, activity.event(f"a{n}", "c-1", day(n)))
        scoring.log.append(0, activity.event(f"b{n}", "c-2", day(n)))
    scoring.log.append(0, activity.profile("p", "c-1", day(3), name="Vera"))
    scoring.log.append(0, erasure("r-1", "c-1", day(5)))
    scoring.log.append(0, activity.event("again", "c-1", day(6)))
    await scoring.drain(lambda: time_passes(scoring))
    assert await customers(engine) == ["c-1", "c-2"]
    assert await customers(engine, "profile") == []
    keys = [(row["customer_id"], row["id"]) for row in await table(engine, "event_key")]
    assert keys == [("c-1", "again"), *(("c-2", f"b{n}") for n in range(5))]
    (done,) = await table(engine, "erasure")
    assert done["rows"]["event_key"] == 6
    assert (done["customer_id"], done["done_at"]) == ("c-1", None)

    # Stored events go in a scan of their own; then the id is forgotten, and the mark stays.
    assert await CustomerErasure(engine).delete_events(scoring.clock.now()) == 6
    left = [row["payload"] for row in await table(engine, "event")]
    assert len(left) == 6
    assert not any(b"Vera" in payload for payload in left)
    (done,) = await table(engine, "erasure")
    assert done["customer_id"] is None
    assert done["done_at"] is not None
    assert done["rows"]["event"] == 6


async def test_readers_learn_that_nothing_older_follows(
    engine: AsyncEngine, store: PostgresStore
) -> None:
    """A tombstone closes what was published of the customer, in both topics."""
    scoring = worker(engine, store)
    scoring.log.append(0, activity.event("a", "c-1", day(0)))
    scoring.log.append(0, erasure("r-1", "c-1", day(1)))
    await scoring.drain()
    last = {m.topic: m for m in scoring.sender.sent if m.key == b"c-1"}
    for topic in (RISK, CHANGES):
        assert last[topic].value is None
        assert dict(last[topic].headers)["ebbwatch-erasure"] == b"r-1"


class _Killed(Relayed):
    """Ends the process between the commit and the sending."""

    async def flush(self, pending: Sequence[Pending]) -> None:
        raise SystemExit


@pytest.mark.parametrize("before_commit", [True, False])
async def test_killed_in_the_middle(
    engine: AsyncEngine,
    store: PostgresStore,
    before_commit: bool,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """The successor erases, or sends the tombstones of the erasure that was committed."""
    first = worker(engine, store)
    first.log.append(0, activity.event("a", "c-1", day(0)))
    await first.drain()
    first.log.append(0, erasure("r-1", "c-1", day(1)))
    dying = worker(engine, store, _Killed(engine))
    dying.log = first.log
    with monkeypatch.context() as patched:
        if before_commit:
            patched.setattr(Erasures, "add_rows", _killed)
        with pytest.raises(SystemExit):
            await dying.drain()
    assert (await customers(engine) == ["c-1"]) == before_commit

    relayed = Relayed(engine)
    successor = worker(engine, store, relayed)
    successor.log = first.log
    await relayed.recover(await store.take_over((TOPIC, 0)))
    await successor.drain()
    assert await customers(engine) == []
    last = {m.topic: m.value for m in relayed.sent if m.key == b"c-1"}
    assert last == {RISK: None, CHANGES: None}, "whatever is sent again comes before"


async def _killed(*_: object) -> None:
    raise SystemExit


async def test_what_arrives_late_or_again_stays_out(
    engine: AsyncEngine, store: PostgresStore
) -> None:
    """Events from before the request are dropped for good; the request itself works once."""
    scoring = worker(engine, store)
    scoring.log.append(0, activity.event("a", "c-1", day(0)))
    scoring.log.append(0, erasure("r-1", "c-1", day(5)))
    await scoring.drain()
    for n in range(3):
        scoring.log.append(0, activity.event(f"late{n}", "c-1", day(n)))
    scoring.log.append(0, activity.event("a", "c-1", day(0)))
    await scoring.drain()
    assert await customers(engine) == []
    scoring.log.append(0, activity.event("new", "c-1", day(6)))
    scoring.log.append(0, erasure("r-1", "c-1", day(5)))
    await scoring.drain()
    assert await customers(engine) == ["c-1"], "a request that is read again erases nothing"


async def test_an_unknown_customer_is_reported_as_such(
    engine: AsyncEngine, store: PostgresStore
) -> None:
    """No row is counted, and the mark keeps out what may still arrive."""
    scoring = worker(engine, store)
    before = await counts(engine)
    scoring.log.append(0, erasure("r-1", "c-9", day(5)))
    scoring.log.append(0, activity.event("old", "c-9", day(1)))
    await scoring.drain()
    (done,) = await table(engine, "erasure")
    assert done["rows"] == {}
    assert {**await counts(engine), "erasure": 0, "partition": 0, "outbox": 0} == {
        **before, "erasure": 0, "partition": 0, "outbox": 0,
    }  # fmt: skip


async def test_every_table_with_customers_is_covered() -> None:
    """A new table with a customer's id is erased without anybody having to think of it."""
    named = {t.name for t in metadata.tables.values() if "customer_id" in t.c} - {"erasure"}
    assert named == {t.name for t in INDEXED} | SCANNED
    assert {"customer_state", "profile", "treatment", "segment_member", "absence"} <= named
