"""The doctor on real servers: a healthy installation, one planted fault per check, none hidden.

The faults that do not exclude one another are planted together, and found by one run.
"""

import asyncio
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import replace
from datetime import UTC, datetime, timedelta

import orjson
import pytest
from aiokafka import AIOKafkaProducer, TopicPartition
from aiokafka.admin import AIOKafkaAdminClient, RecordsToDelete
from pydantic import SecretStr

from deploy.local.stack import LocalStack
from deploy.local.waiting import free_port
from services.alerts.store.tables import api_token, endpoint, policy, task
from services.ingest.store import tables as ingest
from services.scoring.store import tables as scoring
from services.scoring.store.tables import customer_state, model, model_promotion
from shared.contracts.topics import ACTIVITY, CHANGES, DEAD_LETTER, RAW, RISK, TREATMENT
from shared.postgres.engine import create_engine
from shared.postgres.ledger import Ledger
from shared.postgres.settings import PostgresSettings
from tests.integration.deploy.installation import (
    PASSWORD,
    Finding,
    Installation,
    answering,
    plain_role,
    service,
    tables,
)

NOW = datetime.now(UTC)
LONG_AGO = NOW - timedelta(days=3)
RETENTION = timedelta(hours=1)
TOKENS = {"ingest": ingest.api_token, "scoring": scoring.api_token, "alerts": api_token}


@pytest.fixture(scope="module")
def template(stack: LocalStack) -> Iterator[str]:
    """Provide a database with the tables of all services, to be copied."""
    asyncio.run(tables(stack.postgres.fresh("doctor_template")))
    yield "doctor_template"
    stack.postgres.drop("doctor_template")


async def _claimed(place: Installation, service_name: str, topic: str) -> None:
    """Let a service have claimed the topic's first partition."""
    engine = create_engine(PostgresSettings(url=SecretStr(place.database_url)), "test")
    await Ledger(engine, service_name).take_over((topic, 0), "host-a/0")
    await engine.dispose()


async def _reached(place: Installation, schema: str, topic: str, offset: int) -> None:
    await _claimed(place, schema, topic)
    await place.execute(
        f"UPDATE {schema}.partition SET next_offset = $2, moved_at = now() WHERE topic = $1",  # noqa: S608
        topic,
        offset,
    )


async def _healthy(place: Installation) -> None:
    await place.make_topics()
    for name, topic in (("ingest", DEAD_LETTER), ("scoring", ACTIVITY), ("alerts", RISK)):
        await _claimed(place, name, place.topic(topic))
    for name in ("ingest", "scoring", "alerts"):
        await place.insert(
            TOKENS[name],
            name="reader",
            scopes=["customers:read"],
            created_at=NOW,
            expires_at=NOW + timedelta(days=300),
        )
    await place.insert(endpoint, id="crm")
    place.database_url = await plain_role(place)


@pytest.fixture
def healthy(stack: LocalStack, template: str) -> Iterator[Installation]:
    """Provide an installation in which all is well."""
    with ExitStack() as opened:
        ports = {
            name: opened.enter_context(service(name)) for name in ("ingest", "scoring", "alerts")
        }
        place = Installation(stack, stack.postgres.fresh("doctor_healthy", template), ports)
        asyncio.run(_healthy(place))
        yield place
    stack.postgres.drop("doctor_healthy")


def test_nothing_is_found_where_all_is_well(healthy: Installation) -> None:
    """Every check is well, and the exit status is 0."""
    status, findings, printed = healthy.examine("clock")
    assert [each for each in findings if each.level != "ok"] == []
    assert status == 0
    assert {each.check for each in findings} == {
        *("settings", "broker", "database", "topics", "migrations", "roles", "services", "lag"),
        *("imports", "model", "endpoints", "tokens", "budget", "clocks"),
    }
    clocks = [each.what for each in findings if each.check == "clocks"]
    assert any("the broker" in what for what in clocks)
    assert PASSWORD not in printed


def test_an_unreachable_broker_hides_nothing_else(healthy: Installation) -> None:
    """What needs the broker is not checked and says so; all else is."""
    healthy.settings["KAFKA_BOOTSTRAP_SERVERS"] = f"127.0.0.1:{free_port()}"
    status, findings, _ = healthy.examine()
    assert status == 2
    levels = {each.check: each.level for each in findings}
    assert levels.pop("broker") == "fail"
    assert [levels.pop(name) for name in ("topics", "lag")] == ["warn", "warn"]
    assert set(levels.values()) == {"ok"}
    assert {each.do for each in findings if each.level == "fail"} == {
        "start the broker, or set KAFKA_BOOTSTRAP_SERVERS and KAFKA_* (README.md)"
    }


def test_an_unreachable_database_hides_nothing_else(healthy: Installation) -> None:
    """What needs PostgreSQL is not checked and says so; the password is not shown."""
    healthy.database_url = f"postgresql://somebody:{PASSWORD}@127.0.0.1:{free_port()}/x"
    status, findings, printed = healthy.examine()
    assert status == 2
    levels = {each.check: each.level for each in findings}
    assert levels["database"] == "fail"
    assert {levels[name] for name in ("settings", "broker", "topics", "services")} == {"ok"}
    assert {levels[name] for name in ("migrations", "roles", "tokens", "lag")} == {"warn"}
    assert PASSWORD not in printed


def test_a_refused_or_unreadable_address_shows_no_password(healthy: Installation) -> None:
    """Neither a wrong password nor a malformed URL is printed."""
    host = healthy.database_url.rpartition("@")[2]
    for url in (f"postgresql://nobody:{PASSWORD}@{host}", f"postgresql://a:{PASSWORD}@[x:1/y"):
        healthy.database_url = url
        status, findings, printed = healthy.examine()
        assert status == 2
        assert [f.level for f in findings if f.check == "database"] == ["fail"]
        assert PASSWORD not in printed


def test_settings_that_do_not_fit_are_found(healthy: Installation) -> None:
    """A setting that cannot be read is named, and so are two that differ; the rest is checked."""
    healthy.settings |= {
        "EBBWATCH_SCORING_LANES": "0",
        "EBBWATCH_ALERTS_SECRET_KEYS": PASSWORD,
    }
    status, findings, printed = healthy.examine()
    assert status == 2
    wrong = [each.what for each in findings if each.check == "settings"]
    assert any(what.startswith("EBBWATCH_SCORING_LANES: ") for what in wrong)
    assert any(what.startswith("EBBWATCH_ALERTS_SECRET_KEYS") for what in wrong)
    assert {each.level for each in findings if each.check == "migrations"} == {"ok"}
    assert PASSWORD not in printed
    healthy.settings = {"EBBWATCH_ALERTS_RISK_TOPIC": "another"}
    _, findings, _ = healthy.examine()
    wrong = [each.what for each in findings if each.check == "settings" and each.level == "fail"]
    assert len(wrong) == 1
    assert "EBBWATCH_ALERTS_RISK_TOPIC is another" in wrong[0]


def test_replicas_of_different_builds_are_found(healthy: Installation) -> None:
    """By the build that each of them shows in its metrics."""
    with service("scoring", revision="def") as port:
        both = [healthy.ports["scoring"], port]
        named = [("scoring", f"http://127.0.0.1:{each}") for each in both]
        status, findings, _ = healthy.examine(replicas=named)
    assert status == 1
    (found,) = (each for each in findings if each.level != "ok")
    assert found.check == "services"
    assert f"0.1.0 def: scoring at http://127.0.0.1:{port}" in found.what
    assert "docs/upgrading.md" in found.do


def test_no_receiver_of_tasks_is_found(healthy: Installation) -> None:
    """A deleted endpoint is none."""
    asyncio.run(healthy.execute("UPDATE alerts.endpoint SET deleted_at = now()"))
    status, findings, _ = healthy.examine()
    assert status == 1
    (found,) = (each for each in findings if each.level != "ok")
    assert (found.check, "no task leaves Ebbwatch" in found.what) == ("endpoints", True)


def test_every_check_has_a_planted_fault(healthy: Installation) -> None:
    """Those of clocks are planted as facts: a server's clock cannot be set here."""
    _, findings, _ = healthy.examine()
    planted = {check for check, *_ in PLANTED} | {"settings", "broker", "database"}
    assert planted == {each.check for each in findings} - {"clocks"}


async def _plant(place: Installation) -> None:
    """Plant a fault for each check."""
    await place.make_topics(
        replace(RISK, settings={}),
        replace(CHANGES, partitions=2),
        replace(
            ACTIVITY,
            settings={
                **ACTIVITY.settings,
                "retention.ms": str(int(RETENTION.total_seconds()) * 1000),
            },
        ),
        replace(RAW, settings={**RAW.settings, "message.timestamp.type": "CreateTime"}),
    )
    activity, treatment = place.topic(ACTIVITY), place.topic(TREATMENT)
    producer = AIOKafkaProducer(**place.stack.kafka.settings.client_kwargs("test"))
    await producer.start()
    sent_ms = int((datetime.now(UTC) - 0.7 * RETENTION).timestamp() * 1000)
    await producer.send_and_wait(activity, b"x", partition=0, timestamp_ms=sent_ms)
    for _ in range(3):
        await producer.send_and_wait(treatment, b"x", partition=0)
    await producer.stop()
    admin = AIOKafkaAdminClient(**place.stack.kafka.settings.client_kwargs("test"))
    await admin.start()
    await admin.delete_records({TopicPartition(treatment, 0): RecordsToDelete(2)})
    await admin.close()
    await _reached(place, "scoring", activity, 0)
    await _reached(place, "scoring", treatment, 1)
    await _reached(place, "alerts", place.topic(RISK), 7)
    await _claimed(place, "alerts", place.topic(CHANGES))
    await place.execute(
        "UPDATE alerts.partition SET status = 'stopped', status_reason = 'not the log we read' "
        "WHERE topic = $1",
        place.topic(CHANGES),
    )
    progress = {"backfill": "march", "backfill_at": LONG_AGO.timestamp()}
    await place.execute(
        "UPDATE scoring.partition SET progress = $2, worker = 'host-a/1' WHERE topic = $1",
        activity,
        orjson.dumps(progress).decode(),
    )
    await place.execute(
        "INSERT INTO scoring.partition (topic, partition, epoch, worker, claimed_at, moved_at) "
        "VALUES ($1, 1, 1, 'host-b/0', now(), now())",
        activity,
    )
    await _plant_rows(place)


async def _plant_rows(place: Installation) -> None:
    await place.execute("UPDATE scoring.alembic_version SET version_num = 'scoring_9999'")
    await place.execute("DROP SCHEMA ingest CASCADE")
    await place.insert(api_token, name="root", scopes=["admin"], created_at=LONG_AGO)
    await place.insert(
        api_token,
        name="till",
        scopes=["tasks:write"],
        created_at=LONG_AGO,
        expires_at=NOW - timedelta(hours=1),
        last_used_at=NOW - timedelta(hours=2),
    )
    await place.insert(endpoint, id="gone", disabled_at=LONG_AGO, disabled_reason="410 from it")
    await place.insert(endpoint, id="sleeping", paused_at=LONG_AGO)
    await place.insert(endpoint, id="failing", failing_since=LONG_AGO)
    await place.execute(
        "INSERT INTO alerts.endpoint_secret (endpoint_id, name, key_id, sealed, created_at) "
        "VALUES ('sealed', 'signing', 'lostkey', 'x', now())"
    )
    await place.insert(endpoint, id="sealed")
    await place.insert(model, version="lgbm-1", digest="ab" * 32, created_at=LONG_AGO)
    await place.insert(model_promotion, at=LONG_AGO, version="lgbm-1")
    wanted = {"budget": {"warnings_per_100": 2.0}}
    await place.insert(policy, version=1, document=wanted, created_at=LONG_AGO)
    for number in range(200):
        await place.insert(customer_state, customer_id=f"c{number}")
    times = dict.fromkeys(("opened_at", "due_at", "created_at"), LONG_AGO)
    for number in range(10):
        cause = {"cause": "silence_beyond_rhythm", "status": "open"}
        await place.insert(task, customer_id=f"c{number}", id=f"t{number}", **cause, **times)


@pytest.fixture(scope="module")
def found(stack: LocalStack, template: str) -> Iterator[list[Finding]]:
    """Provide what one run finds in an installation with a fault for each check."""
    with ExitStack() as opened:
        answers = {"/readyz": '{"missing": {}}'}
        ports = {
            "ingest": opened.enter_context(answering(answers)),
            "scoring": opened.enter_context(service("scoring", "rule-2")),
            "alerts": free_port(),
        }
        place = Installation(stack, stack.postgres.fresh("doctor_broken", template), ports)
        asyncio.run(_plant(place))
        status, findings, _ = place.examine()
        assert status == 2
        yield findings
    stack.postgres.drop("doctor_broken")


PLANTED = [
    ("topics", "fail", "risk-{} has cleanup.policy=delete instead of compact", "compact"),
    ("topics", "warn", "changes-{} has 2 partitions instead of 6", "add partitions"),
    ("topics", "warn", "raw-{} has message.timestamp.type=CreateTime", "LogAppendTime"),
    ("topics", "warn", "activity-{} has retention.ms=3600000", "2592000000"),
    ("migrations", "fail", "scoring's tables are at revision scoring_9999", "release"),
    ("migrations", "fail", "ingest has no tables", "services.ingest migrate"),
    ("roles", "warn", "a superuser", "CREATE ROLE"),
    ("services", "fail", "another program answers", "EBBWATCH_INGEST_PORT"),
    ("services", "warn", "scoring runs on 2 hosts (host-a, host-b), and 1", "--service scoring="),
    ("services", "fail", "nothing answers as alerts", "services.alerts run"),
    ("lag", "warn", "scoring is 42.", "start more processes"),
    ("lag", "fail", "1 records of ebbwatch.treatment-{}/0 were deleted", "--offset 2"),
    ("lag", "fail", "alerts stopped reading ebbwatch.changes-{}/0: not the log we read", "resume"),
    ("lag", "fail", "/0 ends at 0, before offset 7 that alerts has reached", "Kafka was lost"),
    ("tokens", "warn", "alerts's token 1 (root) may do everything", "tokens revoke 1"),
    ("tokens", "warn", "alerts's token 2 (till) expired", "tokens create --name till"),
    ("tokens", "warn", "scoring has no valid token", "tokens create --name NAME"),
    ("model", "fail", "the promoted model lgbm-1 cannot be read", "MODEL_STORE"),
    ("model", "fail", "serves rule-2, while lgbm-1 is promoted", "MODEL_STORE"),
    ("model", "warn", "scoring runs on 2 hosts (host-a, host-b)", "s3://"),
    ("imports", "warn", "'march' has brought nothing since", "imports end 'march'"),
    ("endpoints", "fail", "gone was switched off", "endpoints enable gone"),
    ("endpoints", "warn", "sleeping is paused", "endpoints enable sleeping"),
    ("endpoints", "warn", "failing has taken nothing for", "deliveries list"),
    ("endpoints", "fail", "sealed with the key lostkey", "EBBWATCH_ALERTS_SECRET_KEYS"),
    ("budget", "warn", "10 warnings of 200 customers in 30 days: 5.0 per 100", "tune"),
]
"""Check, level, and parts of what is found and of what to do about it; `{}`: the topic's mark."""


@pytest.mark.parametrize(("check", "level", "what", "do"), PLANTED)
def test_a_planted_fault_is_found(
    found: list[Finding], check: str, level: str, what: str, do: str
) -> None:
    """Each with what to do about it."""
    before, _, after = what.partition("{}")
    hits = [f for f in found if before in f.what and after in f.what and f.check == check]
    assert [each.level for each in hits] == [level]
    assert do in hits[0].do
