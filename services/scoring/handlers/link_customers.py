"""Makes ids one customer, and undoes it, in transactions of their own before the batch's.

Each is fenced by the partition of the statements and moves no offset: a statement is decided on
once by its (source, id), so a crash before the batch commits decides nothing twice. The events of
the batch then find the groups as they are afterwards.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Final

import numpy as np

from services.scoring import metrics
from services.scoring.core.features.decode import columns_of, kind_of
from services.scoring.core.features.fold import States, fold
from services.scoring.core.features.merge import merge, without
from services.scoring.core.features.state import empty, from_bytes, to_bytes
from services.scoring.core.identity.groups import (
    Groups,
    IdSeen,
    Regrouping,
    Statement,
    apply,
    regrouping,
)
from services.scoring.ports import NOW, EventRows
from services.scoring.store.identity import IdentityTables, Person, Repeat
from shared.contracts.activity import DECODER
from shared.contracts.changes import ENCODER, CustomerChanged, IdentityKind
from shared.contracts.profiles import Dated, merged
from shared.kafka.batch import Batch, ConsumedRecord
from shared.kafka.transaction import BatchTransaction, BatchTransactions
from shared.postgres.engine import UnitOfWork
from shared.postgres.ledger import TopicPartition
from shared.postgres.outbox import Message
from shared.runtime.clock import Clock

STATEMENTS_MAX: Final = 64
"""Statements about ids in one batch: about 0.2 s of merging, during which the batch's other events
wait. What follows in a partition is left for the next batch."""

EMPTY: Final = to_bytes(empty(1))[0]

Refuse = Callable[[ConsumedRecord, str, str], Message]
"""Makes the dead letter of a record: field and reason."""


@dataclass(frozen=True, slots=True, kw_only=True)
class LinkCustomers:
    """Decides on the statements about ids of a batch."""

    transactions: BatchTransactions
    tables: Callable[[UnitOfWork], IdentityTables]
    """The statements of a transaction."""
    refuse: Refuse
    clock: Clock
    risk_topic: str
    changes_topic: str

    async def __call__(self, batch: Batch, events: EventRows, changed: set[str]) -> None:
        """Decides on the statements among these events; adds the ids that change to `changed`.

        What is cached of those must be read again, also where this raises Fenced or Transient.
        """
        for tp, rows in _statements(events).items():
            move = batch.move(tp, 0, dict(batch.claims[tp].progress))
            async with self.transactions.open([move]) as transaction:
                changed |= await _Linking(self, transaction, tp, events, rows)(
                    self._now(move.progress)
                )
            await transaction.send()

    def _now(self, progress: Mapping[str, object]) -> datetime:
        reached = progress.get(NOW)
        return (
            datetime.fromtimestamp(reached, UTC)
            if isinstance(reached, float)
            else (self.clock.now())
        )


def bounded(batch: Batch, events: EventRows) -> Batch | None:
    """Returns the batch up to its `STATEMENTS_MAX`-th statement; None where it has no more."""
    rows = [i for i, identity in enumerate(events.identity) if identity is not None]
    if len(rows) <= STATEMENTS_MAX:
        return None
    records = dict(batch.records)
    for row in rows[STATEMENTS_MAX:]:
        cut, tp = events.record[row], (events.record[row].topic, events.record[row].partition)
        records[tp] = [record for record in records[tp] if record.offset < cut.offset]
    return Batch(
        batch.claims, {tp: found for tp, found in records.items() if found}, batch.ends, batch.alone
    )


def _statements(events: EventRows) -> dict[TopicPartition, list[int]]:
    """Returns the rows of statements by partition; forwarded ones were decided on before."""
    found: dict[TopicPartition, list[int]] = {}
    for row, identity in enumerate(events.identity):
        if identity is not None and events.original_customer[row] == events.customer[row]:
            record = events.record[row]
            found.setdefault((record.topic, record.partition), []).append(row)
    return found


class _Linking:
    """The statements of one partition, within one transaction."""

    def __init__(
        self,
        by: LinkCustomers,
        transaction: BatchTransaction,
        tp: TopicPartition,
        events: EventRows,
        rows: Sequence[int],
    ) -> None:
        self._by, self._tables = by, by.tables(transaction.work)
        self._messages, self._tp = transaction.messages, tp
        self._events, self._rows = events, rows
        self._notes: list[str] = []

    async def __call__(self, now: datetime) -> set[str]:
        await self._tables.lock()
        events = self._events
        given: dict[tuple[str, str], tuple[Statement, int]] = {}
        for row in self._rows:
            identity = events.identity[row]
            if identity is not None:
                one = Statement(events.source[row], events.id[row], events.customer[row], identity)
                given.setdefault((one.source, one.id), (one, row))
        fresh = await self._tables.fresh([one for one, _ in given.values()])
        if not fresh:
            return set()
        named = {i for one in fresh for i in one.ids}
        before = await self._tables.groups(named)
        people = await self._tables.people(named | before.primary.keys())
        after, changes = apply(fresh, before, _seen(people))
        for move in changes.moves:
            await self._leave(move.contact, move.former, people)
        steps = regrouping(before, after)
        await self._regroup(before, after, steps, people, now)
        await self._tables.put_links(before.links, after.links)
        wall = self._by.clock.now()
        timed = [(one, events.time[given[one.source, one.id][1]]) for one in fresh]
        note = "; ".join(self._notes) or None
        await self._tables.decide(timed, changes.refused, note, wall)
        for key, reason in changes.refused.items():
            self._messages.append(self._by.refuse(events.record[given[key][1]], "data.ids", reason))
        for one in fresh:
            refused = (one.source, one.id) in changes.refused
            metrics.IDENTITIES.labels("refused" if refused else one.identity.kind).inc()
        return before.primary.keys() | after.primary.keys()

    async def _leave(self, contact: str, former: str, people: dict[str, Person]) -> None:
        """Leaves with the former account what the contact did for it."""
        account, own = people[former], people[contact]
        state = to_bytes(merge(_state(account.own_state), _state(own.own_state)))[0]
        await self._tables.settle(contact, former, state, EMPTY)
        people[former] = Person(account.state, state, account.profile)
        people[contact] = Person(own.state, EMPTY, own.profile)

    async def _regroup(
        self,
        before: Groups,
        after: Groups,
        steps: Regrouping,
        people: dict[str, Person],
        now: datetime,
    ) -> None:
        apart = {i for i in before.primary if before.of(i) in steps.dissolved}
        if steps.dissolved:
            await self._tables.dissolve(steps.dissolved, self._tp[1], now)
            for one in sorted(apart):
                if one != before.of(one):
                    self._publish("customer_unmerged", one, before.of(one), now)
            people |= await self._tables.people(apart)
        if not steps.joined:
            return
        members = {i: now_of for now_of in steps.joined for i in after.members(now_of)}
        unseen = members.keys() - people.keys()
        if unseen:
            await self._tables.add_unseen(unseen, EMPTY)
            people |= dict.fromkeys(unseen, Person(EMPTY, EMPTY, None))
        states = {p: _state(people[p].state) for p in steps.joined}
        for round_ in range(max(map(len, steps.joined.values()))):
            joining = {whole[round_]: p for p, whole in steps.joined.items() if len(whole) > round_}
            await self._add_states(states, joining, people)
            await self._tables.adopt_keys(joining)
        joining = {one: p for p, whole in steps.joined.items() for one in whole}
        await self._tables.join(members, after.contacts, joining, now)
        packed = to_bytes(np.concatenate(list(states.values())))
        await self._tables.put(dict(zip(states, packed, strict=True)), self._tp[1])
        await self._tables.put_profiles(_profiles(steps, people, after.contacts))
        for one, primary in joining.items():
            self._publish("customer_merged", one, primary, now, contact=one in after.contacts)
            self._messages.append(Message(self._tp, self._by.risk_topic, one.encode(), None))

    async def _add_states(
        self, states: dict[str, States], joining: Mapping[str, str], people: Mapping[str, Person]
    ) -> None:
        """Adds one customer's state to each group's; what both counted is counted once."""
        added = merge(
            np.concatenate([states[p] for p in joining.values()]),
            from_bytes([people[one].state for one in joining]),
        )
        for n, primary in enumerate(joining.values()):
            states[primary] = added[n : n + 1]
        repeats = await self._tables.repeats(joining)
        if not repeats:
            return
        payloads = await self._tables.repeated_events(repeats)
        twice, found = _repeated(payloads, repeats)
        for one, states_of_one in twice.items():
            primary = joining[one]
            states[primary] = without(states[primary], states_of_one)
        lost = len(repeats) - found
        if lost > 0:
            self._notes.append(
                f"{lost} events that two of the ids have both counted are no longer stored, "
                "and count twice"
            )

    def _publish(
        self,
        kind: IdentityKind,
        customer: str,
        primary: str,
        now: datetime,
        *,
        contact: bool = False,
    ) -> None:
        change = CustomerChanged(
            customer_id=customer, sequence=0, kind=kind, at=now, primary_id=primary, contact=contact
        )
        self._messages.append(
            Message(self._tp, self._by.changes_topic, customer.encode(), ENCODER.encode(change))
        )


def _state(packed: bytes) -> States:
    return from_bytes([packed])


def _seen(people: Mapping[str, Person]) -> dict[str, IdSeen]:
    states = from_bytes([person.state for person in people.values()])
    return {
        one: IdSeen(profile=person.profile is not None, first_purchase=first)
        for (one, person), first in zip(
            people.items(), states["first_purchase"].tolist(), strict=True
        )
    }


def _profiles(
    steps: Regrouping, people: Mapping[str, Person], contacts: Mapping[str, str]
) -> dict[str, Dated]:
    """Returns the merged profiles of the groups that a customer with a profile joins.

    An account has none of its contacts' profiles."""
    found = {}
    for primary, whole in steps.joined.items():
        others = [one for one in whole if one not in contacts]
        theirs = [profile for one in others if (profile := people[one].profile) is not None]
        own = people[primary].profile
        if theirs:
            found[primary] = merged([*theirs, *([] if own is None else [own])])
    return found


def _repeated(
    payloads: Sequence[bytes], repeats: Sequence[Repeat]
) -> tuple[dict[str, States], int]:
    """Returns the states of the repeated events by customer, and how many were found."""
    wanted = {(one.origin, one.source, one.id): one.customer for one in repeats}
    found = {}
    for payload in payloads:
        activity = DECODER.decode(payload)
        origin = activity.originalsubject or activity.subject
        if (customer := wanted.get((origin, activity.source, activity.id))) is not None:
            found[origin, activity.source, activity.id] = customer, activity
    row_of = {customer: row for row, customer in enumerate(sorted({c for c, _ in found.values()}))}
    changing = [(row_of[c], a, kind) for c, a in found.values() if (kind := kind_of(a))]
    states = empty(len(row_of))
    if changing:
        rows, activities, kinds = zip(*changing, strict=True)
        states = fold(states, columns_of(activities, kinds, rows))
    return {c: states[row : row + 1] for c, row in row_of.items()}, len(found)
