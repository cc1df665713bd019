"""Loyalty events on the real tables: once, in any order, until the customer is erased."""

from datetime import date
from itertools import permutations

import numpy as np
import pytest
from sqlalchemy.ext.asyncio import AsyncEngine

from services.scoring.core.features.compute import feature_index
from services.scoring.core.features.registry import FEATURES
from shared.contracts import events as types
from shared.contracts.activity import ActivityData
from shared.kernel.arrays import Floats
from tests.fakes import activity
from tests.fakes.activity import day
from tests.fakes.scoring_worker import ScoringWorker
from tests.integration.scoring.postgres import PostgresStore, Relayed, assessments, table
from tests.integration.scoring.test_erasure import erasure, worker

pytestmark = pytest.mark.stack

LAST = date(2026, 4, 20)
"""The last day of the points; the customer buys every four days up to 29 March."""


def loyal(name: str, at: float, customer: str = "c-1", **data: object) -> bytes:
    """Build a loyalty event."""
    return activity.event(
        name,
        customer,
        day(at),
        kind=types.LOYALTY,
        data=ActivityData(**data),  # type: ignore[arg-type]
    )


POINTS = (
    loyal("earned", 1, kind="points_earned", points=300.0, balance=1_300.0),
    loyal("newer", 9, kind="points_earned", points=200.0, balance=1_500.0),
    loyal("report", 10, kind="points_expiring", points=1_200.0, expires_on=LAST),
)


async def told(engine: AsyncEngine) -> dict[str, Floats]:
    """Return the features of each customer, from the stored state."""
    return {
        row["customer_id"]: np.frombuffer(row["features"], np.float64).reshape(len(FEATURES))
        for row in await assessments(engine)
    }


async def test_points_are_stored_once_and_warned_of(
    engine: AsyncEngine, store: PostgresStore
) -> None:
    """In each order, and though every event comes twice; the sign is published with the date."""
    scoring = ScoringWorker(store, Relayed(engine), replay=True)
    for number, order in enumerate(permutations(range(len(POINTS)))):
        customer = f"c-{number}"
        for n in range(8):
            scoring.log.append(0, activity.event(f"o{n}", customer, day(4 * n)))
        for at in (*order, *order):
            value = POINTS[at].replace(b'"c-1"', f'"{customer}"'.encode())
            scoring.log.append(0, value)
    scoring.log.append(0, activity.tick(day(42)))
    await scoring.drain()

    found = await told(engine)
    assert sorted(found) == [f"c-{number}" for number in range(6)]
    for x in found.values():
        assert x[feature_index["points_balance"]] == 1_500
        assert x[feature_index["points_expiring"]] == 1_200
        assert x[feature_index["points_earned_decayed_90"]] == pytest.approx(
            300 * 2 ** (-41 / 90) + 200 * 2 ** (-33 / 90)
        )
    signs = [sign for m in scoring.told for sign in m.signs if sign.code == "points_expiring"]
    assert len(signs) >= 6
    assert {date.fromordinal(date(1970, 1, 1).toordinal() + int(s.facts["expires_on"]))
            for s in signs} == {LAST}  # fmt: skip


@pytest.mark.erasure
async def test_an_erasure_removes_points_and_leaves_nothing_with_who_referred(
    engine: AsyncEngine, store: PostgresStore
) -> None:
    scoring = worker(engine, store)
    for value in POINTS:
        scoring.log.append(0, value)
    scoring.log.append(0, loyal("r", 2, "c-2", kind="referral"))
    scoring.log.append(0, erasure("r-1", "c-1", day(12)))
    await scoring.drain()
    assert [row["customer_id"] for row in await table(engine, "customer_state")] == ["c-2"]
    assert not any(b"c-1" in row["payload"] for row in await table(engine, "event")
                   if row["customer_id"] == "c-2")  # fmt: skip
