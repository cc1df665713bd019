"""Decides which ids are one customer: statements in, changes of groups out.

A group is what links connect, so neither the order nor the grouping of links matters. Each group
has a primary id, the one that the customer is found by. Values in, values out: no I/O, no clock.
"""

from collections.abc import Iterable, Mapping, Sequence
from collections.abc import Set as AbstractSet
from dataclasses import dataclass, field

from shared.contracts.events import IDS_MAX, Identity

Link = tuple[str, str]
"""Two ids that are one customer, in ascending order."""


@dataclass(frozen=True, slots=True)
class Statement:
    """A statement about ids, as an event made it."""

    source: str
    id: str
    subject: str
    identity: Identity

    @property
    def ids(self) -> tuple[str, ...]:
        """All ids that it names, the subject first."""
        also = () if self.identity.primary is None else (self.identity.primary,)
        return tuple(dict.fromkeys((self.subject, *self.identity.ids, *also)))


@dataclass(frozen=True, slots=True)
class IdSeen:
    """What is known of a customer, for the choice of a primary id."""

    profile: bool
    """A profile is stored: a known person or company, not a browser."""
    first_purchase: float
    """Unix seconds UTC; infinity without one."""


UNSEEN = IdSeen(profile=False, first_purchase=float("inf"))


@dataclass(frozen=True, slots=True)
class Move:
    """A contact who is of another account from now on; what was done stays with the former one."""

    contact: str
    former: str


@dataclass(slots=True)
class Groups:
    """Groups of the ids concerned, with the links between their members; changed by `apply`."""

    primary: dict[str, str] = field(default_factory=dict)
    """Primary id of each member of a group; an id that is not here is a customer by itself."""
    links: set[Link] = field(default_factory=set)
    contacts: dict[str, str] = field(default_factory=dict)
    """Account of each contact."""

    def of(self, customer: str) -> str:
        """Returns the primary id of an id."""
        return self.primary.get(customer, customer)

    def members(self, primary: str) -> list[str]:
        """Returns the ids of a customer, the primary id among them, in ascending order."""
        return sorted({primary, *(m for m, of in self.primary.items() if of == primary)})

    def copy(self) -> "Groups":
        """Returns groups of their own."""
        return Groups(dict(self.primary), set(self.links), dict(self.contacts))


@dataclass(slots=True)
class Changes:
    """What follows from statements."""

    refused: dict[tuple[str, str], str] = field(default_factory=dict)
    """Reason by (source, id) of each refused statement, which changed nothing."""
    moves: list[Move] = field(default_factory=list)


@dataclass(frozen=True, slots=True)
class Regrouping:
    """Steps from groups before to groups after, in this order."""

    dissolved: tuple[str, ...]
    """Primary ids of groups that came apart: each member is a customer of its own first."""
    joined: Mapping[str, tuple[str, ...]]
    """By the primary id of each group that grew: the customers who become part of it."""


def apply(
    statements: Iterable[Statement], groups: Groups, seen: Mapping[str, IdSeen]
) -> tuple[Groups, Changes]:
    """Returns the groups after the statements in their order, and what else follows.

    `seen`: of every primary id that is concerned.
    """
    after, changes, before = groups.copy(), Changes(), groups
    for one in statements:
        reason = _applied(one, after, seen, changes, before)
        if reason is not None:
            changes.refused[one.source, one.id] = reason
    return after, changes


def regrouping(before: Groups, after: Groups) -> Regrouping:
    """Returns how the customers of `before` become those of `after`."""
    ids = before.primary.keys() | after.primary.keys()
    dissolved = {before.of(i) for i in ids if after.of(i) != after.of(before.of(i))}
    # So does a group that is known by another of its ids: that one starts from its own state.
    dissolved |= {before.of(p) for p in after.primary.values() if before.of(p) != p}
    joined: dict[str, dict[str, None]] = {}
    for one in sorted(ids):
        # A member of a group that came apart joins by itself, any other with its whole group.
        was, now = before.of(one), after.of(one)
        whole = one if was in dissolved else was
        if whole != now:
            joined.setdefault(now, {})[whole] = None
    return Regrouping(
        tuple(sorted(dissolved)), {now: tuple(whole) for now, whole in joined.items()}
    )


def _applied(
    one: Statement, groups: Groups, seen: Mapping[str, IdSeen], changes: Changes, before: Groups
) -> str | None:
    """Changes the groups by one statement; returns why it is refused, None where it is not."""
    stated, others = one.identity, [i for i in one.identity.ids if i != one.subject]
    if stated.kind == "unlinked":
        return _unlink(stated.ids or [one.subject], groups)
    if stated.primary is not None and stated.primary not in (one.subject, *stated.ids):
        return "`primary` must be one of the linked ids"
    if stated.kind == "contact":
        return _attach(one.subject, stated.ids[0], groups, changes, before)
    joined = {groups.of(i) for i in one.ids}
    if len(joined) == 1:
        groups.links |= {_link(one.subject, other) for other in others}
        return None
    if stated.device and (why := _shared_device(one.subject, others, groups, seen)):
        return why
    if why := _too_many(joined, groups):
        return why
    groups.links |= {_link(one.subject, other) for other in others}
    chosen = stated.primary or min(joined, key=lambda p: _rank(p, seen))
    _regroup(groups, {m for p in joined for m in groups.members(p)}, chosen)
    return None


def _rank(primary: str, seen: Mapping[str, IdSeen]) -> tuple[bool, float, str]:
    """Returns the order of primary ids: known people first, then who bought first."""
    found = seen.get(primary, UNSEEN)
    return not found.profile, found.first_purchase, primary


def _too_many(joined: AbstractSet[str], groups: Groups) -> str | None:
    count = sum(len(groups.members(p)) for p in joined)
    if count <= IDS_MAX:
        return None
    return (
        f"looks like a shared id: one customer would have {count} ids, at most {IDS_MAX} are taken"
    )


def _shared_device(
    subject: str, others: Sequence[str], groups: Groups, seen: Mapping[str, IdSeen]
) -> str | None:
    """Returns why a device must not join two customers; None where it joins none."""
    own = groups.of(subject)
    for other in others:
        of = groups.of(other)
        if of != own and (len(groups.members(of)) > 1 or seen.get(of, UNSEEN).profile):
            return (
                f"looks like a shared id: {other!r} belongs to {of!r} already, and a device "
                "joins no two customers"
            )
    return None


def _attach(
    contact: str, account: str, groups: Groups, changes: Changes, before: Groups
) -> str | None:
    """Makes an id the contact of an account; a contact of another account moves."""
    if contact == account:
        return "an account is no contact of its own"
    if account in groups.contacts:
        return f"{account!r} is a contact itself: name the account"
    former = groups.contacts.get(contact)
    if former is None and len(groups.members(groups.of(contact))) > 1:
        return f"{contact!r} has other ids: unlink them first"
    if former is not None and groups.of(former) == groups.of(account):
        groups.contacts[contact] = account
        return None
    if why := _too_many({contact, groups.of(account)}, groups):
        return why
    if former is not None:
        groups.links.discard(_link(contact, former))
        _regroup(groups, set(groups.members(groups.of(contact))), groups.of(contact))
        if before.contacts.get(contact) == former:
            changes.moves.append(Move(contact, former))
    groups.contacts[contact] = account
    groups.links.add(_link(contact, account))
    _regroup(groups, {contact, *groups.members(groups.of(account))}, groups.of(account))
    return None


def _unlink(ids: Sequence[str], groups: Groups) -> str | None:
    """Takes ids out of their groups, with all of their links."""
    for one in ids:
        if one not in groups.primary:
            return f"{one!r} has no other ids: there is nothing to undo"
    for one in dict.fromkeys(ids):
        members = groups.members(groups.of(one))
        groups.links -= {link for link in groups.links if one in link}
        for contact in [c for c, account in groups.contacts.items() if one in (c, account)]:
            del groups.contacts[contact]
        _regroup(groups, set(members), groups.of(one))
    return None


def _regroup(groups: Groups, ids: AbstractSet[str], primary: str) -> None:
    """Sets the primary ids of what links connect among these ids; `primary` keeps its group."""
    left = set(ids)
    near: dict[str, set[str]] = {}
    for a, b in groups.links:
        near.setdefault(a, set()).add(b)
        near.setdefault(b, set()).add(a)
    while left:
        reached, fresh = set(), {primary if primary in left else min(left)}
        while fresh:
            reached |= fresh
            fresh = {n for f in fresh for n in near.get(f, ())} - reached
        left -= reached
        chosen = primary if primary in reached else min(reached)
        for one in reached:
            if len(reached) == 1:
                groups.primary.pop(one, None)
            else:
                groups.primary[one] = chosen


def _link(a: str, b: str) -> Link:
    return (a, b) if a < b else (b, a)
