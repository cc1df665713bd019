"""The index of dead letters: refused records can be found, read and replayed (invariant 7)."""

from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from services.ingest.ports import Search, StoredDeadLetter
from services.ingest.store.dead_letters import DeadLetters
from shared.contracts.activity import DECODER
from shared.contracts.headers import BACKFILL
from shared.kafka.producer import Producer, Record
from shared.postgres.engine import create_engine
from tests.integration.ingest.running import ServiceEnvironment, eventually, ingest
from tests.unit.ingest.events import encoded

pytestmark = pytest.mark.stack


@pytest.fixture
async def index(place: ServiceEnvironment) -> AsyncIterator[DeadLetters]:
    """Provide the stored dead letters."""
    engine = create_engine(place.postgres, "test")
    yield DeadLetters(engine)
    await engine.dispose()


async def _stored(index: DeadLetters, count: int) -> list[StoredDeadLetter]:
    async def enough() -> bool:
        return len(await index.search(Search(state=None), 100)) >= count

    await eventually(enough)
    found = [await index.get(facts.id) for facts in await index.search(Search(state=None), 100)]
    return [stored for stored in found if stored is not None]


async def test_replay_after_the_cause_is_mended(
    place: ServiceEnvironment, upstream: Producer, index: DeadLetters, tmp_path: Path
) -> None:
    """A purchase in a currency without a rate becomes a dead letter.

    With the rate added its replay is accepted, with the original bytes and headers. A second replay
    is the same event again.
    """
    value = encoded(data={"amount": "10.00", "currency": "EUR"})
    header = (BACKFILL, b"import-7")
    await upstream.send([Record(place.raw, b"k", value, (header,), partition=1)])
    async with ingest(place):
        stored = (await _stored(index, 1))[0]
    assert (stored.letter.key, stored.letter.value) == (b"k", value)
    assert stored.letter.original_headers == (header,)
    assert (stored.letter.origin.topic, stored.letter.origin.partition) == (place.raw, 1)
    listed = await place.command("dead-letters", "list", "--field", "data.currency")
    assert "no rate of EUR to USD" in listed
    number = str(stored.facts.id)
    shown = await place.command("dead-letters", "show", number)
    assert value.decode() in shown

    rates = tmp_path / "rates.csv"
    rates.write_text("currency,from,rate\nEUR,2020-01-01,1.25\n")
    async with ingest(place, {"EBBWATCH_INGEST_RATES_FILE": str(rates)}):
        done = await place.command("dead-letters", "replay", "--all", "--field", "data.currency")
        assert done == f"replayed 1: 1 to {place.raw}\n"
        assert await place.command("dead-letters", "replay", "--all") == "replayed 0\n"
        await place.command("dead-letters", "replay", "--again", number)
        first, again = map(
            DECODER.decode, [r.value or b"" for r in await place.read(place.activity, 2)]
        )
    assert (first.data.amount, first.data.original_amount, first.backfill) == (
        12.5,
        "10.00",
        "import-7",
    )
    assert (first.id, first.contenthash) == (again.id, again.contenthash)
    assert await place.command("dead-letters", "list") == "no dead letter matches\n"
    settled = await place.command("dead-letters", "list", "--each", "--state", "replayed")
    assert settled.count("no rate of EUR to USD") == 1


async def test_the_index_takes_anything_once(
    place: ServiceEnvironment, upstream: Producer, index: DeadLetters
) -> None:
    """A dead letter that comes twice is one row.

    A foreign record, NUL and null headers included, is stored under its own position; a restart
    reads nothing again.
    """
    ours = (
        ("ebbwatch-stage", b"scoring"),
        ("ebbwatch-field", b"id"),
        ("ebbwatch-reason", b"used before\0"),
        ("ebbwatch-origin", b"activity/0/7"),
    )
    null: Any = None  # Kafka's headers may be null, although our types exclude it
    odd = (("a\0b", b"\0\xff"), ("none", null))
    await upstream.send(
        [
            Record(place.dead_letter, None, b"{}", ours, partition=0),
            Record(place.dead_letter, None, b"{}", ours, partition=0),
            Record(place.dead_letter, b"k", None, odd, partition=0),
        ]
    )
    async with ingest(place):
        await _stored(index, 2)
    async with ingest(place):
        await upstream.send([Record(place.dead_letter, b"last", b"", (), partition=0)])
        rows = await _stored(index, 3)
    assert [str(r.letter.origin) for r in rows] == [
        "activity/0/7",
        f"{place.dead_letter}/0/2",
        f"{place.dead_letter}/0/3",
    ]
    assert (rows[0].letter.stage, rows[0].letter.reason) == ("scoring", "used before\ufffd")
    assert (rows[1].letter.key, rows[1].letter.value) == (b"k", None)
    assert rows[1].letter.original_headers == odd
