"""Section `alerts`: how fast risk messages are decided about, and how fast a queue is listed."""

import asyncio
import time
from dataclasses import replace
from datetime import UTC, datetime

import numpy as np
from pydantic import SecretStr
from sqlalchemy.ext.asyncio import AsyncEngine

from deploy.local import topics as creating
from deploy.local.stack import LocalStack
from services.alerts import consumers
from services.alerts.commands.service import SPEC
from services.alerts.components import Alerts
from services.alerts.inbound.policy_file import read_policy
from services.alerts.settings import POLICY_FILE, AlertsSettings, EndpointSettings
from services.alerts.store import tasks as task_store
from services.alerts.store.tasks import QueueFilter
from shared.contracts import risk, topics
from shared.contracts.risk import Lapse, Reason, RiskAssessed, Sign
from shared.kafka.producer import Producer, Record
from shared.kafka.settings import KafkaSettings
from shared.postgres.engine import create_engine, unit_of_work
from shared.postgres.migrations import migrate
from shared.postgres.settings import PostgresSettings

MESSAGES = 100_000
"""Messages, each of another customer: the most expensive case, since no state is remembered."""
TASK_SHARE = 10
"""One message in so many raises a task: a bad day. `storm` raises one for every message."""
STORM = 20_000
OPEN_TASKS = 1_000_000
OWNERS = 500
LISTED = 500
BATCH = 2_000
NOW = datetime(2026, 1, 5, 9, tzinfo=UTC)
DATABASE = "ebbwatch_bench_alerts"

FILL = """
INSERT INTO alerts.task (customer_id, id, cause, episode, status, version, owner_id, language,
  band, probability, horizon_days, reasons, expected_value, value_at_risk, currency, revision,
  model_version, opened_at, due_at, created_at, received_ms, grade_rank, worth)
SELECT 'filled-' || n, 'rt_' || md5(n::text), 'silence_beyond_rhythm', 1, 'open', 1,
  'owner-' || n % $2, 'en', 'high', 0.6, 28,
  '[{"code": "silence_beyond_rhythm", "impact": 1, "facts": {"days_silent": 20}}]', 100, 60, 'USD',
  1, 'bench', $3, $3, $3, 0, n % 3, (n::bigint * 7919) % 1000
  FROM generate_series(1, $1) n
"""


async def alerts(stack: LocalStack) -> dict[str, float]:
    """Measures decisions, with all that is stored and sent, and lists of open tasks.

    Tasks, deliveries, trials and history are stored and treatments sent; then owners' top 50 among
    a million open tasks are read.
    """
    settings = PostgresSettings(url=stack.postgres.fresh(DATABASE), statement_timeout_ms=600_000)
    engine = create_engine(settings, "bench")
    await migrate(engine, SPEC.schema, SPEC.versions)
    kafka = stack.kafka.settings
    found = {
        "decisions_per_s": await _decide(kafka, engine, "usual", MESSAGES, TASK_SHARE),
        "storm_decisions_per_s": await _decide(kafka, engine, "storm", STORM, 1),
    }
    async with unit_of_work(engine) as work:
        await work.driver.execute(FILL, OPEN_TASKS, OWNERS, NOW, timeout=600)
        await work.driver.execute("ANALYZE alerts.task")
    took = [await _list(engine, number % OWNERS) * 1_000 for number in range(LISTED)]
    await engine.dispose()
    stack.postgres.drop(DATABASE)
    return found | {
        "top50_ms_p50": float(np.percentile(took, 50)),
        "top50_ms_p99": float(np.percentile(took, 99)),
    }


async def _decide(
    kafka: KafkaSettings, engine: AsyncEngine, name: str, count: int, share: int
) -> float:
    """Returns messages a second, from the log to the commit and the sent treatments."""
    made = [
        replace(topic, name=f"bench-alerts-{name}-{topic.name}")
        for topic in (topics.RISK, topics.TREATMENT, topics.DEAD_LETTER)
    ]
    await creating.create(kafka, tuple(made))
    endpoint = EndpointSettings.model_validate(
        {
            "id": "crm",
            "url": "https://crm.example/hook",
            "secrets": [SecretStr(f"whsec_{'A' * 32}")],
        }
    )
    service = Alerts(
        AlertsSettings(
            risk_topic=made[0].name,
            treatment_topic=made[1].name,
            dead_letter_topic=made[2].name,
            group=f"bench-{name}",
            endpoints=(endpoint,),
        ),
        kafka,
        engine,
    )
    await service.endpoint_admin().register([endpoint.endpoint()], NOW)
    async with unit_of_work(engine) as work:
        await service.policies.begin_with(work, read_policy(POLICY_FILE), NOW)
    producer = Producer(kafka, "bench")
    for begin in range(0, count, BATCH):
        await producer.send(
            _message(made[0].name, name, n, raises=n % share == 0)
            for n in range(begin, min(begin + BATCH, count))
        )
    await producer.close()
    consumer = consumers.consumer(service, "risk", made[0].name, BATCH)
    handle = service.handle_assessments()
    await consumer.start()
    began, done = 0.0, 0
    while done < count:
        batch = await consumer.poll()
        began = began or (time.perf_counter() if batch else 0.0)
        consumer.moved(batch, await handle(batch))
        done += sum(len(records) for records in batch.records.values())
    seconds = time.perf_counter() - began
    await consumer.close()
    await asyncio.gather(*(relay.close() for relay in service.relays.values()))
    return count / seconds


def _message(topic: str, name: str, number: int, *, raises: bool) -> Record:
    facts = {"usual_gap_days": 9.0, "days_silent": 20.0, "longest_gap_days": 25.0}
    reasons = [
        Reason(code="silence_beyond_rhythm", impact=1.2, facts=facts),
        Reason(code="value_falling", impact=0.4,
               facts={"order_value_recent": 12.5, "order_value_before": 30.0}),
    ]  # fmt: skip
    message = RiskAssessed(
        customer_id=f"{name}-{number}",
        revision=1,
        assessed_at=NOW,
        probability=0.6 if raises else 0.1,
        horizon_days=28,
        band="high" if raises else "low",
        method="model",
        model_version="bench",
        feature_set=1,
        reasons=reasons if raises else [],
        lapse=Lapse(days=30.0, probability=0.6, usual_gap_days=9.0, own_rhythm=True),
        signs=[Sign(code=r.code, strength=0.6, facts=r.facts) for r in reasons if raises],
        purchases=12,
        last_purchase_at=datetime(2025, 12, 16, tzinfo=UTC),
        days_silent=20.0,
        usual_gap_days=9.0,
        expected_value=100.0,
        value_at_risk=60.0,
        currency="USD",
    )
    return Record(topic, message.customer_id.encode(), risk.ENCODER.encode(message))


async def _list(engine: AsyncEngine, owner: int) -> float:
    """Returns seconds for an owner's top 50, decoded."""
    began = time.perf_counter()
    async with unit_of_work(engine) as work:
        found = await task_store.queue(work, QueueFilter("owner", f"owner-{owner}", NOW), None, 50)
    took = time.perf_counter() - began
    assert len(found) == 50
    return took
