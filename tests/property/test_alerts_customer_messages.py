"""Consent is a law: whatever happens in whatever order, no message goes out against it."""

from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any
from zoneinfo import ZoneInfo

from hypothesis import given, settings
from hypothesis import strategies as st

from services.alerts.core.consent import Subscription, Wishes
from services.alerts.core.customer_message import (
    STALE_AFTER,
    Circumstances,
    Send,
    Suppress,
    Wait,
    decide,
)
from services.alerts.core.message_rule import MessageRule
from services.alerts.core.policy_parts import Both
from shared.contracts.events import Profile

BEGIN = datetime(2026, 3, 27, 12, tzinfo=UTC)
"""Before the nights in which clocks change in Berlin and on Lord Howe Island."""
ZONES = ("UTC", "Europe/Berlin", "America/New_York", "Asia/Shanghai", "Australia/Lord_Howe")
TIMES = st.builds("{:02d}:{:02d}".format, st.integers(0, 23), st.sampled_from((0, 15, 30)))

RULES = st.builds(
    MessageRule,
    endpoint=st.just("mailer"),
    channel=st.just("email"),
    text=st.just(Both(en="Hello", zh="您好")),
    messages_max=st.integers(1, 3),
    per_days=st.sampled_from([1, 2, 7]),
    quiet_from=TIMES,
    quiet_until=TIMES,
).filter(lambda rule: rule.quiet_from != rule.quiet_until)

STEPS = st.lists(
    st.one_of(
        st.tuples(st.just("consent"), st.booleans()),
        st.tuples(st.just("do_not_contact"), st.booleans()),
        st.tuples(st.sampled_from(("unsubscribed", "subscribed")),
                  st.sampled_from(("email", "*", "sms"))),
        st.tuples(st.just("cause"), st.none()),
        st.tuples(st.just("came_back"), st.none()),
        st.tuples(st.just("hours"), st.sampled_from((0.01, 0.5, 3, 11, 26))),
    ),
    min_size=5,
    max_size=60,
)  # fmt: skip


@dataclass
class World:
    """A customer's history, and what was sent to them."""

    rule: MessageRule
    zone: ZoneInfo
    now: datetime = BEGIN
    history: list[tuple[datetime, str, Any]] = field(default_factory=list)
    waiting: dict[int, tuple[datetime, datetime]] = field(default_factory=dict)
    """The time of the cause, and when it is decided on, by the number of the cause."""
    sent: list[tuple[int, datetime]] = field(default_factory=list)
    suppressed: dict[int, str] = field(default_factory=dict)
    causes: int = 0

    def happen(self, kind: str, value: Any) -> None:
        """Let one thing happen, a minute after the one before; then decide on what is due."""
        self.now += timedelta(hours=value) if kind == "hours" else timedelta(minutes=1)
        self.history.append((self.now, kind, value))
        if kind == "cause":
            self.waiting[self.causes] = self.now, self.now
            self.causes += 1
        self._decide()

    def last(self, kind: str) -> Any:
        """Return the newest value of a kind; None where there is none."""
        return next((v for _, k, v in reversed(self.history) if k == kind), None)

    def _decide(self) -> None:
        for number, (caused_at, due_at) in list(self.waiting.items()):
            if due_at > self.now:
                continue
            decision = decide(self.rule, self._seen(caused_at), self.now)
            if isinstance(decision, Wait):
                assert decision.until > self.now
                self.waiting[number] = caused_at, decision.until
                continue
            del self.waiting[number]
            if isinstance(decision, Send):
                assert self.now < decision.deliver_until <= self.now + timedelta(days=1, hours=1)
                self.sent.append((number, self.now))
            elif isinstance(decision, Suppress):
                self.suppressed[number] = decision.reason

    def _seen(self, caused_at: datetime) -> Circumstances:
        channels = {v for _, k, v in self.history if k in {"unsubscribed", "subscribed"}}

        def newest(kind: str, channel: str) -> datetime | None:
            times = (at for at, k, v in self.history if (k, v) == (kind, channel))
            return max(times, default=None)

        given = [at for at, kind, value in self.history if kind == "consent" and value]
        return Circumstances(
            caused_at=caused_at,
            task_open=not any(k == "came_back" and at > caused_at for at, k, _ in self.history),
            wishes=Wishes(
                Profile(
                    consent={"email": self.last("consent") is True},
                    do_not_contact=bool(self.last("do_not_contact")),
                ),
                [
                    Subscription(c, newest("unsubscribed", c), newest("subscribed", c))
                    for c in sorted(channels)
                ],
            ),
            held_out=False,
            consented_at=given[-1] if self.last("consent") else None,
            earlier=[at for _, at in self.sent],
            zone=self.zone,
        )


def lawful(world: World, at: datetime) -> bool:
    """Return whether the history until `at` allows a message, one event after the other."""
    consents = refuses = away = False
    for when, kind, value in world.history:
        if when > at:
            break
        if kind == "consent":
            consents = value
        elif kind == "do_not_contact":
            refuses = value
        elif kind in {"unsubscribed", "subscribed"} and value in {"email", "*"}:
            away = kind == "unsubscribed"
    return consents and not refuses and not away


def awake(world: World, at: datetime) -> bool:
    """Return whether the customer's clock shows a time outside the quiet hours."""
    shown = f"{at.astimezone(world.zone):%H:%M}"
    begin, end = world.rule.quiet_from, world.rule.quiet_until
    return not (begin <= shown < end if begin < end else shown >= begin or shown < end)


@given(rule=RULES, zone=st.sampled_from(ZONES), steps=STEPS)
@settings(max_examples=400, deadline=None)
def test_no_message_against_the_customers_will(
    rule: MessageRule, zone: str, steps: list[tuple[str, Any]]
) -> None:
    """Consent then, awake then, within the cap, once for each cause, and not out of date."""
    world = World(rule, ZoneInfo(zone))
    for kind, value in steps:
        world.happen(kind, value)
    caused = [at for at, kind, _ in world.history if kind == "cause"]
    for number, at in world.sent:
        assert lawful(world, at)
        assert awake(world, at)
        assert at <= caused[number] + STALE_AFTER
        window = timedelta(days=rule.per_days)
        assert sum(at - window < other <= at for _, other in world.sent) <= rule.messages_max
    numbers = [number for number, _ in world.sent]
    assert len(numbers) == len(set(numbers))
    assert len(numbers) + len(world.suppressed) + len(world.waiting) == world.causes


@given(rule=RULES, zone=st.sampled_from(ZONES), hours=st.lists(st.sampled_from((0.5, 3, 11))))
@settings(max_examples=100, deadline=None)
def test_a_willing_customer_gets_the_message(
    rule: MessageRule, zone: str, hours: list[float]
) -> None:
    """The law is not kept by sending nothing: within a day of the cause the message is out."""
    world = World(rule, ZoneInfo(zone))
    world.happen("consent", True)
    for pause in hours:
        world.happen("hours", pause)
    world.happen("cause", None)
    for _ in range(26):
        world.happen("hours", 1)
    assert [number for number, _ in world.sent] == [0] or rule_is_nearly_always_quiet(rule)


def rule_is_nearly_always_quiet(rule: MessageRule) -> bool:
    """Return whether an hourly look may miss the hours in which messages are sent."""
    begin, end = (int(t[:2]) * 60 + int(t[3:]) for t in (rule.quiet_from, rule.quiet_until))
    return (begin - end) % 1440 <= 120
