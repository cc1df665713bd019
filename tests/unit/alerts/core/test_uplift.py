"""Effects on single customers: learned from planted worlds, and what is decided by them."""

from typing import Any

import msgspec
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from services.alerts.core.consent import Wishes
from services.alerts.core.policy import CustomerState, Raised, decide
from services.alerts.core.policy_document import Policy, read
from services.alerts.core.task import TaskInputs, new_task
from services.alerts.core.uplift.encoding import encoding
from services.alerts.core.uplift.fit import TRIALS_MIN, PlaybookEffect, UpliftFit, fit
from services.alerts.core.uplift.learner import learn
from services.alerts.core.uplift.qini import Scored, advantage, curve, places
from services.alerts.core.uplift.ridge import ridge
from services.alerts.core.uplift.served import ServedEffects, budget_value
from services.alerts.core.uplift.subjects import COLUMNS, aligned
from services.alerts.core.wording.catalogue import sentence
from services.alerts.handlers.measure_effect import picking
from shared.contracts.events import Profile
from shared.contracts.feature_row import NAMES, VERSION, FeatureRow
from shared.kernel.arrays import Floats
from tests.unit.alerts.core.uplift_world import PLAYBOOKS, TRIALS, compared, crowd, row_of, trials
from tests.unit.alerts.samples import assessed, day, sign


def test_learned_effects_save_more_than_the_playbooks_rates() -> None:
    """In nearly all of ten worlds; a hundred, and the gate, are in `tests/training`."""
    worlds = [compared(seed) for seed in range(10)]
    assert sum(world.learned > world.rate for world in worlds) >= 9


def test_a_pseudo_outcome_has_the_effect_as_its_mean() -> None:
    """Whatever the outcome models are: the propensity is known."""
    chance = np.random.default_rng(7)
    people = crowd(chance, 20_000)
    found = learn(trials(chance, people), list(PLAYBOOKS))
    for number, name in enumerate(PLAYBOOKS):
        truth = people.effect[people.playbook == number].mean()
        width = found.effects[name].mean_variance ** 0.5
        assert abs(found.effects[name].mean - truth) < 3 * width
        assert width < 0.03


def test_a_ridge_shrinks_noise_to_the_mean_and_keeps_a_signal() -> None:
    chance = np.random.default_rng(3)
    z = chance.normal(size=(2_000, 10))
    noise = ridge(z, chance.normal(size=2_000))
    signal = ridge(z, z @ np.arange(10.0) + chance.normal(size=2_000))
    assert np.abs(noise.weights).max() < 0.05
    assert signal.weights == pytest.approx(np.arange(10.0), abs=0.5)
    assert np.linalg.eigvalsh(signal.covariance).min() > -1e-12
    constant = ridge(z, np.ones(2_000))
    assert (constant.mean, np.abs(constant.weights).max()) == (1.0, 0.0)


def test_few_rows_teach_next_to_nothing() -> None:
    """With more columns than rows the residuals are zero, and still nothing is believed."""
    chance = np.random.default_rng(4)
    z, y = chance.normal(size=(12, 40)), chance.normal(size=12)
    few = ridge(z, y)
    assert np.abs(few.predict(z) - few.mean).max() < np.abs(y - y.mean()).max()
    assert few.mean_variance > 0


@given(
    arrays(
        np.float64,
        st.tuples(st.integers(1, 30), st.just(3)),
        elements=st.floats(-1e18, 1e18) | st.just(float("nan")),
    )
)
def test_every_encoded_value_is_finite_and_bounded(features: Floats) -> None:
    made = encoding(features)
    z = made(features)
    assert np.isfinite(z).all()
    stranger = made(np.array([[1e300, -1e300, np.nan]]))
    assert np.isfinite(stranger).all()
    assert msgspec.json.decode(msgspec.json.encode(made), type=type(made)) == made


@given(arrays(np.float64, st.integers(1, 40), elements=st.integers(-3, 3).map(float)))
def test_places_are_even_and_ties_share_one(score: Floats) -> None:
    place = places(score)
    assert ((place > 0) & (place < 1)).all()
    assert place.mean() == pytest.approx(0.5)
    assert all((place[i] == place[j]) == (score[i] == score[j]) for i in range(3 % len(score))
               for j in range(len(score)))  # fmt: skip


def test_a_qini_curve_begins_at_zero_and_ends_at_the_total() -> None:
    phi = np.array([1.0, 0.5, -0.5, 0.0])
    best, random = curve(phi, places(phi)), curve(phi, places(np.zeros(4)))
    assert best.gain[0] == 0.0
    assert best.gain[-1] == pytest.approx(0.25)
    assert best.gain[10] == pytest.approx(1.5 / 4)
    assert random.gain == pytest.approx(np.linspace(0, 0.25, 21).tolist())
    assert best.coefficient > random.coefficient == 0.0
    gap, interval = advantage(Scored(phi, places(phi), places(phi)), picking())
    assert (gap, *interval) == (0.0, 0.0, 0.0)


def test_a_row_of_another_version_is_read_as_far_as_it_is_known() -> None:
    assert len(NAMES[VERSION]) == len(COLUMNS) == len(set(COLUMNS))
    assert aligned(VERSION, [1.0])[0] == 1.0
    assert np.isnan(aligned(VERSION, [1.0])[1:]).all()
    assert np.isnan(aligned(999, [1.0] * 64)).all()


def test_with_few_trials_only_the_rates_are_known() -> None:
    chance = np.random.default_rng(5)
    few = fit(trials(chance, crowd(chance, TRIALS_MIN - 1)), picking())
    assert (few.decision, few.trials, few.gate) == ("not_enough_trials", TRIALS_MIN - 1, None)
    assert {p.playbook for p in few.playbooks} == set(PLAYBOOKS)
    none = fit(trials(chance, crowd(chance, 0)), picking())
    assert (none.decision, none.newest, none.playbooks) == ("not_enough_trials", None, [])
    effects = ServedEffects(1, none)
    assert effects.of(row_of(crowd(chance, 1).features[0]), "call") is None


def test_the_same_trials_give_the_same_fit_and_it_can_be_stored() -> None:
    made = [fit(trials(c, crowd(c, 4_000)), picking()) for c in map(np.random.default_rng, (6, 6))]
    assert made[0] == made[1]
    assert msgspec.json.decode(msgspec.json.encode(made[0]), type=UpliftFit) == made[0]
    assert made[0].gate is not None


def test_a_harmful_playbook_raises_no_task() -> None:
    """Harm planted on all customers of all playbooks: nearly none of them gets a task."""
    chance = np.random.default_rng(8)
    history = trials(chance, crowd(chance, TRIALS, shift=-0.3))
    effects, people = ServedEffects(1, fit(history, picking())), crowd(chance, 200, shift=-0.3)
    policy = _policy(*PLAYBOOKS)
    raised = [
        decide(
            CustomerState("c"),
            assessed(1, 0, feature_row=row_of(features)),
            _policy(PLAYBOOKS[playbook]),
            effects,
        ).why
        for features, playbook in zip(people.features, people.playbook, strict=True)
    ]
    assert raised.count("no_effect") >= 190
    assert set(raised) <= {"no_effect", "raised"}
    assert decide(CustomerState("c"), assessed(1, 0), policy).why == "raised"


def _policy(*playbooks: str, **more: Any) -> Policy:
    books = [{"id": name, "channels": ["phone"], "save_rate": 0.2} for name in playbooks]
    return read({"name": "p", "playbooks": books, **more})


def known(low: float, high: float, *, weights: bool = False, typical: float = 0.1) -> ServedEffects:
    """Return effects of the playbook `call`: `low` to `high`, in its middle.

    `weights`: each customer's own, higher for those with a long recency.
    """
    middle = (low + high) / 2
    columns = np.stack([np.linspace(0, 100, 50)] + [np.ones(50)] * (len(COLUMNS) - 1), axis=1)
    made = encoding(columns)
    size = made(columns).shape[1]
    learned: dict[str, Any] = {
        "mean": middle, "mean_variance": ((high - low) / 4) ** 2, "centre": [0.0] * size,
        "weights": [0.02] + [0.0] * (size - 1), "covariance": np.zeros((size, size)).tolist(),
    }  # fmt: skip
    effect = PlaybookEffect(
        playbook="call", subjects=5_000, held_out=1_000, rate=middle, low=low, high=high,
        **(learned if weights else {}),
    )  # fmt: skip
    return ServedEffects(
        3,
        UpliftFit(
            decision="serves" if weights else "not_better", trials=5_000, newest=day(0),
            encoding=made if weights else None, playbooks=[effect], typical=typical,
        ),
    )  # fmt: skip


def row(recency: float) -> FeatureRow:
    return FeatureRow(VERSION, [recency, *[1.0] * (len(COLUMNS) - 1)])


def test_what_clearly_does_not_help_is_withheld_and_shown() -> None:
    message = assessed(1, 0, feature_row=row(50.0))
    decision = decide(CustomerState("c"), message, _policy("call"), known(-0.2, -0.01))
    assert (decision.why, decision.steps) == ("no_effect", ())
    assert decision.withheld is not None
    assert (decision.withheld.cause, decision.withheld.playbook) == (
        "silence_beyond_rhythm", "call",
    )  # fmt: skip
    assert decision.withheld.effect.own is False
    # Unclear, or of another playbook: the task is raised.
    for policy, effects in (
        (_policy("call"), known(-0.2, 0.01)),
        (_policy("mail"), known(-0.2, -0.01)),
    ):
        decision = decide(CustomerState("c"), message, policy, effects)
        assert (decision.why, decision.withheld) == ("raised", None)


def test_a_statement_of_the_customer_is_answered_whatever_was_measured() -> None:
    harm = known(-0.2, -0.01)
    complaint = assessed(1, 0, signs=[sign("complaint_open")], feature_row=row(50.0))
    assert decide(CustomerState("c"), complaint, _policy("call"), harm).why == "raised"
    rule = [{"name": "all", "when": {"bands": ["high"]}, "then": "raise"}]
    asked = assessed(1, 0, feature_row=row(50.0))
    assert decide(CustomerState("c"), asked, _policy("call", rules=rule), harm).why == "raised"


def test_the_budget_ranks_by_value_and_effect() -> None:
    """The same value: whom a task helps is within the budget, and the other is not."""
    effects = known(0.05, 0.15, weights=True)
    policy = _policy("call", budget={"expected_value_min": 100.0})
    helped, other = (
        assessed(1, 0, feature_row=row(recency), expected_value=100.0) for recency in (95.0, 5.0)
    )
    assert decide(CustomerState("c"), helped, policy, effects).why == "raised"
    assert decide(CustomerState("c"), other, policy, effects).why == "budget"
    assert decide(CustomerState("c"), other, policy).why == "raised"
    book = policy.playbooks[0]
    assert budget_value(helped, book, None) == 100.0
    assert budget_value(helped, book, known(0.05, 0.15)) == 100.0
    assert budget_value(helped, book, known(0.05, 0.15, weights=True, typical=0.0)) == 100.0


@pytest.mark.parametrize("feature_row", [None, FeatureRow(999, [1.0]), FeatureRow(VERSION, [])])
def test_without_known_features_the_playbooks_rate_serves(feature_row: FeatureRow | None) -> None:
    effect = known(0.05, 0.15, weights=True).of(feature_row, "call")
    assert effect is not None
    assert (effect.value, effect.low, effect.high, effect.own) == (0.1, 0.05, 0.15, False)


def test_the_owner_reads_that_a_call_helps() -> None:
    policy, state = _policy("call"), CustomerState("c-1")
    message = assessed(1, 0, feature_row=row(95.0), expected_value=100.0)
    effects = known(0.05, 0.15, weights=True)
    (raised,) = decide(state, message, policy, effects).steps
    assert isinstance(raised, Raised)
    task = new_task(
        raised, message, Wishes(Profile()), TaskInputs(policy, 1, day(0), effects=effects)
    )
    effect = effects.of(message.feature_row, "call")
    assert effect is not None
    assert effect.low > 0
    assert task.worth == pytest.approx(100.0 * effect.value)
    reason = task.reasons[-1]
    assert reason.code == "responds_to_call"
    assert sentence(reason, "en", "USD").startswith(
        "Customers like this came back more often after a call than without: about "
    )
    assert "电话" in sentence(reason, "zh-CN", "USD")
    # Without an effect of the customer's own, nothing is said, and the worth is as before.
    plain = new_task(raised, message, Wishes(Profile()), TaskInputs(policy, 1, day(0)))
    assert plain.worth == message.value_at_risk * 0.2
    assert [r.code for r in plain.reasons] == [r.code for r in task.reasons[:-1]]
