"""Walks planted customers through the cores, and compares what was raised with the truth."""

import math
from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence
from datetime import UTC, datetime
from statistics import median
from typing import Final

import msgspec

from deploy.backtest.walk import setup_of, walk
from services.alerts.core.policy import Policy
from services.alerts.inbound.policy_file import read_policy
from services.alerts.settings import POLICY_FILE
from services.scoring.core.features.events import DAY_S
from services.scoring.core.risk import rhythm
from services.scoring.core.risk.rhythm import assessable
from services.scoring.model import pooled_model
from services.scoring.model.pooled_model import PooledArtefact
from services.scoring.model.rule_model import RuleModel
from services.scoring.ports import Predictor
from services.scoring.settings import ScoringSettings
from services.scoring.training.data.event_table import EventTable
from services.scoring.training.data.leaks import snapshot
from services.scoring.training.data.panel import RowOptions
from services.scoring.training.fit.candidates import learn
from shared.contracts.risk import DECODER
from shared.contracts.risk import Sign as SignSeen
from tests.field.lives import BEGIN, END
from tests.field.planted import SILENCE, SILENT_SHARE, Customer, Sign
from tests.field.table import second, table

HORIZON_DAYS: Final = 28
MONTH_DAYS: Final = 30.0
WARNED_SHARE: Final = 0.7
WARNED_DAYS_LEFT: Final = 12.0
"""Share of the lapse length, or days left of it, from which the default policy warns of a
silence."""
By = dict[str, list[tuple[float, str]]]
"""Customer -> (day, cause), in the order of time."""
OURS: Final = ("raised", "joined")
"""Kinds of warnings that are sent."""


class Found(msgspec.Struct, kw_only=True):
    """The results for one planted sign."""

    planted: int
    in_time: int
    """Raised with a right cause within the promise."""
    late: int
    """Raised with a right cause after it."""
    other: int
    """Neither, but warned of for another cause from its beginning on."""
    days_median: float | None
    """Median days from its beginning to the right cause, of those in time."""
    missed: list[str] = []
    """Customers without a warning for a right cause in time."""

    @property
    def share(self) -> float:
        """Share of the planted signs that were raised in time."""
        return self.in_time / self.planted


class Calm(msgspec.Struct, kw_only=True):
    """The results for one kind of customers without any sign."""

    customers: int
    months: float
    """Customers times 30 days."""
    warnings: int
    causes: dict[str, int]

    @property
    def rate(self) -> float:
        """False warnings per 100 customers and 30 days."""
        return 100 * self.warnings / self.months


class Report(msgspec.Struct, kw_only=True):
    """The results with one predictor."""

    predictor: str
    signs: dict[str, Found]
    """Tasks, by planted sign."""
    calm: dict[str, Calm]
    """Tasks, by kind of customer."""
    detected: dict[str, Found]
    """Findings of the detectors, whatever the policy does with them, by planted sign."""
    onsets: dict[str, Calm]
    """The same findings, by kind of customer."""


def false_rate(calm: Mapping[str, Calm]) -> float:
    """Returns false warnings per 100 unaffected customers and 30 days, all kinds together."""
    months = sum(one.months for one in calm.values())
    return 100 * sum(one.warnings for one in calm.values()) / months


def rule(_history: EventTable) -> Predictor:
    """Returns the fixed rule."""
    return RuleModel(HORIZON_DAYS)


def pooled(history: EventTable) -> Predictor:
    """Returns a prior fitted to the time before the walk."""
    begin = second(BEGIN)
    x = snapshot(history, begin)
    x = x[assessable(x)]
    prior = pooled_model.fit_prior(x)
    model, _ = pooled_model.make(
        PooledArtefact(
            horizon_days=HORIZON_DAYS,
            r=prior.r,
            alpha=prior.alpha,
            a=prior.a,
            b=prior.b,
            customers=len(x),
            repeats=int(rhythm.history(x)[0].sum()),
            labels_end=datetime.fromtimestamp(begin, UTC).isoformat(),
            data_fingerprint=history.fingerprint(begin),
        )
    )
    return model


def model(history: EventTable) -> Predictor:
    """Returns a model trained on the time before the walk, whether it passed the gate or not."""
    others = ScoringSettings().also_horizons_days
    learned = learn(history, second(BEGIN), HORIZON_DAYS, asked=RowOptions(others=others))
    (found,) = [c.model for c in learned.candidates if c.model.method == "model"]
    return found


PREDICTORS: Final[dict[str, Callable[[EventTable], Predictor]]] = {
    "rule": rule, "pooled": pooled, "model": model,
}  # fmt: skip


def default_policy() -> Policy:
    """Returns alerts' initial policy."""
    return read_policy(POLICY_FILE)


def run(customers: Sequence[Customer], predictor: str, policy: Policy) -> Report:
    """Walks the customers with one of `PREDICTORS`; `onsets` of the report are about detectors."""
    history, heard = table(customers), Heard()
    walked = walk(
        history,
        second(BEGIN),
        second(END),
        setup_of(ScoringSettings(), PREDICTORS[predictor](history), policy),
        heard=heard,
    )
    reported = [w for w in walked.warned if w.kind in OURS]
    raised = _by_customer((w.customer_id, w.at, w.cause) for w in reported)
    began = _by_customer(heard.began)
    return Report(
        predictor=predictor,
        signs=_signs(customers, raised, heard.lengths),
        calm=_calm(customers, raised),
        detected=_signs(customers, began, heard.lengths),
        onsets=_calm(customers, began),
    )


class Heard:
    """Reads risk messages: when signs begin, and lapse lengths."""

    def __init__(self) -> None:
        self.lengths: dict[str, float] = {}
        """The latest lapse length of each customer."""
        self.began: list[tuple[str, datetime, str]] = []
        """(customer, when, code); for a silence, once it is long enough for a policy's warning."""
        self._signs: dict[str, set[str]] = defaultdict(set)

    def __call__(self, encoded: bytes) -> None:
        """Read a message."""
        message = DECODER.decode(encoded)
        who = message.customer_id
        if message.lapse is not None:
            self.lengths[who] = message.lapse.days
        signs = {s.code for s in message.signs if s.code != SILENCE or _long(s)}
        self.began += [
            (who, message.assessed_at, code) for code in sorted(signs - self._signs[who])
        ]
        self._signs[who] = signs


def _long(silence: SignSeen) -> bool:
    share, days = silence.facts["lapse_share"], silence.facts["lapse_days"]
    return share >= WARNED_SHARE or (1.0 - share) * days <= WARNED_DAYS_LEFT


def _by_customer(found: Iterable[tuple[str, datetime, str]]) -> By:
    by: By = defaultdict(list)
    for customer, at, cause in found:
        by[customer].append(((at.timestamp() - second(0.0)) / DAY_S, cause))
    return by


def _signs(
    customers: Sequence[Customer],
    by: By,
    lengths: dict[str, float],
) -> dict[str, Found]:
    found: dict[str, Found] = {}
    took: dict[str, list[float]] = defaultdict(list)
    for customer in customers:
        for at, sign in enumerate(customer.signs):
            one = found.setdefault(
                sign.name, Found(planted=0, in_time=0, late=0, other=0, days_median=None)
            )
            one.planted += 1
            ends = customer.signs[at + 1].begins if at + 1 < len(customer.signs) else math.inf
            shown = [(day, cause) for day, cause in by[customer.id] if sign.begins <= day < ends]
            right = [day for day, cause in shown if cause in sign.causes]
            if right and right[0] <= _until(sign, lengths.get(customer.id)):
                one.in_time += 1
                took[sign.name].append(right[0] - sign.begins)
                continue
            one.late += bool(right)
            one.other += bool(shown and not right)
            one.missed.append(customer.id)
    for name, days in took.items():
        found[name].days_median = round(median(days), 1)
    return found


def _until(sign: Sign, lapse_days: float | None) -> float:
    if sign.until is not None:
        return sign.until
    return -math.inf if lapse_days is None else sign.begins + SILENT_SHARE * lapse_days


def _calm(customers: Sequence[Customer], by: dict[str, list[tuple[float, str]]]) -> dict[str, Calm]:
    found: dict[str, Calm] = {}
    causes: dict[str, Counter[str]] = defaultdict(Counter)
    for customer in customers:
        if not customer.calm:
            continue
        one = found.setdefault(customer.kind, Calm(customers=0, months=0.0, warnings=0, causes={}))
        one.customers += 1
        for begins, ends in customer.calm:
            one.months += (ends - begins) / MONTH_DAYS
            false = [cause for day, cause in by[customer.id] if begins <= day <= ends]
            one.warnings += len(false)
            causes[customer.kind].update(false)
    for kind, counted in causes.items():
        found[kind].causes = dict(counted.most_common())
    return found
