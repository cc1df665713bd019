"""The budget of a backtest: finds the level for a number of warnings on the time before the window.

Does what `policies tune` does on stored assessments, but on a walk before the window. The model for
it is trained on the time before that walk.
"""

from collections import defaultdict
from datetime import UTC, datetime
from typing import Final

import numpy as np
from msgspec.structs import replace

from deploy.backtest.learning import chosen
from deploy.backtest.walk import Reached, nothing, purchases, setup_of, walk
from services.alerts.core.budget import tuned as with_level
from services.alerts.core.budget_tuning import TuningResult, find
from services.alerts.core.policy_document import Budget, Policy
from services.scoring.core.features.events import DAY_S
from services.scoring.core.features.stable_hash import stable_hash
from services.scoring.settings import ScoringSettings
from services.scoring.training.data.event_table import EventTable
from shared.contracts.risk import DECODER, RiskAssessed
from shared.kernel.errors import Invalid

TUNED_DAYS: Final = 91
"""Days walked before the window: a quarter, so that one busy month does not set the level."""
TUNED_DAYS_MIN: Final = 28
"""The least number of days, where the history is too short for a quarter."""
CUSTOMERS_MAX: Final = 20_000
"""Customers with kept assessments, about 50 KB each: enough to find the level to a few per cent."""
Histories = dict[str, list[RiskAssessed]]


def begin_of(table: EventTable, begin: float) -> float:
    """Returns the tuning walk's start, Unix seconds UTC: at most half the time before `begin`."""
    known = (begin - float(np.floor(table.events.time[0] / DAY_S) * DAY_S)) / DAY_S
    days = min(TUNED_DAYS, int(known / 2))
    if days < TUNED_DAYS_MIN:
        raise Invalid(
            "--warnings-per-100",
            f"{known:.0f} days lie before the window, and tuning needs {2 * TUNED_DAYS_MIN}",
        )
    return begin - days * DAY_S


def tuned(
    table: EventTable,
    begin: float,
    policy: Policy,
    warnings_per_100: float,
    settings: ScoringSettings,
    *,
    reached: Reached = nothing,
) -> Policy:
    """Returns the policy with the level that gave so many warnings.

    `warnings_per_100`: per 100 established customers and month.

    Nothing at or after `begin` (Unix seconds UTC) is used. Raises Invalid where too little lies
    before it.
    """
    start = begin_of(table, begin)
    predictor = chosen(table, start, settings).predictor
    part = _part(table)
    histories: Histories = defaultdict(list)

    def heard(encoded: bytes) -> None:
        message = DECODER.decode(encoded)
        if stable_hash(message.customer_id, "budget") < part:
            histories[message.customer_id].append(message)

    free = replace(policy, budget=Budget())
    walk(table, start, begin, setup_of(settings, predictor, free), reached=reached, heard=heard)
    found, end = TuningResult(), datetime.fromtimestamp(begin, UTC)
    bought: defaultdict[str, list[datetime]] = defaultdict(list)
    for customer, at in purchases(table, start, begin):
        if customer in histories:
            bought[customer].append(datetime.fromtimestamp(at, UTC))
    find(found, free, histories, bought, {}, end)
    history = found.history((begin - start) / DAY_S)
    wanted = history.warnings_for(warnings_per_100)
    return with_level(history, policy, wanted, per_100=warnings_per_100, per_owner=None, at=end)


def _part(table: EventTable) -> int:
    """Returns the bound on a customer's hash below which the customer is in the sample."""
    share = min(1.0, CUSTOMERS_MAX / len(table.customers))
    return int(share * 2**64)
