"""The demo's figures: what `build/demo.json` contains, and what makes the demo fail."""

import io
from dataclasses import replace
from datetime import UTC, datetime, timedelta

import msgspec
import polars as pl
import pytest
from rich.console import Console

from deploy.demo.dataset import BACKFILL_END
from deploy.demo.figures import (
    Measured,
    NamedParty,
    Received,
    ReceivedReason,
    ReceivedTask,
    WebhookMessage,
    faults,
    figures,
    warnings,
)
from deploy.demo.judgement import Judgement, ReceivedWarning, judge
from deploy.demo.summary import afterwards, examples, show

TICK = BACKFILL_END
NEXT_TICK = TICK + timedelta(days=1)


def task(number: int, **changes: object) -> ReceivedTask:
    made = ReceivedTask(
        id=f"rt_{number}",
        status="open",
        cause="overdue",
        customer=NamedParty(id=f"household-{number}", name=f"Household {number}"),
        owner=NamedParty(id="owner-01"),
        band="high",
        probability=0.6,
        horizon_days=28,
        reasons=[ReceivedReason(code="overdue", text="Usually buys every 3 days, silent for 9.")],
        language="en",
        value_at_risk=10.0,
        currency="USD",
        opened_at=TICK,
        due_at=NEXT_TICK,
    )
    return msgspec.structs.replace(made, **changes)


def received(
    reported: ReceivedTask, at_ms: int, change: str = "opened", at: datetime = TICK
) -> Received:
    message = WebhookMessage(type=f"retention_task.{change}", timestamp=at, data={"task": reported})
    return Received(webhook_id=f"msg_{reported.id}_{change}", received_ms=at_ms, message=message)


JOINED = [
    ReceivedReason(code="overdue", text="Usually buys every 3 days, silent for 9."),
    ReceivedReason(code="silence_beyond_rhythm", text="Buys every 3 days, now silent for 20 days"),
]

MEASURED = Measured(
    broker="kafka",
    backfilled=900,
    replayed=100,
    accepted=1000,
    dead_lettered=0,
    told_during_backfill=0,
    backfill_s=3.0,
    replay_s=0.02,
    total_s=60.0,
    crm={"accepted": 5, "duplicates": 1, "signature_failures": 0},
    received=[
        received(task(1), 1_300),
        received(task(2, cause="slower", band="critical"), 1_100),
        received(task(3, opened_at=NEXT_TICK, cause="silence_beyond_rhythm"), 5_200, at=NEXT_TICK),
        received(task(2, reasons=JOINED), 5_300, "updated", NEXT_TICK),
        received(task(1, status="closed"), 6_000, "closed"),
    ],
    tick_sent_ms={TICK: 1_000, NEXT_TICK: 5_000},
)


PURCHASES = pl.DataFrame(
    {
        "customer": [f"household-{n}" for n in (2, 3) for _ in range(6)] + ["household-9"],
        "time": [TICK.replace(tzinfo=None) - timedelta(days=7 * n - 1) for n in range(6)] * 2
        + [datetime(2018, 1, 1)],  # noqa: DTZ001
        "amount": [10.0] * 13,
    }
)
"""Two weekly households that stop on 2 October, and one with the last purchase of the data."""


@pytest.fixture
def judgement() -> Judgement:
    end = datetime(2017, 12, 4, tzinfo=UTC)
    return judge(PURCHASES, warnings(MEASURED.received), BACKFILL_END, end)


def test_the_figures_have_the_keys_that_others_rely_on(judgement: Judgement) -> None:
    found = figures(MEASURED, judgement)
    assert found["broker"] == "kafka"
    assert found["events"]["accepted"] == 1000
    assert found["events"]["dead_lettered"] == 0
    assert found["tasks"]["raised"] == 3
    assert found["deliveries"]["ok"] == 5
    assert found["deliveries"]["signature_failures"] == 0
    assert found["throughput"]["events_per_s"] == pytest.approx(5_000)
    assert found["seconds"]["total"] == 60.0
    warning = found["warning"]
    assert (warning["lapses"], warning["warned"]) == (2, 2)
    assert (warning["recall"], warning["value_recall"]) == (1.0, 1.0)
    assert (warning["precision_in_time"], warning["lead_days"]) == (1.0, 28.0)
    assert {"gaps", "recall", "value_recall", "precision_in_time"} <= warning["rule"].keys()
    assert (warning["missed_in_all"], warning["missed"]) == (0, [])
    assert msgspec.json.decode(msgspec.json.encode(found)) == found


def test_latency_runs_from_the_tick_that_made_the_task_to_its_arrival(
    judgement: Judgement,
) -> None:
    # 0.3 s, 0.1 s and 0.2 s; the closing message does not count.
    assert figures(MEASURED, judgement)["latency_s"]["p50"] == pytest.approx(0.2)
    assert figures(MEASURED, judgement)["latency_s"]["max"] == pytest.approx(0.3)


def test_tasks_are_counted_by_band_and_by_leading_reason(judgement: Judgement) -> None:
    found = figures(MEASURED, judgement)["tasks"]
    assert found["by_band"] == {"high": 2, "critical": 1}
    assert found["by_reason"] == {"overdue": 1, "slower": 1, "silence_beyond_rhythm": 1}
    assert (found["updated"], found["closed"]) == (1, 1)


def test_a_warning_is_a_cause_that_opens_a_task_or_joins_one() -> None:
    assert warnings(MEASURED.received) == [
        ReceivedWarning("household-1", TICK, "overdue"),
        ReceivedWarning("household-2", TICK, "slower"),
        ReceivedWarning("household-3", NEXT_TICK, "silence_beyond_rhythm"),
        ReceivedWarning("household-2", NEXT_TICK, "silence_beyond_rhythm"),
    ]


def test_a_demo_without_tasks_has_no_latency_but_figures_all_the_same() -> None:
    end = datetime(2017, 12, 4, tzinfo=UTC)
    found = figures(replace(MEASURED, received=[]), judge(PURCHASES, [], BACKFILL_END, end))
    assert found["latency_s"] == {"p50": None, "p99": None, "max": None}
    assert found["tasks"]["raised"] == 0
    assert found["warning"]["recall"] == 0.0
    assert found["warning"]["missed_in_all"] == 2


@pytest.mark.parametrize(
    ("change", "named"),
    [
        ({}, None),
        ({"dead_lettered": 1, "accepted": 999}, "events.dead_lettered"),
        ({"accepted": 998}, "events.lost"),
        ({"accepted": 1001}, "events.lost"),
        ({"told_during_backfill": 2}, "tasks.told_during_backfill"),
        (
            {"crm": {"accepted": 5, "duplicates": 0, "signature_failures": 3}},
            "deliveries.signature_failures",
        ),
    ],
)
def test_what_must_be_zero_and_is_not_is_a_fault(
    change: dict[str, object], named: str | None, judgement: Judgement
) -> None:
    measured = replace(MEASURED, **change)  # type: ignore[arg-type] # one field of several types
    found = faults(figures(measured, judgement))
    assert [text.split(" ")[0] for text in found] == ([named] if named else [])


def test_the_examples_show_each_language_and_another_cause() -> None:
    tasks = [
        task(1, value_at_risk=50.0),
        task(2, value_at_risk=90.0),
        task(3, value_at_risk=5.0, language="zh-CN"),
        task(4, value_at_risk=1.0, cause="slower"),
    ]
    assert [each.id for each in examples(tasks)] == ["rt_2", "rt_3", "rt_4"]


def test_an_example_shows_what_the_customer_did_afterwards() -> None:
    purchases = pl.DataFrame(
        {
            "customer": ["household-1", "household-1", "household-2"],
            "time": [TICK - timedelta(days=1), TICK + timedelta(days=9), TICK],
        }
    ).with_columns(pl.col("time").dt.replace_time_zone(None))
    assert afterwards(task(1), purchases) == "bought again after 9 days"
    assert afterwards(task(2), purchases) == "bought nothing more as long as the data reach"


def test_the_summary_has_figures_examples_and_the_verdict(judgement: Judgement) -> None:
    screen = Console(file=io.StringIO(), width=200)
    purchases = pl.DataFrame({"customer": ["household-1"], "time": [datetime(2017, 11, 5)]})  # noqa: DTZ001
    found = figures(MEASURED, judgement)
    show(screen, found, MEASURED.received, purchases, datetime(2018, 1, 1, tzinfo=UTC))
    assert isinstance(screen.file, io.StringIO)
    text = screen.file.getvalue()
    assert "1,000 in, 1,000 accepted, 0 dead-lettered" in text
    assert "p50 0.20 s, p99 0.30 s" in text
    assert "Usually buys every 3 days, silent for 9." in text
    assert "bought again after 35 days" in text
    assert "100% of the 2 households that stopped buying were warned about in time" in text
    assert "28 days before the lapse" in text
    assert 'The plain rule "silent for' in text
