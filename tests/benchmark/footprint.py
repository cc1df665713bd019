"""Measures what an event, a customer and an assessment occupy in Kafka and in PostgreSQL.

A slice of the demo's history goes through the real services: a silent load, then days replayed as
live. Sizes are those on the disk, indexes, page headers and dead rows included, divided by rows.
"""

import os
from pathlib import Path
from typing import Any, Final

import asyncpg

from deploy.demo.dataset import load
from deploy.local.stack import DATA
from shared.contracts.topics import ACTIVITY, CHANGES, RAW, RISK, TREATMENT, Topic
from tests.benchmark.common import SCALE
from tests.e2e.services_on_history import World

HOUSEHOLDS: Final = int(1_000 * SCALE)
DAYS: Final = 30
CATALOGUE_BYTES: Final = 64 * 1024
"""A table's part below it is the minimum of empty pages and indexes, and says nothing of a row."""

PER_EVENT: Final = ("scoring.event", "scoring.event_key", "alerts.purchase")
PER_ASSESSMENT: Final = ("scoring.assessment_history", "alerts.assessment")

SIZES: Final = """
    SELECT n.nspname || '.' || coalesce(p.relname, c.relname) AS name,
           sum(pg_total_relation_size(c.oid))::bigint AS bytes
      FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
      LEFT JOIN pg_inherits i ON i.inhrelid = c.oid LEFT JOIN pg_class p ON p.oid = i.inhparent
     WHERE n.nspname IN ('ingest', 'scoring', 'alerts') AND c.relkind = 'r' GROUP BY 1
"""


async def footprint() -> dict[str, Any]:
    """Returns bytes per event, customer, assessment and task, and how often each is made."""
    folder = DATA / "bench-footprint"
    own = {
        k: v for k, v in os.environ.items() if k not in {"KAFKA_BOOTSTRAP_SERVERS", "DATABASE_URL"}
    }
    history = load(HOUSEHOLDS)
    async with World.open(folder, own) as world:
        loaded = await world.load(history)
        replayed = await world.replay(history, DAYS)
        await world.settled()
        connection = await asyncpg.connect(world.database_url)
        try:
            found = await _tables(connection)
            live = await connection.fetchval(
                "SELECT count(*) FROM scoring.assessment_history WHERE assessed_at > "
                "(SELECT max(assessed_at) FROM scoring.assessment_history) - $1 * interval '1 day'",
                DAYS,
            )
            tasks = await connection.fetchval("SELECT count(*) FROM alerts.task")
            customers = await connection.fetchval("SELECT count(*) FROM scoring.customer_state")
        finally:
            await connection.close()
        events = loaded + replayed
        kafka = {
            topic.name: _bytes_of(folder, topic)
            for topic in (RAW, ACTIVITY, RISK, TREATMENT, CHANGES)
        }
        records = {
            topic.name: await world.backlog.written(topic) for topic in (RAW, ACTIVITY, RISK)
        }
        broker = world.stack.broker
    per_event = sum(found[name][0] for name in PER_EVENT if name in found) / events
    per_assessment = sum(
        size / max(rows, 1) for size, rows in (found[name] for name in PER_ASSESSMENT)
    )
    of_tasks = ("alerts.task", "alerts.delivery", "alerts.attempt", "alerts.trial")
    task_bytes = sum(found[name][0] for name in of_tasks if name in found)
    apart = {*PER_EVENT, *PER_ASSESSMENT, *of_tasks}
    rest = sum(
        size for name, (size, _) in found.items() if name not in apart and size > CATALOGUE_BYTES
    )
    return {
        "broker": broker,
        "events": events,
        "customers": customers,
        "tables": {
            name: size for name, (size, _) in sorted(found.items()) if size > CATALOGUE_BYTES
        },
        "kafka_raw_bytes_per_event": kafka[RAW.name] / records[RAW.name],
        "kafka_activity_bytes_per_event": kafka[ACTIVITY.name] / records[ACTIVITY.name],
        "kafka_risk_bytes_per_assessment": kafka[RISK.name] / records[RISK.name],
        "postgres_bytes_per_event": per_event,
        "postgres_bytes_per_assessment": per_assessment,
        "postgres_bytes_per_customer": rest / customers,
        "postgres_bytes_per_task": task_bytes / tasks,
        "assessments_per_customer_and_day": live / customers / DAYS,
        "tasks_per_customer_and_day": tasks / customers / DAYS,
    }


async def _tables(connection: Any) -> dict[str, tuple[int, int]]:
    """Returns bytes and rows of every table, after the clean-up that autovacuum would do."""
    await connection.execute("VACUUM ANALYZE")
    sizes = await connection.fetch(SIZES)
    return {
        row["name"]: (
            row["bytes"],
            await connection.fetchval(f"SELECT count(*) FROM {row['name']}"),  # noqa: S608
        )
        for row in sizes
    }


def _bytes_of(folder: Path, topic: Topic) -> int:
    """Returns the bytes of a topic's records on the broker's disk, without its indexes."""
    return sum(
        file.stat().st_size
        for file in folder.rglob("*.log")
        if file.parent.name.rpartition("-")[0] == topic.name
    )
