"""A customer's classification, published with the risk and on the changes topic, in one batch."""

from datetime import datetime
from typing import Any

import numpy as np
import pytest

from services.scoring.core.features.compute import features
from services.scoring.core.features.decode import category_of
from services.scoring.core.features.fold import fold
from services.scoring.core.features.state import empty
from services.scoring.core.risk.lapse import LapseClock
from services.scoring.core.segments.rules import NO_RULES, SegmentRules, rule
from services.scoring.core.value.affinity import Affinity
from services.scoring.core.value.base import measure
from services.scoring.core.value.classify import Valuation
from services.scoring.core.value.policy import ValuePolicy
from shared.contracts.activity import ActivityData
from shared.contracts.changes import CustomerChanged
from shared.kernel.errors import Transient
from tests.fakes import activity
from tests.fakes.activity import day
from tests.fakes.scoring_store import MemorySender, MemoryStore
from tests.fakes.scoring_worker import ScoringWorker
from tests.unit.scoring.core.histories import columns

OFTEN = "purchases >= 2"


def worker(*rules: Any, revision: int = 1, replay: bool = False) -> ScoringWorker:
    """Return scoring in memory with these segments in force."""
    scoring = ScoringWorker(MemoryStore(), MemorySender(), replay=replay)
    scoring.clock.at = day(1)
    scoring.valuation = Valuation(rules=SegmentRules(revision, rules))
    return scoring


async def buys(scoring: ScoringWorker, customer: str, at: float, name: str | None = None) -> None:
    """Append a purchase of 10 and process it at once."""
    value = activity.event(name or f"{customer}-{at}", customer, day(at))
    scoring.log.append(0, value)
    scoring.clock.at = max(scoring.clock.at, day(at))
    await scoring.drain()


async def passes(scoring: ScoringWorker, until: float) -> None:
    """Let time pass without records; the sweep assesses every day."""
    while scoring.clock.at < day(until):
        scoring.clock.at = datetime.fromtimestamp(
            scoring.clock.at.timestamp() + 86_400, scoring.clock.at.tzinfo
        )
        await scoring.idle(1.0)


def shown(scoring: ScoringWorker) -> list[tuple[str, str | None, str | None, bool]]:
    """Return kind, segment or new value, action and silence of each published change.

    Checks the sequence numbers as well.
    """
    by_customer: dict[str, list[CustomerChanged]] = {}
    for one in scoring.changed:
        by_customer.setdefault(one.customer_id, []).append(one)
    for told in by_customer.values():
        numbers = [one.sequence for one in told]
        assert numbers == sorted(set(numbers)), "a repetition, or out of order"
    return [(c.kind, c.segment or c.after, c.action, c.silent) for c in scoring.changed]


def moves(scoring: ScoringWorker) -> list[tuple[str, str | None, str | None, bool]]:
    """Return the published changes of segments."""
    return [one for one in shown(scoring) if one[0].startswith("segment")]


async def test_R18_entering_and_leaving_a_segment_is_published_once_with_its_action() -> None:
    scoring = worker(rule("loyal", 3, 1, OFTEN + " && recency_days < 30.0", action="thanks"))
    await buys(scoring, "ann", 0)
    assert moves(scoring) == []
    await buys(scoring, "ann", 1)
    assert moves(scoring) == [("segment_entered", "loyal", "thanks", False)]
    assert scoring.changed[0].segment_version == 3
    await buys(scoring, "ann", 2)
    assert len(moves(scoring)) == 1
    await passes(scoring, 60)
    assert moves(scoring)[1:] == [("segment_left", "loyal", None, False)]


async def test_R18_a_turn_that_is_done_again_has_no_second_effect() -> None:
    scoring = worker(rule("loyal", 1, 1, OFTEN, action="thanks"))
    await buys(scoring, "ann", 0)
    scoring.sender.fails = 1  # type: ignore[attr-defined] # the memory sender's
    scoring.log.append(0, activity.event("again", "ann", day(1)))
    with pytest.raises(Transient):
        await scoring.turn()
    tables = scoring.store.tables  # type: ignore[attr-defined]
    assert [c.segment for c in tables.standing_change if c.segment] == ["loyal"]
    waiting = [m for m in tables.outbox.values() if m.topic == "changes"]
    assert len(waiting) == 1, "the change waits in the outbox, once"
    await scoring.claim(0)
    scoring.claims = {tp: tables.partition[tp] for tp in scoring.claims}
    await scoring.drain()
    assert [c.segment for c in tables.standing_change if c.segment] == ["loyal"]


async def test_a_saved_definition_finds_those_inside_silently_unless_it_has_an_action() -> None:
    scoring = worker()
    scoring.valuation = Valuation(rules=NO_RULES)
    await buys(scoring, "ann", 0)
    await buys(scoring, "ann", 1)
    quiet = rule("quiet", 1, 1, OFTEN, action="thanks")
    loud = rule("loud", 1, 2, OFTEN, action="thanks", act_on_existing=True)
    scoring.valuation = Valuation(rules=SegmentRules(2, (loud, quiet)))
    await buys(scoring, "ann", 2)
    assert moves(scoring) == [
        ("segment_entered", "loud", "thanks", False),
        ("segment_entered", "quiet", "thanks", True),
    ]
    scoring.valuation = Valuation(rules=SegmentRules(3, (quiet,)))  # `loud` was retired
    await buys(scoring, "ann", 3)
    assert moves(scoring)[2:] == [("segment_left", "loud", None, True)]


async def test_a_new_customer_is_published_and_an_import_is_not() -> None:
    scoring = worker(rule("first", 1, 1, "lifecycle == 'new'", action="welcome"))
    await buys(scoring, "ann", 0)
    assert shown(scoring) == [("segment_entered", "first", "welcome", False)]
    old = activity.event("old", "bob", day(0), backfill="history")
    scoring.log.append(0, old)
    scoring.log.append(0, activity.ended(day(1)))
    await scoring.drain()
    scoring.clock.at = day(2)
    await scoring.idle(2.0)
    bob = [one for one in scoring.changed if one.customer_id == "bob"]
    assert [(one.segment, one.silent) for one in bob] == [("first", True)]


async def test_R2_states_follow_elapsed_time_alone_and_a_purchase_wins_back() -> None:
    scoring = worker()
    for at in (0, 7, 14, 21, 28):
        await buys(scoring, "ann", at)
    await passes(scoring, 120)
    states = [c.after for c in scoring.changed if c.kind == "behaviour_changed"]
    assert states == ["dormant", "churned"]
    await buys(scoring, "ann", 121)
    lives = [c.after for c in scoring.changed if c.kind == "lifecycle_changed"]
    assert lives == ["at_risk", "churned", "won_back"]
    await passes(scoring, 123)
    assert scoring.told[-1].standing is not None
    assert scoring.told[-1].standing.lifecycle == "won_back"


async def test_R3_R16_profile_fields_of_the_same_turn_count() -> None:
    scoring = worker(rule("north", 1, 1, "region == 'north' && 'enterprise' in needs"))
    scoring.log.append(0, activity.profile("p1", "ann", day(0), kind="account", region="north"))
    scoring.log.append(0, activity.profile("p0", "ann", day(-1), region="south"))
    await scoring.drain()
    assert shown(scoring) == [("segment_entered", "north", None, False)]
    scoring.log.append(0, activity.profile("p2", "ann", day(1), region="south"))
    await scoring.drain()
    assert shown(scoring)[1:] == [("segment_left", "north", None, False)]


async def test_R20_what_the_data_do_not_support_is_said_not_scored() -> None:
    scoring = worker()
    await buys(scoring, "ann", 0)
    standing = scoring.told[-1].standing
    assert standing is not None
    assert (standing.grade, standing.tier, standing.lifetime_value) == (None, None, None)
    assert standing.quality == ["profile_missing", "base_not_known"]


def measured(policy: ValuePolicy | None = None, *rules: Any) -> Valuation:
    """Provide forty customers who buy for 10 every five days, a tenth of it office paper."""
    policy = policy or ValuePolicy()
    events = columns(
        row=np.repeat(np.arange(40), 20),
        time=np.tile((day(0).timestamp() + (np.arange(20) - 99) * 5 * 86_400.0), 40),
        amount=np.full(800, 10.0),
        category=np.tile([category_of("paper")] * 2 + [category_of("toys")] * 18, 40),
    )
    states = fold(empty(40), events)
    x = features(states, np.full(40, events.time.max()))
    base = measure(x, np.zeros(40), states["categories"], policy, LapseClock())
    return Valuation(policy=policy, base=base, rules=SegmentRules(1, rules))


async def test_R20_purchases_without_amounts_are_marked_and_carry_no_value_tier_or_grade() -> None:
    """The message itself marks them, though the base is known; with amounts it is complete."""
    scoring = worker()
    scoring.valuation = measured()
    for n in range(4):
        for customer, amount in (("ann", None), ("bob", 10.0)):
            data = ActivityData(amount=amount)
            scoring.log.append(0, activity.event(f"{customer}{n}", customer, day(n), data=data))
    scoring.clock.at = day(4)
    await scoring.drain()
    told = {one.customer_id: one.standing for one in scoring.told}
    ann, bob = told["ann"], told["bob"]
    assert ann is not None
    assert bob is not None
    assert "no_amounts" in ann.quality
    assert (ann.grade, ann.tier, ann.lifetime_value, ann.rfm) == (None, None, None, None)
    assert "no_amounts" not in bob.quality
    assert None not in {bob.grade, bob.tier, bob.lifetime_value, bob.rfm}
    # Every assessment is counted, whether or not it wrote a row.
    assert scoring.done[-1].quality == {"no_amounts": 1, "profile_missing": 2}


async def test_R3_R15_another_mapping_reports_a_need_at_the_next_assessment() -> None:
    """Without a redeploy and without a new fold, another policy reads the same counters."""
    office = "'enterprise' in needs"
    scoring = worker()
    scoring.valuation = measured(None, rule("office", 1, 1, office))
    data = ActivityData(amount=10.0, category="paper")
    for n in range(10):
        scoring.log.append(0, activity.event(f"p{n}", "ann", day(n / 100), data=data))
    scoring.clock.at = day(1)
    await scoring.drain()
    assert moves(scoring) == []
    mapped = ValuePolicy(affinity=Affinity(categories={"enterprise": ["paper"]}))
    scoring.valuation = measured(mapped, rule("office", 1, 1, office))
    scoring.log.append(0, activity.event("last", "ann", day(1), data=data))
    await scoring.drain()
    assert moves(scoring) == [("segment_entered", "office", None, False)]


async def test_R12_a_grade_that_a_person_set_stands_until_it_expires() -> None:
    scoring = worker()
    scoring.store.tables.override["ann"] = ("vip", day(5))  # type: ignore[attr-defined]
    await buys(scoring, "ann", 0)
    assert scoring.told[-1].standing is not None
    assert scoring.told[-1].standing.grade == "vip"
    await buys(scoring, "ann", 6)
    assert not scoring.store.tables.standing["ann"].overridden  # type: ignore[attr-defined]
