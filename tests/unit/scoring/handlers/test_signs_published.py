"""Signs of leaving from the first event to the risk topic, by the real handlers, on both clocks."""

import itertools
from collections.abc import AsyncIterator
from dataclasses import dataclass, field, replace
from datetime import timedelta

import msgspec
import pytest
from scipy.special import betainc

from services.scoring.core.features.state import FEATURE_SET
from services.scoring.core.risk.lapse import LapseClock
from services.scoring.core.risk.regularity import OWN_K_MAX
from services.scoring.core.signs.detectors import CHANCE_LEVEL, SERVICE_DAYS, SILENCE_SHARE
from services.scoring.core.value.classify import Valuation
from services.scoring.handlers.replay_assessments import replay
from services.scoring.model.rule_model import VERSION, RuleModel
from services.scoring.ports import PublishedAssessment
from shared.contracts.activity import ActivityData
from shared.contracts.risk import DECODER, ENCODER, RiskAssessed, Sign
from tests.fakes import activity
from tests.fakes.activity import day, feedback
from tests.fakes.scoring_rows import AssessmentRow, assessed
from tests.fakes.scoring_store import MemorySender, MemoryStore, Tables
from tests.fakes.scoring_worker import ScoringWorker
from tests.unit.scoring.core.detector_inputs import bits

STEP_DAYS = 0.25
"""The days between two ticks of the replay, and between two sweeps of the live worker."""
LENGTH = 28.0
"""The lapse length of a weekly buyer: four times seven days, which is the minimum as well."""


@dataclass(slots=True)
class Story:
    """The events of one shop's customers, in the order of time."""

    replay: bool
    store: MemoryStore = field(default_factory=MemoryStore)
    scoring: ScoringWorker = field(init=False)
    now: float = 0.0
    """The time in days, as in `activity.day`."""
    names: int = 0

    def __post_init__(self) -> None:
        self.scoring = ScoringWorker(self.store, MemorySender(), replay=self.replay)
        self.scoring.clock.at = day(0)

    async def until(self, at: float) -> None:
        """Advance time to this day."""
        while self.now < at:
            await self._turn(min(self.now + STEP_DAYS, at))

    async def _turn(self, at: float) -> None:
        self.now = at
        self.scoring.clock.at = day(at)
        if self.replay:
            self.scoring.log.append(0, activity.tick(day(at)))
            await self.scoring.drain()
        else:
            await self.scoring.drain()
            await self.scoring.idle(1.0)

    async def buys(self, customer: str, *days: float, amount: float = 10.0) -> None:
        """Add purchases, each at its time."""
        for at in days:
            data = ActivityData(amount=amount)
            await self.receives(at, activity.event(self._name(), customer, day(at), data=data))

    async def says(self, customer: str, at: float, kind: str, score: float | None = None) -> None:
        """Add feedback."""
        await self.receives(at, feedback(self._name(), customer, day(at), kind, score))

    async def receives(self, at: float, value: bytes) -> None:
        """Add a record that arrives on this day."""
        while self.now + STEP_DAYS < at:
            await self._turn(self.now + STEP_DAYS)
        self.scoring.log.append(0, value)
        await self._turn(at)

    def _name(self) -> str:
        self.names += 1
        return f"e{self.names}"

    @property
    def tables(self) -> Tables:
        """The stored tables."""
        return self.store.tables

    def stored(self, customer: str) -> AssessmentRow:
        """Return the current assessment."""
        return self.tables.assessment[customer]

    def told(self, customer: str) -> list[RiskAssessed]:
        """Return what was published about the customer, in order."""
        return [one for one in self.scoring.told if one.customer_id == customer]


@pytest.fixture(params=[False, True], ids=["live", "replay"])
def story(request: pytest.FixtureRequest) -> Story:
    """Provide a story without events."""
    return Story(request.param)


def codes(one: RiskAssessed) -> list[str]:
    """Return the codes of the assessment's signs."""
    return [sign.code for sign in one.signs]


def since(told: list[RiskAssessed], at: float) -> list[RiskAssessed]:
    """Return what was published from this day on."""
    return [one for one in told if one.assessed_at >= day(at)]


def _lapse_of_a_weekly_buyer(silent: float) -> float:
    """Return the lapse probability of the rule, computed by hand.

    There are ten repeats in 70 days, so many days of silence, and the rest of 28 days ahead. Her
    gaps do not vary at all: she has the most phases that one customer is taken to have.
    """
    phases = OWN_K_MAX * (0.5 + 10)
    now, later = (
        15 * betainc(phases, OWN_K_MAX, (28 + 70) / (28 + 70 + waited))
        for waited in (silent, LENGTH)
    )
    return float((0.25 + later) / (0.25 + now))


async def test_a_weekly_buyer_stops(story: Story) -> None:
    """Silent from day 70 on: no message for 0.4 of the lapse length, a sign before 0.55 of it.

    The lapse is published when it is reached.
    """
    await story.buys("ann", *range(0, 71, 7))
    await story.until(105)
    told = story.told("ann")
    for one in since(told, 28):  # five purchases: a rhythm of her own
        assert one.lapse is not None
        assert one.lapse.own_rhythm
        assert (one.lapse.days, one.lapse.usual_gap_days) == (LENGTH, 7.0)
    silent = [one for one in told if "silence_beyond_rhythm" in codes(one)]
    first = silent[0]
    assert first.days_silent is not None
    assert first.lapse is not None
    assert SILENCE_SHARE * LENGTH <= first.days_silent <= 0.55 * LENGTH
    assert first.lapse.probability == pytest.approx(_lapse_of_a_weekly_buyer(first.days_silent))
    facts = {
        "days_silent": first.days_silent, "usual_gap_days": 7.0, "longest_gap_days": 7.0,
        "lapse_days": LENGTH, "lapse_share": first.days_silent / LENGTH, "purchase_days": 11.0,
    }  # fmt: skip
    code = "silence_beyond_rhythm"
    wanted = [Sign(code=code, strength=first.lapse.probability, facts=facts)]
    assert first.signs == wanted
    assert first.reasons, "why the score is what it is stands beside it"
    # From then on every assessment is published, at most a twentieth of the length apart.
    ebbing = [one for one in silent if one.assessed_at < day(70 + LENGTH)]
    assert silent[: len(ebbing) + 1] == since(told, 70)[-len(silent) :][: len(ebbing) + 1]
    for early, late in zip(ebbing, silent[1:], strict=False):
        assert late.assessed_at - early.assessed_at <= timedelta(days=0.05 * LENGTH + STEP_DAYS)
    # Published again, once, when the lapse is reached.
    [gone] = [one for one in silent if (one.days_silent or 0) >= LENGTH]
    assert (gone.days_silent or 0) < 1.05 * LENGTH + STEP_DAYS
    assert gone.lapse is not None
    assert (gone.lapse.probability, gone.band) == (1.0, "critical")
    assert gone.standing is not None
    assert gone.standing.behaviour == "churned"


async def test_days_on_which_the_company_was_closed_are_no_silence(story: Story) -> None:
    """Closed for the ten days from day 75 on: the sign comes ten days later, with the reason.

    What was published can be computed again from its features.
    """
    closed = day(75).timestamp(), day(85).timestamp()
    story.scoring.valuation = Valuation(clock=LapseClock(closures=(closed,)))
    await story.buys("ann", *range(0, 71, 7))
    await story.until(96)
    silent = [one for one in story.told("ann") if one.signs]
    first = silent[0]
    assert day(70 + 10 + SILENCE_SHARE * LENGTH) <= first.assessed_at
    assert first.assessed_at <= day(70 + 10 + 0.55 * LENGTH + STEP_DAYS)
    counted = (first.assessed_at - day(80)) / timedelta(days=1)
    assert first.days_silent == pytest.approx(counted)
    assert first.signs[0].facts["days_silent"] == first.days_silent
    assert first.lapse is not None
    assert first.lapse.probability < 1.0
    told = [
        one
        for one in itertools.chain.from_iterable(map(assessed, story.scoring.done))
        if one.message is not None
    ]
    made = [
        PublishedAssessment(
            one.customer, one.revision, one.probability, VERSION, FEATURE_SET, 28, one.features,
            one.horizons, one.message or b"",
        )
        for one in told
    ]  # fmt: skip
    found = await replay(chunks(made), lambda _: RuleModel(28))
    assert (found.equal, found.differ) == (len(told), 0)
    others = [replace(one, message=_another_lapse(one.message)) for one in made]
    found = await replay(chunks(others), lambda _: RuleModel(28))
    assert (found.equal, found.differ) == (0, len(told))


async def chunks(*found: list[PublishedAssessment]) -> AsyncIterator[list[PublishedAssessment]]:
    """Return the assessments in the form of the history."""
    for chunk in found:
        yield chunk


def _another_lapse(message: bytes) -> bytes:
    risk = DECODER.decode(message)
    assert risk.lapse is not None
    lapse = msgspec.structs.replace(risk.lapse, probability=risk.lapse.probability - 1e-9)
    return ENCODER.encode(msgspec.structs.replace(risk, lapse=lapse))


async def test_an_ordinary_silence_is_low_whatever_the_probability(story: Story) -> None:
    """Bought once: the rule gives 0.7 for the next four weeks, which are no fifth of 180 days."""
    await story.buys("eve", 0)
    await story.until(71)
    told = story.told("eve")
    assert {one.band for one in told} == {"low"}
    assert all(one.probability > 0.3 and not one.signs for one in told)
    await story.until(100)
    assert codes(story.told("eve")[-1]) == ["new_and_quiet"]
    assert story.told("eve")[-1].band != "low"


async def test_a_purchase_ends_the_silence_at_once(story: Story) -> None:
    await story.buys("ann", *range(0, 71, 7))
    await story.until(88)
    assert codes(story.told("ann")[-1]) == ["silence_beyond_rhythm"]
    await story.buys("ann", 88.5)
    back = story.told("ann")[-1]
    assert back.assessed_at == day(88.5)
    assert "silence_beyond_rhythm" not in codes(back)
    assert back.band == "low"
    # No further message until something changes.
    await story.until(89.5)
    assert story.told("ann")[-1] == back


async def test_a_late_purchase_that_takes_back_a_lapse_is_published_at_once(story: Story) -> None:
    """Gone at day 98; half a day later a purchase of day 72 arrives: 26.5 days are no lapse."""
    await story.buys("ann", *range(0, 71, 7))
    await story.until(98.25)
    gone = story.told("ann")[-1]
    assert (gone.days_silent or 0) >= LENGTH
    late = activity.event("late", "ann", day(72), data=ActivityData(amount=10.0))
    await story.receives(98.5, late)
    found = story.told("ann")[-1]
    assert (found.assessed_at, found.days_silent) == (day(98.5), 26.5)
    assert (found.band, codes(found)) == (gone.band, codes(gone))


async def test_who_came_back_and_stops_again_is_slipping(story: Story) -> None:
    """Gone from day 98 on, back at day 105.

    Eleven gaps of 7 and 35 days: a lapse takes 38.2.
    """
    await story.buys("ann", *range(0, 71, 7), 105)
    standing = story.told("ann")[-1].standing
    assert standing is not None
    assert standing.lifecycle == "won_back"
    length = 4 * (10 * 7 + 35) / 11
    await story.until(106 + 0.6 * length)
    slipping = [one for one in story.told("ann") if "slipping_again" in codes(one)]
    share = slipping[0].signs[0].facts["lapse_share"]
    assert SILENCE_SHARE <= share <= 0.55 + STEP_DAYS / length
    assert all("silence_beyond_rhythm" not in codes(one) for one in since(story.told("ann"), 105))
    assert slipping[0].lapse is not None
    assert slipping[0].lapse.days == pytest.approx(length)


async def test_a_complaint_is_a_sign_once_it_has_waited(story: Story) -> None:
    """Opened at noon of day 72; a timer publishes it a day later, without any further record."""
    await story.buys("ann", *range(0, 71, 7))
    await story.says("ann", 72, "complaint_opened")
    await story.until(72 + SERVICE_DAYS - STEP_DAYS)
    assert all(not one.signs for one in story.told("ann"))
    await story.until(72 + SERVICE_DAYS)
    found = story.told("ann")[-1]
    facts = {"complaints_open": 1.0, "days_since_complaint": SERVICE_DAYS}
    assert found.signs == [Sign(code="complaint_open", strength=1.0, facts=facts)]
    assert found.assessed_at == day(72 + SERVICE_DAYS)
    assert found.band == "low", "it is told whatever the band"
    # Once only, until it is closed; the end is published, too.
    await story.until(74)
    assert story.told("ann")[-1] == found
    await story.says("ann", 74.5, "complaint_closed")
    ended = story.told("ann")[-1]
    assert (ended.assessed_at, ended.signs) == (day(74.5), [])


async def test_a_complaint_that_is_resolved_in_time_is_no_sign(story: Story) -> None:
    await story.buys("ann", *range(0, 71, 7))
    await story.says("ann", 72, "complaint_opened")
    await story.says("ann", 72 + SERVICE_DAYS / 2, "complaint_closed")
    await story.until(76)
    assert all(not one.signs for one in story.told("ann"))


async def test_a_vip_s_complaint_is_a_sign_at_once(story: Story) -> None:
    story.tables.override["ann"] = ("vip", day(500))
    await story.buys("ann", *range(0, 71, 7))
    await story.says("ann", 72, "complaint_opened")
    found = story.told("ann")[-1]
    facts = {"complaints_open": 1.0, "days_since_complaint": 0.0}
    assert found.signs == [Sign(code="complaint_open", strength=1.0, facts=facts)]
    assert found.assessed_at == day(72)


async def test_a_survey_falls_from_nine_to_one(story: Story) -> None:
    """The sign is published with that answer, and its end with the next good one."""
    await story.buys("ann", *range(0, 71, 7))
    await story.says("ann", 71, "survey", 9.0)
    assert story.told("ann")[-1].signs == []
    await story.says("ann", 72, "survey", 1.0)
    found = story.told("ann")[-1]
    facts = {"survey_score": 1.0, "survey_change": -8.0}
    assert found.signs == [Sign(code="satisfaction_low", strength=1.0, facts=facts)]
    assert (found.assessed_at, found.band) == (day(72), "low")
    await story.says("ann", 73, "survey", 8.0)
    ended = story.told("ann")[-1]
    assert (ended.assessed_at, ended.signs) == (day(73), [])


async def test_a_recommendation_intent_that_is_low(story: Story) -> None:
    await story.buys("ann", *range(0, 71, 7))
    await story.says("ann", 72, "recommendation", 3.0)
    facts = {"recommendation_score": 3.0}
    wanted = [Sign(code="recommendation_low", strength=1.0, facts=facts)]
    assert story.told("ann")[-1].signs == wanted


async def test_orders_that_become_small(story: Story) -> None:
    """Every third day for 100, then for 20: published after some orders, while she still buys."""
    await story.buys("ann", *range(0, 90, 3), amount=100.0)
    assert all(not one.signs for one in story.told("ann"))
    await story.buys("ann", *range(90, 150, 3), amount=20.0)
    found = next(one for one in story.told("ann") if one.signs)
    assert codes(found) == ["value_falling"]
    assert found.signs[0].strength >= 1 - CHANCE_LEVEL
    assert found.assessed_at < day(150)


async def test_a_prospect_has_no_signs_to_tell(story: Story) -> None:
    """A customer who never bought is not assessed, whatever their feedback."""
    await story.says("bob", 1, "survey", 1.0)
    await story.says("bob", 2, "complaint_opened")
    await story.until(10)
    assert story.told("bob") == []


async def test_signs_that_were_never_published_are_published_once(story: Story) -> None:
    """The last published message had no signs, as after the upgrade that introduced them."""
    await story.buys("ann", *range(0, 71, 7))
    await story.says("ann", 72, "survey", 1.0)
    await story.until(73)
    stored = story.stored("ann")
    assert stored.published_signs == bits("satisfaction_low")
    story.tables.assessment["ann"] = replace(stored, published_signs=0)
    published = len(story.told("ann"))
    await story.until(81)  # no assessment has been due yet
    assert len(story.told("ann")) == published
    await story.until(82)
    assert len(story.told("ann")) == published + 1
    assert codes(story.told("ann")[-1]) == ["satisfaction_low"]
    assert story.stored("ann").published_signs == bits("satisfaction_low")
    await story.until(82.25)
    assert len(story.told("ann")) == published + 1
