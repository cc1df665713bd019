"""Runs scoring step by step: the real handler on a log in memory, with chosen tables and sender.

scoring = ScoringWorker(MemoryStore(), MemorySender(), replay=True)
scoring.log.append(0, activity.event("e1", "ann", day(0)))
await scoring.drain()
"""

from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Protocol

import msgspec

from services.scoring.core.value.classify import Valuation
from services.scoring.handlers.assess_customers import Assessor
from services.scoring.handlers.batch_customers import BatchCustomers, LeftOut
from services.scoring.handlers.classify_customers import ClassificationTables
from services.scoring.handlers.micro_batch import (
    LeaveOut,
    Link,
    MicroBatch,
    WithoutErased,
)
from services.scoring.inbound.activity import ActivityDecoder
from services.scoring.model.rule_model import RuleModel
from services.scoring.ports import (
    BatchEffects,
    ClassificationStore,
    EventRows,
    Predictor,
    Store,
)
from shared.contracts.changes import CustomerChanged
from shared.contracts.risk import RiskAssessed
from shared.kafka.batch import Batch
from shared.kafka.transaction import OutboxRelay
from shared.postgres.engine import UnitOfWork
from shared.postgres.ledger import Claim, Move
from shared.postgres.ledger import TopicPartition as Tp
from shared.postgres.outbox import Message
from shared.runtime.isolation import ItemIsolation, Notes
from tests.fakes.clock import SetClock
from tests.fakes.item_failures import FailuresInMemory
from tests.fakes.log import MemoryLog, moved

TOPIC, RISK, DEAD, CHANGES = "activity", "risk", "dead-letter", "changes"
HORIZONS_DAYS = (14, 30, 60, 90)
HORIZON_DAYS = 28
EVERYTHING = 1_000_000
"""Records of a batch without a bound."""
TURNS_MAX = 10_000
"""Batches of one `drain`: more means that it does not come to an end."""


class Claiming(Store, Protocol):
    """Tables with partitions that can be claimed."""

    async def take_over(self, tp: Tp) -> Claim: ...

    @property
    def standings(self) -> ClassificationStore: ...


class Sending(OutboxRelay, Protocol):
    """A sender that remembers."""

    @property
    def sent(self) -> list[Message]: ...


async def _no_statements(_: Batch, __: EventRows, ___: set[str]) -> None:
    raise AssertionError("this worker decides on no statements about ids")


async def leave_none_out(_: UnitOfWork, __: BatchCustomers) -> LeftOut:
    """Leaves no customer out."""
    return LeftOut()


async def keep_all(_: UnitOfWork, events: EventRows) -> EventRows:
    """Returns all events: no customer was erased."""
    return events


@dataclass(slots=True)
class ScoringWorker:
    """One worker's handler; `claims` are what it believes to own."""

    store: Claiming
    sender: Sending
    replay: bool = False
    valuation: Valuation = field(default_factory=Valuation)
    predictor: Predictor = field(default_factory=lambda: RuleModel(HORIZON_DAYS))
    clock: SetClock = field(default_factory=SetClock)
    sweep_customers_max: int = 1_000
    log: MemoryLog = field(default_factory=lambda: MemoryLog(TOPIC))
    claims: dict[Tp, Claim] = field(default_factory=dict)
    done: list[BatchEffects] = field(default_factory=list)
    """The effects written by each batch."""
    suspects: Notes = field(default_factory=FailuresInMemory)
    blameless: int = 0
    """How often a batch's records were reported not to be the cause of what follows."""
    link: Link | None = None
    """Decides on statements about ids; without it a test must send none."""
    without_erased: WithoutErased = keep_all
    leave_out: LeaveOut = leave_none_out
    handle: Callable[..., Awaitable[Sequence[Move]]] = field(init=False)

    def __post_init__(self) -> None:
        self.handle = MicroBatch(
            decode=ActivityDecoder(DEAD, replay=self.replay),
            store=self.store,
            sender=self.sender,
            classifications=ClassificationTables(
                self.store.standings, lambda: self.valuation, CHANGES
            ),
            assessor=Assessor(
                risk_topic=RISK,
                thresholds=(0.25, 0.5, 0.75),
                reasons_max=3,
                currency="USD",
                also_horizons_days=HORIZONS_DAYS,
            ),
            predictor=lambda: self.predictor,
            clock=self.clock,
            sweep_customers_max=self.sweep_customers_max,
            sweep_interval_s=1.0,
            observe=lambda effects, _: self.done.append(effects),
            isolation=ItemIsolation(self.suspects, self.clock, lambda _: None),
            blameless=self._blameless,
            link=self.link or _no_statements,
            without_erased=self.without_erased,
            leave_out=self.leave_out,
        )

    async def _blameless(self) -> None:
        self.blameless += 1

    async def claim(self, *partitions: int) -> None:
        """Take partitions over (by default all that have records)."""
        for tp in [(TOPIC, p) for p in partitions] or sorted(self.log.records):
            self.claims[tp] = await self.store.take_over(tp)

    async def turn(self, counts: Mapping[Tp, int] | int = EVERYTHING) -> Sequence[Move]:
        """Process one batch of at most so many records of each partition."""
        moves = await self.handle(self.log.batch(self.claims.values(), counts))
        moved(self.claims, moves)
        return moves

    async def drain(self, count: Callable[[], int] = lambda: EVERYTHING) -> None:
        """Claim what is new, and process batches until every record is consumed."""
        await self.claim(*(tp[1] for tp in self.log.records if tp not in self.claims))
        for _ in range(TURNS_MAX):
            if self.at_end:
                return
            await self.turn({tp: count() for tp in self.claims})
        raise AssertionError(f"not drained after {TURNS_MAX} turns")

    @property
    def at_end(self) -> bool:
        """Return whether every claimed partition is consumed."""
        return all(
            (claim.next_offset or 0) >= len(self.log.records[tp])
            for tp, claim in self.claims.items()
        )

    async def idle(self, seconds: float) -> None:
        """Let this much wall time pass, then process an empty batch."""
        self.clock.seconds += seconds
        await self.turn(0)

    @property
    def told(self) -> list[RiskAssessed]:
        """The messages sent to the risk topic, in order."""
        return [
            msgspec.json.decode(m.value or b"", type=RiskAssessed)
            for m in self.sender.sent
            if m.topic == RISK
        ]

    @property
    def changed(self) -> list[CustomerChanged]:
        """The messages sent to the changes topic, in order."""
        return [
            msgspec.json.decode(m.value or b"", type=CustomerChanged)
            for m in self.sender.sent
            if m.topic == CHANGES
        ]

    @property
    def dead(self) -> list[Message]:
        """The dead letters, in order."""
        return [m for m in self.sender.sent if m.topic == DEAD]
