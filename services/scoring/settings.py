"""Scoring's settings, read from `EBBWATCH_SCORING_*`."""

from pathlib import Path
from typing import Annotated, Literal, Self

import msgspec
from pydantic import Field, field_validator, model_validator
from pydantic_settings import SettingsConfigDict

from services.scoring.core.features.contracts import Labels
from services.scoring.core.risk.excluded_days import closures_of
from services.scoring.core.risk.horizons import HORIZON_DAYS_MAX
from services.scoring.core.risk.lapse import LapseClock
from shared.contracts import topics
from shared.kernel.errors import Invalid
from shared.runtime.settings import HttpSettings, ReportingCurrency

WORKING_COPY = Path(__file__).parents[2]
Horizon = Annotated[int, Field(ge=1, le=HORIZON_DAYS_MAX)]


def read_closures(path: Path) -> tuple[tuple[float, float], ...]:
    """Read the closures of a JSON file (`core.risk.excluded_days`).

    Raises Invalid naming the file or the field."""
    try:
        plain = msgspec.json.decode(path.read_bytes())
    except (OSError, msgspec.DecodeError) as wrong:
        raise Invalid("closures_file", f"{path}: {wrong}") from None
    return closures_of(plain)


class ScoringSettings(HttpSettings):
    """Everything about scoring that differs between deployments."""

    model_config = SettingsConfigDict(env_prefix="EBBWATCH_SCORING_")

    port: int = 8082
    activity_topic: str = topics.ACTIVITY.name
    risk_topic: str = topics.RISK.name
    treatment_topic: str = topics.TREATMENT.name
    changes_topic: str = topics.CHANGES.name
    dead_letter_topic: str = topics.DEAD_LETTER.name
    group: str = "scoring"

    clock: Literal["live", "replay"] = "live"
    """`replay`: `now` comes from tick records only; customers are assessed at ticks."""

    lanes: int = Field(2, ge=1, le=8)
    """Members of the group within one process, each with partitions and a transaction of its own:
    while PostgreSQL writes for one, Python computes for another. Two keep a core of each busy; for
    more cores start more processes."""

    batch_records_max: int = Field(2_000, ge=1, le=20_000)
    """Records of one transaction: 2,000 take about 50 ms, so a stop is never far away."""

    treatment_batch_records_max: int = Field(500, ge=1, le=20_000)
    """Records of the treatment topic in one transaction: a quiet topic, small facts."""

    cache_customers_max: int = Field(100_000, ge=0, le=10_000_000)
    """Customers of a process whose state stays in memory while their partition is ours, about 1 KB
    each: who was touched lately is not read again. Beyond it they come from PostgreSQL, at about a
    third of the speed lost."""

    sweep_customers_max: int = Field(4_000, ge=1, le=20_000)
    """Silent customers assessed in one transaction, of each partition the oldest due: about as
    much work as two batches of events, so that a million of them never stop the live stream. Half
    as many would commit and send twice as often, which a lane waits for."""

    sweep_interval_s: float = Field(1.0, gt=0)
    """How often a worker asks for due customers; far below the day that a look means. While there
    are more than one transaction takes, an idle one asks again at once."""

    horizon_days: int = Field(28, ge=1, le=730)
    """Silence for so long is what we call churn, while the rule serves; a model brings its own."""

    also_horizons_days: tuple[Horizon, ...] = Field((14, 30, 60, 90), max_length=8)
    """Other horizons that every assessment tells the probability of, so that "when" is answered;
    training fits each. Eight are more than anybody reads."""

    labels: Labels = "silence"
    """What training counts as churn. `contractual`: the end of the contract, of whom one runs; then
    only the main horizon is told."""

    lapse_gaps: float = Field(4.0, gt=1, le=100)
    """Lapse length in usual gaps: a silence that reaches it is a lapse of this customer
    (docs/warning.md)."""

    lapse_days_min: float = Field(28.0, ge=1, le=730)
    """A shorter silence is never a lapse, however often the customer buys."""

    lapse_days_max: float = Field(180.0, ge=1, le=730)
    """A longer one always is, but for seasonal buyers."""

    closures_file: Path | None = None
    """JSON: `{"closures": [{"from": "2026-12-24", "until": "2026-12-27", "note": "closed"}]}`, UTC
    days on which the company is closed to everybody: they do not count as silence."""

    band_thresholds: tuple[float, float, float] = (0.25, 0.5, 0.75)
    """Lower ends of watch, high, critical, of the lapse probability."""

    reasons_max: int = Field(3, ge=1, le=10)
    """Reasons told per assessment: more are not read."""

    reporting_currency: ReportingCurrency = "USD"
    model_store: str = ".local/models"
    """Folder or fsspec URL (`s3://bucket/models`) of model artefacts, shared by all replicas and by
    the commands. A relative folder is one of the working copy, wherever a process is started: two
    processes that look into two folders would train for nobody."""

    event_retention_days: int = Field(2_600, ge=1)
    """Stored events older than this are dropped. States remember purchase days for 2,560 days, and
    are rebuilt from these events when the feature set changes: less would change them."""

    assessment_retention_days: int = Field(750, ge=28)
    """Published assessments older than this are dropped: two years, to compare a month with the
    same month before. At least the heartbeat of 28 days, so that everybody's last one stays."""

    watch_poll_s: float = Field(60.0, gt=0)
    """How often it is asked whether a roll call is due: far below the week between two."""

    model_poll_s: float = Field(1.0, gt=0)
    """How soon a promoted model serves."""

    value_poll_s: float = Field(1.0, gt=0)
    """How soon a changed segment, threshold or base is in force."""

    value_refresh_s: float = Field(6 * 3_600.0, gt=0)
    """How often the customer base is measured anew: quantiles of a base move by the week."""

    value_first_s: float = Field(30.0, gt=0)
    """How long after its start the service measures a base at the earliest, and how often one
    that is still too small is looked at again."""

    @field_validator("model_store")
    @classmethod
    def _of_the_working_copy(cls, value: str) -> str:
        return value if "://" in value else str(WORKING_COPY / value)

    @model_validator(mode="after")
    def _bounds_in_order(self) -> Self:
        if self.lapse_days_min > self.lapse_days_max:
            raise ValueError("lapse_days_min lies above lapse_days_max")
        return self

    @property
    def lapse_clock(self) -> LapseClock:
        """The lapse length as this deployment sets it."""
        closures: tuple[tuple[float, float], ...] = ()
        if self.closures_file is not None:
            closures = read_closures(self.closures_file)
        return LapseClock(
            self.lapse_gaps, self.lapse_days_min, self.lapse_days_max, closures=closures
        )
