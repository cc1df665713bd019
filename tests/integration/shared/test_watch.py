"""What a service's metrics show of its database, read on a connection of its own."""

import pytest
from sqlalchemy.ext.asyncio import AsyncEngine

from shared.postgres.engine import unit_of_work
from shared.postgres.outbox import Message, Outbox
from shared.postgres.settings import PostgresSettings
from shared.postgres.watch import DatabaseWatch
from tests.integration.shared.tables import SCHEMA

pytestmark = pytest.mark.stack

OUTBOX = Outbox(SCHEMA)


def messages(cause: str, count: int) -> list[Message]:
    """Return messages that are stored together in one row."""
    return [Message((cause, 0), "to", b"k", b"v") for _ in range(count)]


async def test_messages_are_counted_and_the_oldest_row_ages(
    engine: AsyncEngine, postgres: PostgresSettings
) -> None:
    """A row may hold a few messages, or as many as two and four bytes count.

    Those of other processes do not count, nor those that were sent and are not yet deleted.
    """
    now_s = [100.0]
    sent: list[int] = []

    async def read() -> None:
        await watch.read(["risk", "foreign"], [("risk", 0)], sent)

    watch = DatabaseWatch(
        postgres,
        SCHEMA,
        outbox=True,
        monotonic=lambda: now_s[0],
        unix=lambda: 0.0,
    )

    def nothing_waits() -> bool:
        return watch.figures.outbox_messages == 0 and watch.figures.outbox_since_s is None

    try:
        await read()
        assert nothing_waits()
        async with unit_of_work(engine) as work:
            first = await OUTBOX.add(work, messages("risk", 3))
            rest = await OUTBOX.add(work, [*messages("verdicts", 300), *messages("b", 70_000)])
            other = await OUTBOX.add(work, messages("foreign", 5))
        for now_s[0] in (110.0, 120.0):
            await read()
        assert watch.figures.outbox_messages == 3 + 300 + 70_000
        assert watch.figures.outbox_since_s == 110
        sent.append(first[0].id)
        now_s[0] = 130.0
        await read()
        assert watch.figures.outbox_messages == 70_300
        assert watch.figures.outbox_since_s == 130
        async with unit_of_work(engine) as work:
            await OUTBOX.delete(work, [each.id for each in rest])
        assert len(other) == 1, "of a partition of another process"
        await read()
        assert nothing_waits()
        assert (watch.figures.size_bytes or 0) > 0
        assert watch.figures.skew_s is not None
        assert watch.figures.skew_s > 0, "ours is the year 1970"
    finally:
        watch.close()
