"""The cores of both services never describe an active customer as gone."""

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from deploy.backtest.scoring import Scoring
from services.alerts.core.consent import Wishes
from services.alerts.core.policy import CustomerState, Policy, Raised, decide
from services.alerts.core.policy_document import read
from services.alerts.core.signs import CHURNED
from services.alerts.core.task import TaskInputs, new_task
from services.scoring.core.features.events import DAY_S
from services.scoring.core.value.classify import Valuation
from services.scoring.handlers.assess_customers import Assessor
from services.scoring.model.rule_model import RuleModel
from services.scoring.training.data.event_table import EventBatch, from_columns
from shared.contracts.events import Profile
from shared.contracts.risk import DECODER, RiskAssessed
from shared.contracts.signs import URGENCY
from tests.fakes.scoring_worker import HORIZON_DAYS, HORIZONS_DAYS, RISK
from tests.unit.alerts.samples import day
from tests.unit.scoring.core.histories import columns

ASSESSOR = Assessor(RISK, (0.25, 0.5, 0.75), 3, "USD", HORIZONS_DAYS)
ANY_WIN_BACK = {"within_days": 91, "tiers": [], "grades": []}
EAGER = read(
    {
        "name": "test",
        "win_back": ANY_WIN_BACK,
        "rules": [{"name": "all", "when": {}, "then": "raise"}],
    }
)
"""A policy with a rule that always raises."""
LATE = read(
    {
        "name": "test",
        "win_back": ANY_WIN_BACK,
        "signs": {code: {"enabled": False} for code in URGENCY},
    }
)
"""A policy with all signs disabled: every task is a win-back."""


def reported(gap: float, purchases: int, silent: int) -> list[RiskAssessed]:
    """Return what scoring publishes of a customer during the days of silence.

    The customer bought so many times at this gap.
    """
    times = day(0).timestamp() + np.arange(purchases) * gap * DAY_S
    batch = EventBatch(["c-1"] * purchases, columns(time=times, amount=np.full(purchases, 20.0)))
    end = times[-1] + silent * DAY_S
    scored = Scoring(
        from_columns([batch], end + DAY_S), times[0] + DAY_S, RuleModel(HORIZON_DAYS), ASSESSOR,
        Valuation(),
    )  # fmt: skip
    ticks = np.arange(times[0] + 2 * DAY_S, end + 1, DAY_S)
    return [DECODER.decode(one) for at in ticks.tolist() for one in scored.tick(at)]


def causes(messages: list[RiskAssessed], policy: Policy) -> list[tuple[RiskAssessed, set[str]]]:
    """Return, of each message that raises a task, all codes that its owner reads."""
    state, found = CustomerState("c-1"), []
    for message in messages:
        decision = decide(state, message, policy)
        state = decision.state
        for step in decision.steps:
            if isinstance(step, Raised):
                task = new_task(step, message, Wishes(Profile()), TaskInputs(policy, 1, day(0)))
                found.append((message, {task.cause, *task.causes, *(r.code for r in task.reasons)}))
    return found


def test_who_buys_every_33_days_and_is_silent_for_48_has_not_left() -> None:
    """A mature, active customer with a lapse length of about four usual gaps."""
    messages = reported(33, 14, 48)
    last = messages[-1]
    assert last.standing is not None
    assert (last.standing.behaviour, last.standing.lifecycle) == ("active", "mature")
    assert last.lapse is not None
    assert last.lapse.days > 48
    for policy in (EAGER, LATE):
        assert not any(CHURNED in codes for _, codes in causes(messages, policy))


def test_who_is_silent_for_the_lapse_length_has_left() -> None:
    """The text states that a customer has left once it is true."""
    assert any(CHURNED in codes for _, codes in causes(reported(33, 14, 150), LATE))


@settings(max_examples=25, deadline=None)
@given(gap=st.integers(5, 60), purchases=st.integers(2, 12), silent=st.integers(1, 200))
def test_has_left_and_active_are_never_said_of_the_same_customer(
    gap: int, purchases: int, silent: int
) -> None:
    messages = reported(gap, purchases, silent)
    for message, codes in (*causes(messages, EAGER), *causes(messages, LATE)):
        assert message.standing is not None
        if CHURNED in codes:
            assert message.standing.behaviour == "churned"
