"""The result of a backtest as plain values: what the page shows and `backtest.json` contains.

The walk fills it and the page shows it. A silence, a lapse, "in time", precision and recall are
defined in docs/warning.md. Shares are 0 to 1, None where there is nothing to divide by; times are
UTC; money is in `Result.currency`.
"""

from datetime import date, datetime
from typing import Annotated, Literal

import msgspec
from msgspec import Meta

from shared.contracts.risk import Grade, Method
from shared.event_files.options import Read

Share = Annotated[float, Meta(ge=0, le=1)]
Outcome = Literal["lapsed", "came_back", "open"]
"""After a warning: the silence became a lapse; a purchase ended it before; not known yet."""


class Quality(msgspec.Struct, kw_only=True, frozen=True):
    """How good a list of warnings is, over the silences that are decided."""

    warned: int
    """Silences with a warning."""
    noticed: int
    """Lapses that were warned of in time."""
    budget: float
    """Warnings per 100 established customers and 30 days."""
    precision: Share | None = None
    """Of the warned silences, those that became lapses."""
    precision_in_time: Share | None = None
    """Of the warned silences, lapses that were warned of in time."""
    recall: Share | None = None
    """Of the lapses, those warned of in time."""
    value_recall: Share | None = None
    """The same, each lapse weighted by what the customer spent in the 91 days before."""
    lead_days: float | None = None
    """Median days from a warning in time to the lapse."""
    at_gaps: float | None = None
    """Median silence at a warning in time, in the customer's usual gaps."""


class OfCause(msgspec.Struct, kw_only=True, frozen=True):
    """The warnings of one cause."""

    cause: str
    """Code of a sign, as `silence_beyond_rhythm`."""
    warnings: int
    precision: Share | None = None
    precision_in_time: Share | None = None
    lead_days: float | None = None


class OfGrade(msgspec.Struct, kw_only=True, frozen=True):
    """The lapses and warnings of one grade."""

    grade: Grade | None
    """The grade when the silence began; None: not known."""
    customers: int
    lapses: int
    warned: int
    noticed: int
    value_recall: Share | None = None
    precision_in_time: Share | None = None


class Week(msgspec.Struct, kw_only=True, frozen=True):
    """The warnings of one week."""

    begin: date
    warnings: int
    came_true: int
    """Warnings that were followed by a lapse."""


class MissedVip(msgspec.Struct, kw_only=True, frozen=True):
    """A VIP who lapsed without a warning in time."""

    customer: str
    lapsed_at: date
    spent_before: float | None = None
    """Spending in the 91 days up to the last purchase."""


class WarningEntry(msgspec.Struct, kw_only=True, frozen=True):
    """One warning."""

    customer: str
    at: datetime
    cause: str
    facts: dict[str, float] = {}
    """Numbers for the cause's sentence."""
    probability: Share
    """Probability of a lapse."""
    value_at_risk: float
    outcome: Outcome
    outcome_at: date | None = None
    """Day of the lapse or of the purchase."""


class AtRisk(msgspec.Struct, kw_only=True, frozen=True):
    """A customer who is at risk at the end of the file."""

    customer: str
    silent_days: float
    usual_gap_days: float | None = None
    probability: Share
    """Probability of a lapse."""
    value_at_risk: float
    """Expected loss: the probability times what the customer would spend."""
    cause: str
    facts: dict[str, float] = {}
    grade: Grade | None = None


class Level(msgspec.Struct, kw_only=True, frozen=True):
    """The figures with another number of warnings."""

    budget: float
    """Warnings per 100 established customers and 30 days."""
    warnings: int
    precision: Share | None = None
    recall: Share | None = None
    value_recall: Share | None = None
    chosen: bool = False


class Result(msgspec.Struct, kw_only=True, frozen=True):
    """A whole backtest."""

    title: str
    """The company's or the file's name."""
    begin: date
    """First day of the test window."""
    end: date
    """Day after the window's last."""
    today: date
    """Last day of the file."""
    currency: str = ""
    """ISO 4217 code, or the mark in the file; empty: not known."""
    read: Read
    customers: int
    """Customers who bought before the end of the window."""
    established: int
    """Those of them with a rhythm of their own in the window."""
    lapses: int
    """Silences of established customers in the window that became a lapse."""
    ours: Quality
    rule: Quality
    """The plain rule "silent for `rule_gaps` usual gaps", with as many warnings."""
    rule_gaps: float
    causes: list[OfCause] = []
    grades: list[OfGrade] = []
    weeks: list[Week] = []
    vips_missed: list[MissedVip] = []
    warned: list[WarningEntry] = []
    at_risk: list[AtRisk] = []
    levels: list[Level] = []
    every: Quality | None = None
    """Warnings of any cause, judged by the same silences; `ours` are those of silence."""
    by_spending: Quality | None = None
    """The plain rule thinned to as many warnings by what the customers spent."""
    wanted_per_100: float | None = None
    """The requested budget of warnings; None: none."""
    found_per_100: float = 0.0
    """Warnings of any cause in the window, per 100 established customers and 30 days."""
    method: Method | None = None
    """The method that scored."""
    model_version: str = ""
    notes: list[str] = []
    """Training's notes on each candidate."""
    looks: int = 0
    """Number of assessments."""
    seconds: float = 0.0
    """Wall time of the backtest."""


ENCODER = msgspec.json.Encoder()
DECODER = msgspec.json.Decoder(Result)
