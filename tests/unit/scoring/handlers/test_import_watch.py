"""An import that does not end is logged every hour and noted in `/readyz`."""

from datetime import timedelta

from structlog.testing import capture_logs

from services.scoring.handlers.import_watch import ImportWatch
from shared.postgres.ledger import Claim
from tests.fakes.clock import SetClock


def claims(*imports: str | None) -> list[Claim]:
    """Return claims of partitions, with the imports that pause them."""
    return [
        Claim(
            "activity", number, 1, 5, None,
            {} if name is None else {"backfill": name, "backfill_at": 1_772_355_600.0},
        )
        for number, name in enumerate(imports)
    ]  # fmt: skip


def shown(watch: ImportWatch, clock: SetClock, owned: list[Claim], hours: float) -> list[str]:
    """Return the levels that are logged in a period with a check every minute."""
    with capture_logs() as lines:
        for _ in range(int(hours * 60)):
            watch(owned)
            clock.pass_by(timedelta(minutes=1))
    return [line["log_level"] for line in lines]


async def test_each_hour_until_it_has_ended() -> None:
    """The start is logged once, then a warning an hour, then the end.

    The next import starts anew.
    """
    clock = SetClock()
    watch = ImportWatch(clock)
    assert shown(watch, clock, claims(None, None), 3) == []
    assert await watch.note() is None
    assert shown(watch, clock, claims("jan", None, "jan"), 3.5) == ["info", *["warning"] * 3]
    note = await watch.note()
    assert note is not None
    assert "'jan': the sweep of 2 partitions rests; its newest record came 2026-03-01" in note
    assert "imports end" in note
    assert shown(watch, clock, claims(None), 1) == ["info"]
    assert await watch.note() is None
    assert shown(watch, clock, claims("jan"), 0.5) == ["info"]


async def test_many_imports_are_a_short_note() -> None:
    """A sender that gives each record its own import does not fill the page."""
    clock = SetClock()
    watch = ImportWatch(clock)
    watch(claims(*(f"{n}-{'x' * 300}" for n in range(50))))
    note = await watch.note()
    assert note is not None
    assert "47 more" in note
    assert len(note) < 1_000
