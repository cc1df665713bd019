"""Sections `ingest` and `scoring`: the real loops against the raw client on the same broker."""

import asyncio
import time
from collections.abc import Awaitable, Callable, Coroutine, Sequence
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import orjson
from aiokafka import AIOKafkaConsumer

from deploy.local import topics as creating
from deploy.local.stack import DATA, LocalStack
from services.ingest.core.rates import RateTable
from services.ingest.handlers.accept_batch import AcceptBatch
from services.ingest.inbound.raw_consumer import RawConsumer
from services.ingest.ports import Topics
from services.scoring.commands.running import SPEC
from services.scoring.core.value.standing import Valuation
from services.scoring.handlers.assess import Assessor
from services.scoring.handlers.micro_batch import MicroBatch
from services.scoring.handlers.stand import Standing
from services.scoring.inbound.activity import ActivityDecoder
from services.scoring.model.rule_model import RuleModel
from services.scoring.store.standing import StandingTable
from services.scoring.store.turn import TurnStore
from shared.contracts import topics
from shared.contracts.activity import ENCODER, Activity, ActivityData
from shared.contracts.events import PURCHASE
from shared.contracts.topics import Topic
from shared.kafka.fenced import FencedConsumer
from shared.kafka.producer import Producer, Record
from shared.kafka.relay import Relay
from shared.kafka.settings import KafkaSettings
from shared.postgres.engine import create_engine
from shared.postgres.ledger import Ledger
from shared.postgres.migrations import migrate
from shared.postgres.outbox import Outbox
from shared.postgres.settings import PostgresSettings
from shared.runtime.clock import SystemClock

EVENTS = 60_000
CUSTOMERS = 20_000
BATCH = 2_000
BEGIN = datetime(2026, 1, 1, tzinfo=UTC)
Handle = Callable[[list[Any]], Awaitable[object]]


async def ingest(stack: LocalStack) -> dict[str, float]:
    """Ingest's loop against consuming and producing the same records untouched."""
    kafka = stack.kafka.settings
    raw, activity, dead = await _topics(kafka, "ingest")
    producer = Producer(kafka, "bench")
    await _preload(producer, raw, [_raw(i) for i in range(EVENTS)])
    accept = AcceptBatch(producer, Topics(activity.name, dead.name), RateTable("USD"))

    async def ours(records: list[Any]) -> None:
        await accept(records, int(time.time() * 1000))

    async def untouched(records: list[Any]) -> None:
        await producer.send(Record(activity.name, r.key, r.value) for r in records)

    async def nothing(records: list[Any]) -> None:
        del records

    rates = {
        name: await _consume(kafka, raw, f"bench-{name}", handle)
        for name, handle in (("consume", nothing), ("raw", untouched), ("ours", ours))
    }
    await producer.close()
    return {
        "consume_per_s": rates["consume"],
        "raw_consume_produce_per_s": rates["raw"],
        "events_per_s": rates["ours"],
        "ratio": rates["ours"] / rates["raw"],
    }


async def scoring(stack: LocalStack) -> dict[str, float]:
    """Scoring's turn, exactly once into PostgreSQL, against only consuming the same records."""
    kafka = stack.kafka.settings
    _, activity, dead = await _topics(kafka, "scoring")
    producer = Producer(kafka, "bench")
    await _preload(producer, activity, [_canonical(i) for i in range(EVENTS)])
    consume = await _consume_only(kafka, activity)
    settings = PostgresSettings(url=stack.postgres.fresh("ebbwatch_bench"))
    engine = create_engine(settings, "bench")
    await migrate(engine, SPEC.schema, SPEC.versions)
    ledger, outbox = Ledger(engine, SPEC.schema), Outbox(SPEC.schema)
    relay = Relay(engine, outbox, producer)
    rule = RuleModel(28)
    turn = MicroBatch(
        decode=ActivityDecoder(dead.name, replay=False),
        store=TurnStore(engine, ledger, outbox),
        sender=relay,
        standing=Standing(StandingTable(), Valuation, dead.name),
        assessor=Assessor(
            risk_topic=dead.name, thresholds=(0.25, 0.5, 0.75), reasons_max=3, currency="USD"
        ),
        predictor=lambda: rule,
        clock=SystemClock(),
        sweep_customers_max=BATCH,
        sweep_interval_s=3_600.0,
        observe=lambda *_: None,
    )
    consumer = FencedConsumer(
        settings=kafka,
        ledger=ledger,
        topics=(activity.name,),
        group="bench-scoring",
        worker="bench",
        batch_records_max=BATCH,
    )
    await consumer.start()
    began, done = 0.0, 0
    while done < EVENTS:
        batch = await consumer.poll()
        began = began or (time.perf_counter() if batch else 0.0)
        consumer.moved(batch, await turn(batch))
        done += sum(len(records) for records in batch.records.values())
    seconds = time.perf_counter() - began
    await consumer.close()
    await relay.close()
    await engine.dispose()
    stack.postgres.drop("ebbwatch_bench")
    return {
        "consume_per_s": consume,
        "events_per_s": EVENTS / seconds,
        "ratio_to_consume": EVENTS / seconds / consume,
    }


async def _topics(kafka: KafkaSettings, section: str) -> Sequence[Topic]:
    made = [
        replace(topic, name=f"bench-{section}-{topic.name}")
        for topic in (topics.RAW, topics.ACTIVITY, topics.DEAD_LETTER)
    ]
    await creating.create(kafka, tuple(made))
    return made


async def _preload(producer: Producer, topic: Topic, values: Sequence[bytes]) -> None:
    for at in range(0, len(values), BATCH):
        await producer.send(
            Record(topic.name, f"customer-{i % CUSTOMERS}".encode(), values[i])
            for i in range(at, min(at + BATCH, len(values)))
        )


async def _consume(kafka: KafkaSettings, raw: Topic, group: str, handle: Handle) -> float:
    consumer = RawConsumer(kafka, (raw.name,), group, BATCH)
    await consumer.start()
    began, done = 0.0, 0
    while done < EVENTS:
        records = await consumer.poll()
        if records:
            began = began or time.perf_counter()
            await handle(records)
            await consumer.commit(records)
            done += len(records)
    seconds = time.perf_counter() - began
    await consumer.close()
    return EVENTS / seconds


async def _consume_only(kafka: KafkaSettings, topic: Topic) -> float:
    consumer = AIOKafkaConsumer(
        topic.name, **kafka.client_kwargs("bench-only"), auto_offset_reset="earliest"
    )
    await consumer.start()
    began, done = 0.0, 0
    while done < EVENTS:
        found = await consumer.getmany(timeout_ms=500, max_records=BATCH)
        began = began or (time.perf_counter() if found else 0.0)
        done += sum(len(records) for records in found.values())
    seconds = time.perf_counter() - began
    await consumer.stop()
    return EVENTS / seconds


def _raw(i: int) -> bytes:
    return orjson.dumps(
        {
            "specversion": "1.0",
            "id": f"order-{i}",
            "source": "bench",
            "type": PURCHASE,
            "time": (BEGIN + timedelta(seconds=i)).isoformat(),
            "subject": f"customer-{i % CUSTOMERS}",
            "data": {"amount": "23.45", "currency": "USD", "channel": "offline"},
        }
    )


def _canonical(i: int) -> bytes:
    return ENCODER.encode(
        Activity(
            specversion="1.0",
            id=f"order-{i}",
            source="bench",
            type=PURCHASE,
            time=BEGIN + timedelta(seconds=i),
            subject=f"customer-{i % CUSTOMERS}",
            data=ActivityData(amount=23.45, currency="USD", channel="offline"),
        )
    )


def run(
    section: Callable[[LocalStack], Coroutine[Any, Any, dict[str, float]]],
) -> dict[str, float | str]:
    """A section on a stack of its own."""
    with LocalStack(DATA / "bench", wipe=True) as stack:
        return {"broker": stack.broker, **asyncio.run(section(stack))}
