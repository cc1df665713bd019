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
    """Reads the closures of a JSON file (`core.risk.excluded_days`).

    Raises Invalid naming the file or the field."""
    try:
        plain = msgspec.json.decode(path.read_bytes())
    except (OSError, msgspec.DecodeError, UnicodeDecodeError, RecursionError) as wrong:
        raise Invalid("closures_file", f"{path}: {wrong}") from None
    return closures_of(plain)


class ScoringSettings(HttpSettings):
    """Settings of scoring that differ between deployments."""

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
    """Consumer lanes: members of the consumer group within one process.

    Each lane has partitions and a transaction of its own: while PostgreSQL writes for one, Python
    computes for another. Two lanes keep a core of each busy; for more cores start more
    processes."""

    batch_records_max: int = Field(2_000, ge=1, le=20_000)
    """Records of one transaction: 2,000 take about 50 ms, so the service stops quickly."""

    treatment_batch_records_max: int = Field(500, ge=1, le=20_000)
    """Records of the treatment topic in one transaction: it has few and small records."""

    cache_customers_max: int = Field(100_000, ge=0, le=10_000_000)
    """Customers per process with a state in memory while the process owns their partition.

    About 1.4 KB each; recently touched customers are then not read again. Other customers are read
    from PostgreSQL, which costs about a third of the speed."""

    sweep_customers_max: int = Field(4_000, ge=1, le=20_000)
    """Silent customers assessed in one transaction, longest due first in each partition.

    About as much work as two batches of events, so that a million due customers never stop the live
    stream. Half as many would commit and send twice as often, and a lane waits for each."""

    sweep_interval_s: float = Field(1.0, gt=0)
    """Seconds between a worker's queries for due customers: far below the day between assessments.

    While more are due than one transaction takes, an idle worker queries again at once."""

    horizon_days: int = Field(28, ge=1, le=730)
    """Days of silence that count as churn while the rule serves; a model has its own horizon."""

    also_horizons_days: tuple[Horizon, ...] = Field((14, 30, 60, 90), max_length=8)
    """Other horizons (days) with a probability in every assessment: they show when a loss nears.

    Training fits each. At most eight, since more are not read."""

    labels: Labels = "silence"
    """Meaning of churn in training.

    `contractual`: for customers with a contract, its end; then only the main horizon is
    published."""

    lapse_gaps: float = Field(4.0, gt=1, le=100)
    """Lapse length in usual gaps: a silence that reaches it is a lapse (docs/warning.md)."""

    lapse_days_min: float = Field(28.0, ge=1, le=730)
    """Days: a shorter silence is never a lapse, however often the customer buys."""

    lapse_days_max: float = Field(180.0, ge=1, le=730)
    """Days: a longer silence is always a lapse, except for seasonal buyers."""

    closures_file: Path | None = None
    """JSON file of the company's closures, in UTC days: they do not count as silence.

    `{"closures": [{"from": "2026-12-24", "until": "2026-12-27", "note": "closed"}]}`"""

    band_thresholds: tuple[float, float, float] = (0.25, 0.5, 0.75)
    """Lower bounds of watch, high and critical, as lapse probabilities."""

    reasons_max: int = Field(3, ge=1, le=10)
    """Reasons published per assessment: more are not read."""

    reporting_currency: ReportingCurrency = "USD"
    model_store: str = ".local/models"
    """Folder or fsspec URL (`s3://bucket/models`) of model artefacts.

    All replicas and the commands share it. A relative folder is resolved against the working copy,
    wherever a process is started: with two folders, the service would not find trained models."""

    event_retention_days: int = Field(2_600, ge=1)
    """Days after which stored events are dropped.

    States keep purchase days for 2,560 days, and are rebuilt from the stored events when the
    feature set changes: a shorter retention would change them."""

    assessment_retention_days: int = Field(750, ge=28)
    """Days after which published assessments are dropped.

    Two years, to compare a month with the same month of the year before. At least the heartbeat of
    28 days, so that every customer's last assessment stays."""

    watch_poll_s: float = Field(60.0, gt=0)
    """Seconds between checks whether model monitoring is due: far below its interval of a week."""

    model_poll_s: float = Field(1.0, gt=0)
    """Seconds between polls of the model registry: how soon a promoted model serves."""

    value_poll_s: float = Field(1.0, gt=0)
    """Seconds between polls for a changed segment, threshold or base: how soon it is in force."""

    value_refresh_s: float = Field(6 * 3_600.0, gt=0)
    """Seconds between measurements of the customer base: its quantiles change over weeks."""

    value_first_s: float = Field(30.0, gt=0)
    """Seconds between the start and the first measurement of the base.

    Also the interval of new attempts while the base is too small."""

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
        """Lapse length with this deployment's settings."""
        closures: tuple[tuple[float, float], ...] = ()
        if self.closures_file is not None:
            closures = read_closures(self.closures_file)
        return LapseClock(
            self.lapse_gaps, self.lapse_days_min, self.lapse_days_max, closures=closures
        )
