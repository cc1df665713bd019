"""Chooses the playbook for a customer and a cause, and makes the plan of a task from it.

A plan is a copy: changing a playbook changes no task that was raised before.
"""

from collections.abc import Mapping
from typing import Final, Literal

import msgspec

from services.alerts.core.conditions import UNKNOWN, meets, one_of
from services.alerts.core.consent import Wishes, allowed
from services.alerts.core.policy_document import (
    Playbook,
    Policy,
    Service,
)
from services.alerts.core.policy_parts import Both
from shared.contracts.risk import Classification
from shared.contracts.treatment import LeavingCause

Queue = Literal["owner", "fast_response", "self_service", "unowned"]
"""Where a task waits to be done: with its owner, a team, a machine, or in the queue of customers
without an owner."""
ANY: Final = Playbook(id="any")
"""The playbook where no playbook of the policy fits."""
GRADE_RANKS: Final[Mapping[str | None, int]] = {"vip": 0, "regular": 1, "potential": 2, None: 2}


class Plan(msgspec.Struct, kw_only=True, frozen=True):
    """What a task asks for."""

    playbook: str
    service: Service = "named_owner"
    channel: str | None = None
    """None: no channel is named, or the customer consents to none of them."""
    consent_missing: bool = False
    """True: channels are named, and the customer consents to none of them."""
    channels: list[str] = []
    """The channels of the playbook, the preferred one first; `channel` is one of them."""
    required: list[str] = []
    """Those of the policy's channels that need an explicit consent."""
    title: Both | None = None
    """Title of a task by the calendar or a segment; None for tasks by risk."""
    offer: Both | None = None
    offer_points: int | None = None
    """Loyalty points that may be credited to the customer; None: none."""
    steps: list[Both] = []
    sends: bool = False
    """True: a provider is to send the customer a message, by the playbook's rule then."""


def choose(
    policy: Policy,
    classification: Classification | None,
    cause: str,
    leaving: LeavingCause | None = None,
) -> Playbook:
    """Return the first playbook that fits the customer and the cause; `ANY` where none does.

    `leaving`: why the customer has left; None: not known, or not gone.
    """
    known = classification or UNKNOWN
    for playbook in policy.playbooks:
        if (
            one_of(cause, playbook.causes)
            and one_of(leaving, playbook.leaving_causes)
            and one_of(known.grade, playbook.grades)
            and one_of(known.tier, playbook.tiers)
            and one_of(known.lifecycle, playbook.lifecycles)
            and meets(known.needs, playbook.needs_any)
        ):
            return playbook
    return ANY


def named(policy: Policy, playbook: str) -> Playbook:
    """Return the playbook of this id; `ANY` where the policy has none."""
    return next((p for p in policy.playbooks if p.id == playbook), ANY)


def plan(playbook: Playbook, policy: Policy, wishes: Wishes, title: Both | None = None) -> Plan:
    """Return the plan for a customer with these wishes."""
    made = Plan(
        playbook=playbook.id,
        service=playbook.service,
        channels=list(playbook.channels),
        required=list(policy.consent_required) if playbook.channels else [],
        title=title,
        offer=playbook.offer,
        offer_points=playbook.offer_points,
        steps=playbook.steps,
        sends=playbook.send is not None,
    )
    return reconsidered(made, wishes)


def reconsidered(plan: Plan, wishes: Wishes) -> Plan:
    """Return the plan with the channel that the customer allows now, as far as one is named."""
    if not plan.channels:
        return plan
    channel = allowed(plan.channels, wishes, plan.required)
    return msgspec.structs.replace(plan, channel=channel, consent_missing=channel is None)


def queue_of(service: Service, owner_id: str | None) -> Queue:
    """Return the queue in which a task of this service waits."""
    if service != "named_owner":
        return service
    return "unowned" if owner_id is None else "owner"


def grade_rank(policy: Policy, standing: Classification | None) -> int:
    """Return the rank of a grade, which orders a queue before value: lower is earlier (R13)."""
    if policy.order == "value":
        return 0
    return GRADE_RANKS[None if standing is None else standing.grade]
