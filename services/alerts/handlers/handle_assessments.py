"""Handles assessments: decides on each, and writes everything in one transaction."""

import asyncio
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from functools import partial

from services.alerts import metrics
from services.alerts.core.experiment_subject import new_trial
from services.alerts.core.policy import (
    NO_REVISION,
    Closed,
    CustomerState,
    Joined,
    Policy,
    Raised,
    Step,
    came_back,
    closed_at_first_purchase,
    decide,
)
from services.alerts.core.raised_causes import Withheld
from services.alerts.core.scheduled_tasks import updated
from services.alerts.core.task import TaskInputs, grown, new_task
from services.alerts.core.uplift.served import ServedEffects
from services.alerts.handlers.drop_erased import drop_erased
from services.alerts.handlers.record_task_changes import (
    BatchDecisions,
    Joining,
    RecordTaskChanges,
    TaskUpdate,
    count,
)
from services.alerts.ports import AssessmentSeen, Decoded, KnownCustomer
from services.alerts.store import assessments as assessment_store
from services.alerts.store import customers as customer_store
from services.alerts.store.policies import Policies
from services.alerts.store.uplift_fits import UpliftFits
from shared.contracts.risk import RiskAssessed
from shared.kafka.batch import Batch
from shared.kafka.transaction import BatchTransactions
from shared.postgres.engine import UnitOfWork
from shared.postgres.ledger import Move
from shared.runtime.clock import Clock

Decode = Callable[[Batch], Decoded[AssessmentSeen]]
Decided = list[tuple[AssessmentSeen, Step]]
"""Steps to carry out, in order, each with its assessment."""


@dataclass(frozen=True, slots=True, kw_only=True)
class HandleAssessments:
    """Handles batches of `ebbwatch.risk`."""

    transactions: BatchTransactions
    decode: Decode
    policies: Policies
    recorder: RecordTaskChanges
    """Writes tasks, deliveries and treatments of a batch."""
    clock: Clock
    deliveries_queued: asyncio.Event
    """Set once deliveries are committed: wakes the delivery sender of this process."""
    fits: UpliftFits = field(default_factory=UpliftFits)

    async def __call__(self, batch: Batch) -> Sequence[Move]:
        """Process a batch; return the offsets that were committed with the effects."""
        if not batch:
            return []
        decoded = self.decode(batch)
        moves = batch.moves()
        now = self.clock.now()
        async with self.transactions.open(moves) as transaction:
            work = transaction.work
            assessed = await drop_erased(work, "risk", decoded)
            known = await customer_store.lock(work, {a.customer_id for a in assessed})
            # Published before an id became part of another customer, and read after it.
            assessed = [a for a in assessed if known[a.customer_id].part_of is None]
            version, policy = await self.policies.current(work)
            effects = await self.fits.current(work, policy.name)
            made = _decide(assessed, known, policy, effects)
            states = made.states
            decided = await self._closed_at_first_purchase(work, made.steps)
            if effects is not None:
                await self.fits.withhold(work, made.withheld, effects.version)
            inputs = TaskInputs(policy, version, now, effects=effects)
            inputs = await self._with_rates(work, inputs, decided, known)
            decisions = _task_changes(decided, known, inputs)
            decisions.updates = _updates(assessed, states, known, inputs)
            await customer_store.write(work, states, known)
            await assessment_store.add(work, assessed)
            changes, messages = await self.recorder.write(work, decisions, now)
            transaction.messages += [*decoded.dead, *messages]
        if changes or decisions.updates:
            self.deliveries_queued.set()
        for decision, times in made.why.items():
            metrics.MESSAGES.labels(decision).inc(times)
        metrics.DEAD_LETTERS.labels("risk").inc(len(decoded.dead))
        count(changes, self.clock.now())
        await transaction.send()
        return moves

    async def _closed_at_first_purchase(self, work: UnitOfWork, decided: Decided) -> Decided:
        """Return the steps, with each task ended at the first known purchase after its opening.

        An assessment that was read late may be older than several purchases.
        """
        back = [(each.customer_id, step) for each, step in decided if came_back(step)]
        if not back:
            return decided
        customers, since = {c for c, _ in back}, min(step.task.opened_at for _, step in back)
        bought = await assessment_store.purchases(work, sorted(customers), since)
        return [
            (each, closed_at_first_purchase(step, bought.get(each.customer_id, ())))
            for each, step in decided
        ]

    async def _with_rates(
        self,
        work: UnitOfWork,
        inputs: TaskInputs,
        decided: Decided,
        known: dict[str, KnownCustomer],
    ) -> TaskInputs:
        """Add owners' records and measured save rates to the inputs, if this batch needs them."""
        warned = {e.customer_id for e, step in decided if not isinstance(step, Closed)}
        warned |= {customer for customer, found in known.items() if _uninformed(found)}
        if not warned:
            return inputs
        owners = {known[customer].contact.owner_id for customer in warned}
        return replace(
            inputs,
            owners=await self.policies.owners(work, owners),
            save_rates=await self.policies.save_rates(work),
        )


@dataclass(frozen=True, slots=True)
class _PolicyResult:
    """What the policy decides on a batch."""

    steps: Decided
    states: list[CustomerState]
    """The states that changed."""
    why: Counter[str]
    """Counts by row of the decision table."""
    withheld: list[tuple[RiskAssessed, Withheld]]


def _decide(
    assessed: Sequence[AssessmentSeen],
    known: dict[str, KnownCustomer],
    policy: Policy,
    effects: ServedEffects | None,
) -> _PolicyResult:
    states = {customer: found.state for customer, found in known.items()}
    changed: set[str] = set()
    why: Counter[str] = Counter()
    decided: Decided = []
    withheld = []
    for each in assessed:
        customer = each.customer_id
        decision = decide(states[customer], each.message, policy, effects)
        why[decision.why] += 1
        if decision.state is not states[customer]:
            states[customer] = decision.state
            changed.add(customer)
        decided += [(each, step) for step in decision.steps]
        if decision.withheld is not None:
            withheld.append((each.message, decision.withheld))
    return _PolicyResult(decided, [states[customer] for customer in changed], why, withheld)


def _task_changes(
    decided: Decided, known: dict[str, KnownCustomer], inputs: TaskInputs
) -> BatchDecisions:
    decisions = BatchDecisions()
    for each, step in decided:
        if isinstance(step, Closed):
            decisions.close(step, each.tp)
            continue
        wishes = known[each.customer_id].wishes
        if isinstance(step, Joined):
            grow = partial(grown, joined=step, message=each.message, inputs=inputs)
            decisions.join(Joining(step, grow, each.tp), inputs.created_at)
            continue
        decisions.trials.append((new_trial(step, each.message, wishes.profile, inputs), each.tp))
        if isinstance(step, Raised):
            decisions.open(new_task(step, each.message, wishes, inputs), each.tp)
    return decisions


def _updates(
    assessed: Sequence[AssessmentSeen],
    states: Sequence[CustomerState],
    known: dict[str, KnownCustomer],
    inputs: TaskInputs,
) -> list[TaskUpdate]:
    """Return the updates of open tasks of customers who are assessed for the first time.

    The tasks were raised from another topic, which was read faster, and lack an assessment's data.
    """
    newest = {each.customer_id: each for each in assessed}
    return [
        TaskUpdate(
            task_id,
            partial(updated, state=state, inputs=inputs, at=found.message.assessed_at),
            found.tp,
        )
        for state in states
        for found in (newest[state.customer_id],)
        for task_id in _uninformed(known[state.customer_id])
    ]


def _uninformed(known: KnownCustomer) -> list[str]:
    """Return the open tasks by the calendar or a segment that were raised without an assessment."""
    if known.state.revision != NO_REVISION:
        return []
    return [task.id for task in known.state.open if not task.by_risk]
