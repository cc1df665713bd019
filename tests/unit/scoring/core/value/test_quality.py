"""Activity that cannot be one customer's is flagged, and no other."""

import msgspec
import numpy as np
import pytest

from services.scoring.core.features.compute import features
from services.scoring.core.features.events import DAY_S, EventColumns, Kind
from services.scoring.core.features.fold import fold
from services.scoring.core.features.state import empty
from services.scoring.core.risk.lapse import LapseClock
from services.scoring.core.value import quality
from services.scoring.core.value.base import Base, measure
from services.scoring.core.value.classify import (
    Before,
    Risk,
    Valuation,
    assess,
)
from services.scoring.core.value.policy import ValuePolicy
from services.scoring.metrics import QUALITY_FLAGS
from shared.kernel.arrays import Floats
from tests.unit.scoring.core.histories import REAL_SETS, columns, real, together

NOW = 366 * DAY_S


def shop(customers: int) -> EventColumns:
    """Return customers who each buy once a month and browse twice as often."""
    day = np.tile(np.arange(6, 366, 10.0), customers)
    row = np.repeat(np.arange(customers), 36)
    kind = np.where(np.arange(len(day)) % 3 == 0, Kind.PURCHASE, Kind.INTERACTION)
    amount = np.where(kind == Kind.PURCHASE, 20.0, np.nan)
    return columns(row=row, time=day * DAY_S, kind=kind, amount=amount)


def crowd(row: int, people: int, kind: Kind) -> EventColumns:
    """Return events of one id that so many people use to buy or browse, once a month each."""
    times = np.sort(np.random.default_rng(4).uniform(1, 366, people * 12)) * DAY_S
    amount = np.full(len(times), 20.0 if kind == Kind.PURCHASE else np.nan)
    return columns(
        row=np.full(len(times), row), time=times, kind=np.full(len(times), kind), amount=amount
    )


def measured(x: Floats) -> Base:
    n = len(x)
    return measure(x, np.zeros(n), np.zeros((n, 16), np.uint32), ValuePolicy(), LapseClock())


def flags_of(events: EventColumns, customers: int) -> list[tuple[str, ...]]:
    x = features(fold(empty(customers), events), np.full(customers, NOW))
    nothing = np.full(customers, np.nan)
    risk = Risk(np.zeros(customers, np.int8), nothing, nothing)
    found = assess(
        x, np.full(customers, NOW), risk, np.zeros((customers, 16), np.uint32),
        [None] * customers, Before.nothing(customers), Valuation(base=measured(x)),
    )  # fmt: skip
    return found.quality


@pytest.mark.parametrize("kind", [Kind.PURCHASE, Kind.INTERACTION])
def test_one_id_with_the_traffic_of_thousands_is_flagged(kind: Kind) -> None:
    events = together(shop(60), crowd(60, 4_000, kind), crowd(61, 60, kind))
    # Without a purchase a customer is not measured, but every customer can be flagged.
    found = flags_of(events, 62)
    assert quality.TOO_MUCH_TRAFFIC in found[60]
    assert not any(quality.TOO_MUCH_TRAFFIC in flags for flags in (*found[:60], found[61]))


def test_a_base_that_hardly_buys_makes_no_regular_improbable() -> None:
    """A multiple of almost nothing is still little: no customer below five a day is flagged."""
    once = columns(
        row=np.arange(60), time=np.full(60, 200 * DAY_S), amount=np.full(60, 20.0)
    )  # fmt: skip
    daily = columns(
        row=np.full(1_000, 60), time=np.linspace(100, 365, 1_000) * DAY_S,
        amount=np.full(1_000, 20.0),
    )  # fmt: skip
    found = flags_of(together(once, daily), 61)
    assert not any(quality.TOO_MUCH_TRAFFIC in flags for flags in found)


@pytest.mark.public_sets
@pytest.mark.parametrize("name", REAL_SETS)
def test_no_customer_of_the_real_sets_has_improbable_traffic(name: str) -> None:
    events = real(name)
    if events is None:
        pytest.skip(f"{name} is not here: set EBBWATCH_DATA to the folder of the data sets")
    n = int(events.row.max()) + 1
    x = features(fold(empty(n), events), np.full(n, events.time.max() + 1))
    assert quality.traffic(x).max() <= measured(x).limits.traffic


def test_a_base_that_an_earlier_version_stored_has_no_limits() -> None:
    x = features(fold(empty(60), shop(60)), np.full(60, NOW))
    stored = msgspec.to_builtins(measured(x))
    del stored["traffic_limit"], stored["spend"]["most"]
    before = msgspec.convert(stored, Base)
    assert before.limits == quality.NO_LIMITS
    again = msgspec.json.decode(msgspec.json.encode(measured(x)), type=Base)
    assert again == measured(x)


def test_every_flag_has_a_meaning_and_a_series_from_the_first_scrape_on() -> None:
    reported = {sample.labels["flag"] for one in QUALITY_FLAGS.collect() for sample in one.samples}
    assert reported == set(quality.MEANINGS)
    assert {quality.AMOUNTS_IMPROBABLE, quality.TOO_MUCH_TRAFFIC} <= reported
