"""Chooses the playbook for a customer and a cause, and makes the plan of a task from it.

A plan is a copy: changing a playbook changes no task that was raised before.
"""

from collections.abc import Mapping, Sequence
from typing import Final, Literal

import msgspec

from services.alerts.core.conditions import UNKNOWN, meets, one_of
from services.alerts.core.policy_document import (
    Playbook,
    Policy,
    Service,
)
from services.alerts.core.policy_parts import Both
from shared.contracts.events import Profile
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


def plan(playbook: Playbook, policy: Policy, profile: Profile, title: Both | None = None) -> Plan:
    """Return the plan for a customer with this profile."""
    channel = allowed(playbook.channels, profile, policy.consent_required)
    return Plan(
        playbook=playbook.id,
        service=playbook.service,
        channel=channel,
        consent_missing=bool(playbook.channels) and channel is None,
        title=title,
        offer=playbook.offer,
        offer_points=playbook.offer_points,
        steps=playbook.steps,
        sends=playbook.send is not None,
    )


def allowed(channels: Sequence[str], profile: Profile, required: Sequence[str]) -> str | None:
    """Return the first channel that the customer consents to; None where there is none.

    No answer counts as consent, except for the channels in `required`.

    >>> allowed(["phone", "email"], Profile(consent={"phone": False}), required=["email"])
    >>> allowed(["phone", "email"], Profile(consent={"phone": False}), required=[])
    'email'
    """
    if profile.do_not_contact:
        return None
    return next((c for c in channels if profile.consent.get(c, c not in required)), None)


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
