"""A sample result of a backtest, for the tests of its page."""

from datetime import UTC, date, datetime, timedelta

import numpy as np

from deploy.backtest.result import (
    AtRisk,
    Level,
    MissedVip,
    OfCause,
    OfGrade,
    Outcome,
    Quality,
    Result,
    WarningEntry,
    Week,
)
from shared.contracts.risk import Grade
from shared.event_files.options import Read

BEGIN, END = date(2017, 10, 1), date(2017, 12, 4)
HOSTILE = '<script>alert("1")</script> & <b>Müller</b>'
_CAUSES = ("silence_beyond_rhythm", "frequency_falling", "value_falling", "complaint_open")
_OUTCOMES: tuple[Outcome, ...] = ("lapsed", "came_back", "open")
_GRADES: tuple[Grade, ...] = ("vip", "regular", "potential")


def result() -> Result:
    """Return a year of a shop with 2,469 customers."""
    return Result(
        title="Complete Journey",
        begin=BEGIN,
        end=END,
        today=date(2017, 12, 31),
        currency="USD",
        read=_read(),
        customers=2_469,
        established=2_285,
        lapses=180,
        ours=Quality(
            warned=512, noticed=158, budget=10.4, precision=0.36, precision_in_time=0.31,
            recall=158 / 180, value_recall=0.861, lead_days=12.0, at_gaps=2.3,
        ),
        rule=Quality(
            warned=512, noticed=121, budget=10.4, precision=0.26, precision_in_time=0.24,
            recall=121 / 180, value_recall=0.66, lead_days=9.1, at_gaps=3.0,
        ),
        rule_gaps=3.0,
        causes=[
            OfCause(cause=cause, warnings=n, precision=p, precision_in_time=p - 0.04, lead_days=d)
            for cause, n, p, d in zip(_CAUSES, (388, 77, 35, 12), (0.38, 0.3, 0.2, 0.5),
                                      (11.5, 16.0, 18.2, 21.0), strict=True)
        ],
        grades=[
            OfGrade(grade=grade, customers=c, lapses=n, warned=3 * n, noticed=n - 7,
                    value_recall=0.84, precision_in_time=0.31)
            for grade, c, n in zip((*_GRADES, None), (457, 1371, 380, 77), (21, 96, 44, 19),
                                   strict=True)
        ],
        weeks=_weeks(),
        vips_missed=[
            MissedVip(customer=str(100 + n), lapsed_at=BEGIN + timedelta(days=9 * n),
                   spent_before=1_250.0 - 91 * n)
            for n in range(1, 7)
        ],
        warned=_warned(512),
        at_risk=_at_risk(140),
        levels=[
            Level(budget=b, warnings=round(49 * b), precision=0.62 - b / 40, recall=1 - 2 / b,
                  value_recall=1 - 1.4 / b, chosen=b == 10.4)
            for b in (2.5, 5.0, 7.5, 10.4, 14.0, 18.0)
        ],
    )  # fmt: skip


def _read() -> Read:
    return Read(
        file="transactions.csv",
        format="csv",
        encoding="gb18030",
        delimiter=";",
        columns={"customer_id": "household_id", "ts": "购买时间", "amount": "sales_value"},
        unused=["store_id", "coupon_disc", HOSTILE],
        date_order="day",
        decimal="comma",
        assumed=["negative_is_refund", "rows_are_events"],
        rows=1_469_307,
        without_customer=812,
        repeated=44,
        joined=1_303_102,
        events=165_349,
        customers=2_469,
        purchases=155_848,
        amounts_known=0.997,
        first="2017-01-01T06:53:26Z",
        last="2017-12-31T23:10:01Z",
    )


def _weeks() -> list[Week]:
    random = np.random.default_rng(3)
    return [
        Week(begin=BEGIN + timedelta(days=7 * n), warnings=w, came_true=w // 3)
        for n, w in enumerate(random.integers(38, 66, 9).tolist())
    ]


def _facts(cause: str, n: int) -> dict[str, float]:
    return {
        "silence_beyond_rhythm": {"days_silent": 14.0 + n % 45, "usual_gap_days": 5.0 + n % 13,
                                  "longest_gap_days": 12.0 + n % 50},
        "frequency_falling": {"purchases_recent": n % 3, "purchases_before": 6.0},
        "value_falling": {"order_value_recent": 12.4, "order_value_before": 31.0 + n % 7},
        "complaint_open": {"complaints_open": 1.0, "days_since_complaint": 3.0},
    }[cause]  # fmt: skip


def _warned(count: int) -> list[WarningEntry]:
    return [
        WarningEntry(
            customer=HOSTILE if n == 1 else str(1 + 7 * n % 2_469),
            at=datetime(2017, 10, 1, 6, tzinfo=UTC) + timedelta(hours=3 * n),
            cause=_CAUSES[n % 4 if n % 3 == 0 else 0],
            facts=_facts(_CAUSES[n % 4 if n % 3 == 0 else 0], n),
            probability=0.35 + (n % 60) / 100,
            value_at_risk=10.0 + 13 * n % 470,
            outcome=_OUTCOMES[n % 3],
            outcome_at=None if n % 3 == 2 else BEGIN + timedelta(days=20 + n // 9),
        )
        for n in range(count)
    ]


def _at_risk(count: int) -> list[AtRisk]:
    return [
        AtRisk(
            customer=HOSTILE if n == 139 else str(3 + 11 * n % 2_469),
            silent_days=14.0 + n % 45,
            usual_gap_days=5.0 + n % 13,
            probability=0.4 + (n % 55) / 100,
            value_at_risk=15.0 + 3.4 * n,
            cause=_CAUSES[n % 4 if n % 5 == 0 else 0],
            facts=_facts(_CAUSES[n % 4 if n % 5 == 0 else 0], n),
            grade=_GRADES[n % 3],
        )
        for n in range(count)
    ]
