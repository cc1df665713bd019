"""Decides on stored messages to customers, from all that a decision depends on.

It locks the customers first: of two messages to one customer, one decision sees the other.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from zoneinfo import ZoneInfo

from services.alerts.core.customer_message import Circumstances, Decision, Send, decide
from services.alerts.core.holdout import held_out_of_messages
from services.alerts.core.message_rule import MessageRule
from services.alerts.core.playbook import named
from services.alerts.core.task import Task, TaskInputs
from services.alerts.ports import KnownCustomer
from services.alerts.store import consents as consent_store
from services.alerts.store import customer_messages as message_store
from services.alerts.store import customers as customer_store
from services.alerts.store import tasks as task_store
from services.alerts.store.customer_messages import StoredMessage
from services.alerts.store.policies import Policies
from shared.kernel.errors import Invalid, Transient
from shared.kernel.zones import zone
from shared.postgres.engine import UnitOfWork


@dataclass(frozen=True, slots=True)
class Decided:
    """A decision about one message."""

    message: StoredMessage
    task: Task | None
    """None: it is no more."""
    rule: MessageRule | None
    consented_at: datetime | None
    decision: Decision


@dataclass(frozen=True, slots=True, kw_only=True)
class DecideMessages:
    """Reads and decides, within an open transaction. It changes nothing but the locks."""

    policies: Policies

    async def __call__(
        self, work: UnitOfWork, ids: Sequence[str], customers: Sequence[str], now: datetime
    ) -> list[Decided]:
        """Decide at `now`, business time, on the messages with these ids of these customers.

        Messages that are gone, or were suppressed meanwhile, are left out. Raises Transient where
        the customer of one was merged meanwhile.
        """
        stored = await message_store.find(work, ids)
        if not stored:
            return []  # erased: locking would store the customer's id anew
        known = await customer_store.lock(work, {*customers, *(m.customer_id for m in stored)})
        # After the locks: what their last holders have committed is seen.
        found = [m for m in await message_store.find(work, ids) if m.status != "suppressed"]
        if not found:
            return []
        if any(m.customer_id not in known for m in found):
            raise Transient("the customer of a message was merged meanwhile")
        ids_of = sorted({m.customer_id for m in found})
        tasks = {t.id: t for t in await task_store.find_all(work, [m.task_id for m in found])}
        owners = {each.contact.owner_id for each in known.values()}
        inputs = await self.policies.task_inputs(work, owners, now)
        given = await consent_store.given(work, ids_of)
        handed = await message_store.handed(work, ids_of)
        takers = await message_store.takers(work)
        decided = []
        for message in found:
            rule = _rule(message, inputs)
            channel = rule.channel if rule is not None else ""
            key = (message.customer_id, channel)
            customer, task = known[message.customer_id], tasks.get(message.task_id)
            others = handed.setdefault(key, {})
            consented_at = _consented_at(customer, given.get(key))
            seen = Circumstances(
                caused_at=message.caused_at,
                task_open=task is not None and task.status == "open",
                wishes=customer.wishes,
                held_out=held_out_of_messages(
                    inputs.policy, message.customer_id, customer.state.grade
                ),
                consented_at=consented_at,
                earlier=[at for other, at in others.items() if other != message.id],
                zone=_zone(customer, inputs),
                endpoint_takes=rule is not None and rule.endpoint in takers,
            )
            decision = decide(rule, seen, now)
            if isinstance(decision, Send):
                others[message.id] = now
            decided.append(Decided(message, task, rule, consented_at, decision))
        return decided


def _rule(message: StoredMessage, inputs: TaskInputs) -> MessageRule | None:
    """Return the rule of the policy in force; None where it sends no such message any more.

    A message that was handed over stays with its endpoint and channel: another endpoint may send
    it a second time.
    """
    rule = named(inputs.policy, message.playbook).send
    if rule is None or message.endpoint_id is None:
        return rule
    same = (rule.endpoint, rule.channel) == (message.endpoint_id, message.channel)
    return rule if same else None


def _consented_at(customer: KnownCustomer, given_at: datetime | None) -> datetime | None:
    """Return since when the customer consents, if the newest profile does; None without one."""
    return None if customer.profile is None else given_at or customer.profile.at


def _zone(customer: KnownCustomer, inputs: TaskInputs) -> ZoneInfo:
    """Return the customer's time zone; the owner's or the policy's where theirs is not usable."""
    profile = customer.contact
    try:
        if profile.time_zone is not None:
            return zone(profile.time_zone)
    except Invalid:
        pass  # a free text of the source
    return inputs.calendar(profile.owner_id).zone
