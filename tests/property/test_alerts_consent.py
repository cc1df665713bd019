"""Consent is a law: no history of wishes lets anything name a channel that it does not allow."""

import ast
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path

import msgspec
from hypothesis import given, settings
from hypothesis import strategies as st

from services.alerts.core.consent import Subscription, Wishes, not_profiled_since, spelled
from services.alerts.core.customer import CustomerState
from services.alerts.core.customer_message import Circumstances, Send, decide
from services.alerts.core.message_rule import MessageRule
from services.alerts.core.policy import Joined, Raised
from services.alerts.core.policy import decide as decide_task
from services.alerts.core.policy_document import read
from services.alerts.core.policy_parts import Both
from services.alerts.core.scheduled_tasks import planned_task, updated
from services.alerts.core.task import Task, TaskInputs, grown, heeding, new_task
from services.alerts.core.webhook_payload import body
from services.alerts.core.wording.tasks import in_full
from shared.contracts.events import Profile
from shared.kernel.zones import zone
from tests.unit.alerts.samples import assessed, day, sign

CHANNELS = ("phone", "email", "sms")
ASKED = frozenset({"sms"})
"""Channels that the policy of this test asks an explicit consent for."""
INPUTS = TaskInputs(
    read({
        "name": "test", "cooldown_days": 0, "consent_required": ["SMS"],
        "playbooks": [{"id": "talk", "channels": ["phone", "email", "sms"]}],
    }),
    1,
    day(0),
)  # fmt: skip
ALERTS = Path(__file__).parents[2] / "services" / "alerts"

SPELLINGS = st.sampled_from(("phone", "Phone ", "email", "E-MAIL".replace("-", ""), "sms", "SMS"))
PROFILES = st.builds(
    Profile,
    consent=st.dictionaries(SPELLINGS, st.booleans(), max_size=4),
    do_not_contact=st.sampled_from((False, False, False, True)),
)
STEPS = st.lists(
    st.one_of(
        st.tuples(st.just("profile"), PROFILES),
        st.tuples(
            st.sampled_from(("unsubscribed", "subscribed")),
            st.one_of(SPELLINGS, st.sampled_from((None, "profiling", "fax"))),
        ),
    ),
    max_size=14,
)


class World:
    """A customer's wishes so far: as they are stored, and event by event as a person reads them."""

    def __init__(self) -> None:
        self.profile = Profile()
        self.stored: dict[str, Subscription] = {}
        self.away: set[str] = set()
        self.profiled = True

    @property
    def wishes(self) -> Wishes:
        """The wishes as stored."""
        return Wishes(self.profile, tuple(self.stored.values()))

    def say(self, number: int, kind: str, value: object) -> None:
        """Let the customer state something on this day."""
        if isinstance(value, Profile):
            self.profile = value
            return
        name = spelled(value if isinstance(value, str) else None)
        before = self.stored.get(name, Subscription(name, None, None))
        ended = kind == "unsubscribed"
        self.stored[name] = Subscription(
            name,
            day(number) if ended else before.unsubscribed_at,
            before.subscribed_at if ended else day(number),
        )
        if name == "profiling":
            self.profiled = not ended
        elif ended:
            self.away |= set(CHANNELS) if name == "*" else {name}
        else:
            self.away -= set(CHANNELS) if name == "*" else {name}

    def allows(self, channel: str, *, asks: bool) -> bool:
        """Return whether the statements allow contact on a channel."""
        said = [v for k, v in self.profile.consent.items() if k.strip().lower() == channel]
        consents = all(said) if said else not asks
        contact = self.profiled and not self.profile.do_not_contact
        return contact and consents and channel not in self.away


def tasks(wishes: Wishes, earlier: Task | None) -> Iterator[Task]:
    """Yield a task by each way in which one is made or changed under these wishes."""
    left_alone = not_profiled_since(wishes.subscriptions)
    forbidden = day(0) if wishes.profile.do_not_contact else None
    state = CustomerState("c-1", do_not_contact_at=forbidden, not_profiled_at=left_alone)
    first = assessed(1, 0, signs=[sign("silence_beyond_rhythm")])
    after = decide_task(state, first, INPUTS.policy)
    for step in after.steps:
        if isinstance(step, Raised):
            yield new_task(step, first, wishes, INPUTS)
    if state.left_alone is None:
        for kind in ("care", "segment"):
            yield planned_task(
                state, wishes, INPUTS, kind=kind, name="n", occurrence="1",
                title=Both(en="t", zh="t"), playbook="talk", at=day(0),
            )  # fmt: skip
    if earlier is not None:  # of a time with other wishes
        second = assessed(2, 1, signs=[sign("gap_trend")])
        joined = (
            Joined("c-1", after.state.open[0], ("gap_trend",), day(1)) if after.state.open else None
        )
        yield earlier
        yield updated(earlier, state, INPUTS, day(1))
        if joined is not None:
            yield grown(earlier, joined, second, INPUTS)


@given(steps=STEPS)
@settings(max_examples=300, deadline=None)
def test_no_task_names_a_channel_against_a_wish(steps: list[tuple[str, object]]) -> None:
    """Tasks of every kind, new and changed, in what endpoints and connectors receive."""
    world, earlier = World(), None
    for number, (kind, value) in enumerate(steps):
        world.say(number, kind, value)
        made = list(tasks(world.wishes, earlier))
        if not world.profiled or world.profile.do_not_contact:
            assert [task for task in made if task.version == 1 and task is not earlier] == []
        best = next((c for c in CHANNELS if world.allows(c, asks=c in ASKED)), None)
        for task in made:
            sent = body(heeding(task, world.wishes))  # as `queue_deliveries` makes it
            named = msgspec.json.decode(sent)["data"]["task"].get("channel")
            assert named == best
            text = in_full(heeding(task, world.wishes), "en")
            assert ("No channel: the customer" in text) == (best is None)
        earlier = next((t for t in made if t.plan.channels), earlier)


@given(steps=STEPS)
@settings(max_examples=300, deadline=None)
def test_no_message_is_sent_to_the_customer_against_a_wish(
    steps: list[tuple[str, object]],
) -> None:
    """Only an explicit consent of the newest profile lets a provider send."""
    world = World()
    for number, (kind, value) in enumerate(steps):
        world.say(number, kind, value)
        for channel in CHANNELS:
            rule = MessageRule(endpoint="m", channel=channel, text=Both(en="t", zh="t"))
            now = day(number) + timedelta(hours=3)
            decision = decide(
                rule,
                Circumstances(
                    caused_at=now, task_open=True, wishes=world.wishes, held_out=False,
                    consented_at=day(0), zone=zone("UTC"),
                ),
                now,
            )  # fmt: skip
            assert isinstance(decision, Send) == world.allows(channel, asks=True)


def test_nothing_is_queued_but_where_the_wishes_are_asked() -> None:
    """A new way to send must ask for the wishes, and be named here."""
    makers = {
        path.relative_to(ALERTS).as_posix()
        for path in ALERTS.rglob("*.py")
        for node in ast.walk(ast.parse(path.read_text("utf-8")))
        if isinstance(node, ast.Call)
        and isinstance(node.func, ast.Name)
        and node.func.id == "NewDelivery"
    }
    assert makers == {"handlers/record_task_changes.py", "handlers/send_customer_messages.py"}
