"""Every row of bad input through the real service, broker and database (R20)."""

import json

import httpx
import pytest
from aiokafka import AIOKafkaProducer
from aiokafka.record.default_records import _DefaultRecordBatchBuilderPy

from shared.contracts.activity import DECODER
from shared.contracts.dead_letter import DeadLetter, Origin
from shared.kafka.producer import Producer, Record
from tests.fakes.unchecked_batches import BAD_NAME
from tests.integration.ingest.running import ServiceEnvironment, ingest, keeps
from tests.unit.ingest.events import BAD, encoded

pytestmark = pytest.mark.stack


async def test_every_bad_row_is_parked_and_nothing_else_is_touched(
    place: ServiceEnvironment, upstream: Producer
) -> None:
    """Each bad record becomes one dead letter, whole, with field, reason and origin.

    The good records around it arrive in their order, and the service stays up (invariant 7).
    """
    rows = [bad for bad in BAD if keeps(place.stack.broker, bad)]
    raw = []
    for number, bad in enumerate(rows):
        key = f"k{number}".encode()
        raw.append(Record(place.raw, key, bad.value, bad.headers, partition=0))
        raw.append(Record(place.raw, b"k", encoded(id=f"good-{number}"), partition=0))
    await upstream.send(raw)

    async with ingest(place) as service:
        activity = await place.read(place.activity, len(rows))
        dead = await place.read(place.dead_letter, len(rows))
        await service.accepted(len(rows))
        async with httpx.AsyncClient() as client:
            assert (await client.get(service.url + "/livez")).status_code == 200

    assert [DECODER.decode(r.value or b"").id for r in activity] == [
        f"good-{n}" for n in range(len(rows))
    ]
    letters = {
        letter.origin.offset: letter
        for letter in (DeadLetter.from_record(r.key, r.value, r.headers) for r in dead)
    }
    assert len(dead) == len(letters) == len(rows)
    for number, bad in enumerate(rows):
        letter = letters[2 * number]
        assert letter.field == bad.field, bad.name
        assert bad.reason in letter.reason, bad.name
        assert (letter.key, letter.value) == (f"k{number}".encode(), bad.value), bad.name
        assert letter.original_headers == bad.headers, bad.name
        assert letter.origin == Origin(place.raw, 0, 2 * number)
        assert letter.stage == "ingest"


async def test_unicode_customers_pass(place: ServiceEnvironment, upstream: Producer) -> None:
    """Ids of any script are accepted; the record's key is the id."""
    customers = ["客户-七", "клиент", "👩‍👩‍👧", "e\u0301", "x" * 256]
    await upstream.send(
        Record(place.raw, None, json.dumps(json.loads(encoded(subject=c))).encode())
        for c in customers
    )
    async with ingest(place):
        activity = await place.read(place.activity, len(customers))
    assert {r.key for r in activity} == {c.encode() for c in customers}
    assert all(DECODER.decode(r.value or b"").subject.encode() == r.key for r in activity)


async def test_what_the_client_library_cannot_handle(place: ServiceEnvironment) -> None:
    """Records that the client library cannot handle stop nothing.

    A record without key and value becomes a dead letter. A header name that is not UTF-8 costs the
    content of what follows in its sender's batch; each of these records is named.
    """
    producer = AIOKafkaProducer(**place.kafka.client_kwargs("test-careless"))
    await producer.start()
    for first in (0, 10):
        batch = producer.create_batch()
        batch._builder = _DefaultRecordBatchBuilderPy(2, 0, 0, -1, -1, 0, 1024 * 1024)
        for n in range(first, first + 10):
            key, value = (None, None) if n == 3 else (b"k", encoded(id=str(n)))
            headers = BAD_NAME if n == 7 else []
            batch.append(timestamp=None, key=key, value=value, headers=headers)
        await (await producer.send_batch(batch, place.raw, partition=0))
    await producer.stop()

    async with ingest(place):
        activity = await place.read(place.activity, 16)
        dead = await place.read(place.dead_letter, 4)
        await place.committed({0: 20})
    ids = [int(DECODER.decode(r.value or b"").id) for r in activity]
    assert ids == [n for n in range(20) if n not in {3, 7, 8, 9}]
    letters = [DeadLetter.from_record(r.key, r.value, r.headers) for r in dead]
    reported = {(letter.origin.offset, letter.field, letter.value) for letter in letters}
    assert reported == {(n, "headers", None) for n in (7, 8, 9)} | {(3, "value", None)}
