"""The detectors: when each sign of leaving holds, how strongly, and the facts it quotes.

A sign begins at one level and ends at a looser one, so that it does not flap between assessments.
Each compares a customer with the customer's own past; formulas, units and minimum data are with
the tests in `change_tests`, false-alarm rates in docs/warning.md. Detectors never decide which
customers are warned about.
"""

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Final

import numpy as np
from numpy.typing import NDArray

from services.scoring.core.features.events import DAY_S
from services.scoring.core.features.registry import column
from services.scoring.core.risk.lapse import SilenceColumns
from services.scoring.core.risk.loyalty import EXPIRY_DAYS, level_fell, points_unused
from services.scoring.core.risk.reason_facts import MONTH_DAYS
from services.scoring.core.signs.change_tests import (
    GAPS_COMPARED,
    gap_chance,
    interaction_chance,
    order_value_chance,
)
from services.scoring.core.value.grades import GRADES
from services.scoring.core.value.lifecycle import WON_BACK
from shared.contracts.risk import Sign
from shared.contracts.signs import SILENCE, URGENCY, SignCode
from shared.kernel.arrays import Codes, Flags, Floats

SILENCE_SHARE: Final = 0.5
"""Share of the lapse length from which a silence is a sign; policies warn later."""
SERVICE_DAYS: Final = 1.0
"""Time within which a complaint is to be resolved; a VIP's complaint is a sign at once."""
SCORE_LOW: Final = 6.0
"""0-6 of 10: the detractors of the recommendation scale (Reichheld 2003)."""
SCORE_DROP: Final = -3.0
"""Change between two answers that counts as a drop at any level, in points."""
CONTRACT_DAYS: Final = 30.0
"""Days before its known end from which a contract is about to end: a month's notice."""
ANSWER_DAYS_MAX: Final = 91.0
"""An answer counts as current for a quarter."""
CHANCE_GAPS: Final = 0.001
"""Slower buying is a sign up to this chance of the observation if nothing had changed. Each
purchase is a new test: at four a month, one in a thousand is one false sign per 250 customers."""
CHANCE_LEVEL: Final = 0.005
"""The same for interactions and order values; their memories change more slowly."""
CHANCE_ENDS: Final = 10.0
"""A sign ends once the chance exceeds the one at which it begins this many times."""
SLOWER: Final = 1.6
"""Ratio of newest gaps to those before from which buying has clearly slowed."""
FALLEN: Final = 0.65
"""A fall matters only down to this share of the earlier level or less, whatever the chance."""
VIP: Final = GRADES.index("vip")


@dataclass(frozen=True, slots=True)
class Seen:
    """The input of the detectors: n customers, each at one instant."""

    x: Floats
    """float64[n, F] of `features`."""
    silences: SilenceColumns
    probability: Floats
    """float64[n]: that the present silence reaches the lapse length; NaN without a lapse length."""
    grade: Codes
    """Index of `grades.GRADES`; -1 unknown."""
    lifecycle: Codes
    """Index of `lifecycle.LIFECYCLES`; -1 unknown."""
    source_stopped: Flags
    """bool[n]: the customer's source has stopped delivering, so that the silence is no sign."""
    now: Floats
    """float64[n], Unix seconds UTC."""


@dataclass(frozen=True, slots=True)
class DetectedSign:
    """One sign over n customers."""

    holds: Flags
    strength: Floats
    """0-1."""
    facts: dict[str, Floats]
    """The numbers that its sentence quotes, in its units; NaN where not known."""


Detect = Callable[[Seen, Flags], DetectedSign]
"""(input, bool[n] where the sign held at the last assessment) -> the sign now."""


def complaint_open(seen: Seen, before: Flags) -> DetectedSign:
    """Detect a complaint not resolved within the service time of the customer's grade."""
    opened = column(seen.x, "complaints_open")
    age = column(seen.x, "complaint_recency_days")
    # With several open complaints only the newest one's age is known: an older one has waited.
    late = (age >= SERVICE_DAYS) | (opened > 1) | (seen.grade == VIP) | before
    facts = {"complaints_open": opened, "days_since_complaint": age}
    return DetectedSign((opened > 0) & late, np.ones(len(opened)), facts)


def satisfaction_low(seen: Seen, _: Flags) -> DetectedSign:
    """Detect a newest survey score that is low, or far below the one before."""
    return _answer(seen.x, "survey")


def recommendation_low(seen: Seen, _: Flags) -> DetectedSign:
    """Detect a newest recommendation intent that is low, or far below the one before."""
    return _answer(seen.x, "recommendation")


def contract_ending(seen: Seen, _: Flags) -> DetectedSign:
    """Detect a contract that ends within the notice that an owner needs to renew it."""
    rest = column(seen.x, "contract_rest_days")
    facts = {"days_to_end": rest}
    return DetectedSign(np.asarray(rest <= CONTRACT_DAYS), np.ones(len(rest)), facts)


def points_expiring(seen: Seen, _: Flags) -> DetectedSign:
    """Detect a customer who is about to let most loyalty points expire unused."""
    days = column(seen.x, "points_expiry_days")
    # Points expire with the end of a UTC day; the remainder is rounding.
    ends = np.rint(seen.now / DAY_S + days)
    facts = {
        "points_expiring": column(seen.x, "points_expiring"),
        "days_to_expiry": days,
        "expires_on": ends - 1,
    }
    return DetectedSign(points_unused(seen.x), np.ones(len(days)), facts)


def level_lowered(seen: Seen, _: Flags) -> DetectedSign:
    """Detect a customer with a loyalty level that was lowered lately."""
    days = column(seen.x, "level_lowered_days")
    return DetectedSign(level_fell(seen.x), np.ones(len(days)), {"days_since_lowered": days})


def slipping_again(seen: Seen, _: Flags) -> DetectedSign:
    """Detect a won-back customer who is silent for half the lapse length."""
    return _silence(seen, seen.lifecycle == WON_BACK)


def silence_beyond_rhythm(seen: Seen, _: Flags) -> DetectedSign:
    """Detect a customer with several purchase days who is silent for half the lapse length."""
    again = column(seen.x, "purchase_days") > 1
    return _silence(seen, again & (seen.lifecycle != WON_BACK))


def new_and_quiet(seen: Seen, _: Flags) -> DetectedSign:
    """Detect a customer of one purchase day who is silent for half a newcomer's lapse length."""
    once = column(seen.x, "purchase_days") == 1
    return _silence(seen, once & (seen.lifecycle != WON_BACK))


def frequency_falling(seen: Seen, before: Flags) -> DetectedSign:
    """Detect a customer who still buys, but with clearly longer gaps than before."""
    chance, recent, level = gap_chance(seen.x)
    window = recent * GAPS_COMPARED
    facts = {
        "purchases_recent": np.full(len(window), float(GAPS_COMPARED)),
        "purchases_before": window / level,
        "window_days": window,
    }
    slower = recent >= SLOWER * level
    return _changed(chance, CHANCE_GAPS, slower & ~seen.silences.reached, before, facts)


def interaction_falling(seen: Seen, before: Flags) -> DetectedSign:
    """Detect a customer who interacts clearly less than before while purchases continue."""
    chance, recent, level = interaction_chance(seen.x)
    facts = {
        "interactions_recent": recent * MONTH_DAYS,
        "interactions_before": level * MONTH_DAYS,
    }
    buys = seen.silences.share < SILENCE_SHARE
    return _changed(chance, CHANCE_LEVEL, (recent <= FALLEN * level) & buys, before, facts)


def value_falling(seen: Seen, before: Flags) -> DetectedSign:
    """Detect a customer who still buys, but with orders clearly below the usual value."""
    chance, recent, usual = order_value_chance(seen.x)
    facts = {"order_value_recent": recent, "order_value_before": usual}
    fell = (recent <= FALLEN * usual) & ~seen.silences.reached
    return _changed(chance, CHANCE_LEVEL, fell, before, facts)


def _silence(seen: Seen, chosen: Flags) -> DetectedSign:
    """Return a sign of silence of the chosen customers."""
    silences = seen.silences
    share = silences.share
    facts = {
        "days_silent": silences.silence,
        "usual_gap_days": column(seen.x, "gap_recent_days"),
        "longest_gap_days": column(seen.x, "gap_longest_days"),
        "lapse_days": silences.days,
        "lapse_share": share,
        "purchase_days": column(seen.x, "purchase_days"),
    }
    silent = chosen & (share >= SILENCE_SHARE) & ~seen.source_stopped
    return DetectedSign(np.asarray(silent), np.nan_to_num(seen.probability), facts)


def _answer(x: Floats, name: str) -> DetectedSign:
    score, change = column(x, f"{name}_score"), column(x, f"{name}_change")
    recent = column(x, f"{name}_recency_days") <= ANSWER_DAYS_MAX
    bad = (score <= SCORE_LOW) | (change <= SCORE_DROP)
    facts = {f"{name}_score": score, f"{name}_change": change}
    return DetectedSign(np.asarray(bad & recent), np.ones(len(x)), facts)


def _changed(
    chance: Floats, begins: float, fell: Flags, before: Flags, facts: dict[str, Floats]
) -> DetectedSign:
    """Return a statistical sign: a large enough change that chance hardly explains."""
    level = np.where(before, CHANCE_ENDS * begins, begins)
    return DetectedSign(fell & (chance <= level), 1.0 - np.nan_to_num(chance, nan=1.0), facts)


DETECTORS: Final[dict[SignCode, Detect]] = {
    "complaint_open": complaint_open,
    "satisfaction_low": satisfaction_low,
    "recommendation_low": recommendation_low,
    "slipping_again": slipping_again,
    "silence_beyond_rhythm": silence_beyond_rhythm,
    "frequency_falling": frequency_falling,
    "interaction_falling": interaction_falling,
    "value_falling": value_falling,
    "new_and_quiet": new_and_quiet,
    "contract_ending": contract_ending,
    "points_expiring": points_expiring,
    "level_lowered": level_lowered,
}
"""Sign code -> its detector. A code keeps its position, because `bits` are stored."""
CODES: Final = tuple(DETECTORS)
_URGENCY: Final = [CODES.index(code) for code in URGENCY]
"""Positions of the codes, most urgent first."""
SILENCES: Final = sum(1 << place for place, code in enumerate(DETECTORS) if code in SILENCE)
"""Bits of the signs about a silence."""


def codes_of(bits: int) -> list[str]:
    """Return the codes of stored bits, most urgent first."""
    return [CODES[place] for place in _URGENCY if bits >> place & 1]


def wait_s(x: Floats) -> Floats:
    """Return the seconds until a sign begins by time alone, float64[n]; inf where none does.

    An open complaint reaches its service time; a contract's notice begins; points come close to
    their expiry, or expire.
    """
    complaint = SERVICE_DAYS - column(x, "complaint_recency_days")
    complaint = np.where(column(x, "complaints_open") > 0, complaint, np.inf)
    notice = column(x, "contract_rest_days") - CONTRACT_DAYS
    expiry = column(x, "points_expiry_days")
    expiry = np.where(expiry > EXPIRY_DAYS, expiry - EXPIRY_DAYS, expiry)
    dates = np.nan_to_num(np.stack([notice, expiry]), nan=np.inf)
    waits = np.concatenate([complaint[None], dates]) * DAY_S
    return np.asarray(np.where(waits > 0, waits, np.inf).min(axis=0))


@dataclass(frozen=True, slots=True)
class Signs:
    """All signs of n customers."""

    found: tuple[DetectedSign, ...]
    """In the order of `CODES`."""
    bits: NDArray[np.int16]
    """int16[n]: bit k is set where sign k holds."""

    def of(self, row: int) -> list[Sign]:
        """Return one customer's signs as they are published, most urgent first."""
        return [
            Sign(
                code=CODES[place],
                strength=float(one.strength[row]),
                facts={
                    name: float(values[row])
                    for name, values in one.facts.items()
                    # NaN means "not known of this customer", and is no valid JSON either.
                    if not np.isnan(values[row])
                },
            )
            for place, one in ((place, self.found[place]) for place in _URGENCY)
            if self.bits[row] >> place & 1
        ]


def detect(seen: Seen, before: NDArray[np.int16]) -> Signs:
    """Detect all signs; `before`: int16[n], the bits of the last assessment, 0 for none."""
    bits = np.zeros(len(seen.x), np.int16)
    found = []
    # The silence itself moves the lifecycle from won back to at risk: a slipping customer keeps
    # counting as won back until a purchase.
    slipping = (before >> CODES.index("slipping_again") & 1).astype(np.bool_)
    seen = replace(seen, lifecycle=np.where(slipping, WON_BACK, seen.lifecycle).astype(np.int8))
    # Memories that have faded to 1e-300 overflow a quotient, and are too small to judge anyway.
    with np.errstate(divide="ignore", invalid="ignore", over="ignore"):
        for place, detector in enumerate(DETECTORS.values()):
            one = detector(seen, (before >> place & 1).astype(np.bool_))
            bits |= (one.holds.astype(np.int16) << place).astype(np.int16)
            found.append(one)
    return Signs(tuple(found), bits)
