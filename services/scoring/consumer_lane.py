"""Consumer lane: a member of the consumer group with stores and messages of its own."""

import math
import socket
from collections import Counter
from collections.abc import Awaitable, Callable
from functools import partial

import numpy as np
from sqlalchemy.ext.asyncio import AsyncEngine

from services.scoring import metrics
from services.scoring.handlers.assess_customers import Assessor
from services.scoring.handlers.classify_customers import ClassificationTables
from services.scoring.handlers.erase_customers import DropErased, EraseCustomers
from services.scoring.handlers.heed_profiling import HeedProfiling
from services.scoring.handlers.link_customers import LinkCustomers
from services.scoring.handlers.micro_batch import MicroBatch
from services.scoring.handlers.model_serving import ModelServing
from services.scoring.handlers.shadow_scoring import ShadowScoring
from services.scoring.handlers.source_alarm import SourceAlarm
from services.scoring.handlers.value_policy_cache import ValuePolicyCache
from services.scoring.inbound.activity import ActivityDecoder, erasure_of
from services.scoring.ports import BatchEffects
from services.scoring.settings import ScoringSettings
from services.scoring.store.batch import BatchStore
from services.scoring.store.classification import ClassificationTable
from services.scoring.store.customer_cache import CachingClassifications, CachingStore
from services.scoring.store.erasure import CustomerErasure
from services.scoring.store.history import HistoryReader
from services.scoring.store.identity import IdentityTables
from services.scoring.store.tables import SCHEMA
from shared.contracts.risk import BANDS
from shared.kafka.fenced import FencedConsumer
from shared.kafka.producer import Producer
from shared.kafka.quarantine import ParkAsDeadLetter, Quarantine
from shared.kafka.relay import Relay
from shared.kafka.settings import KafkaSettings
from shared.kafka.transaction import BatchTransactions
from shared.kafka.worker import work
from shared.postgres.ledger import Claim, Ledger
from shared.postgres.outbox import Outbox
from shared.runtime import service
from shared.runtime.clock import Clock
from shared.runtime.health import Health
from shared.runtime.isolation import ItemIsolation


class ConsumerLane:
    """Member of the consumer group within this process.

    It has partitions, transactions, memory and messages of its own, and waits for no other lane."""

    def __init__(
        self,
        number: int,
        settings: ScoringSettings,
        kafka: KafkaSettings,
        engine: AsyncEngine,
        serving: ModelServing,
        valuing: ValuePolicyCache,
        shadow: ShadowScoring,
        isolation: ItemIsolation,
    ) -> None:
        """Connects the parts in the order in which a record passes them.

        Record -> Quarantine -> EraseCustomers -> MicroBatch -> CachingStore -> BatchStore."""
        self.name = f"activity-{number}"
        self.newest_s = -math.inf
        """Time of the newest event that was folded, Unix seconds UTC; -inf before the first."""
        self._clock, self._live_clock = isolation.clock, settings.clock != "replay"
        ledger, outbox = Ledger(engine, SCHEMA), Outbox(SCHEMA)
        self._relay = relay = _relay(number, settings, kafka, engine, outbox)
        cached_max = settings.cache_customers_max // settings.lanes
        self._store = CachingStore(BatchStore(engine, ledger, outbox), cached_max)
        self._shadow, self._dead_letter_topic = shadow, settings.dead_letter_topic
        self._alarm = SourceAlarm(self.name)
        self.consumer = _consumer(number, settings, kafka, ledger, self._claimed)
        transactions = BatchTransactions(engine=engine, ledger=ledger, outbox=outbox, relay=relay)
        self._quarantine = quarantine_of(settings, transactions)
        classifications = CachingClassifications(ClassificationTable(), self._store)
        erasure = CustomerErasure(engine)
        decode = ActivityDecoder(settings.dead_letter_topic, replay=settings.clock == "replay")
        self._sweeping = handle = MicroBatch(
            decode=decode,
            store=self._store,
            sender=self._relay,
            classifications=ClassificationTables(
                classifications, valuing.current, settings.changes_topic
            ),
            assessor=Assessor.of(settings),
            predictor=serving.current,
            clock=isolation.clock,
            sweep_customers_max=settings.sweep_customers_max,
            sweep_interval_s=settings.sweep_interval_s,
            observe=self._observe,
            isolation=isolation,
            blameless=self._quarantine.survived,
            link=_link(settings, transactions, decode, isolation.clock),
            without_erased=DropErased(erasure.erasures),
            leave_out=HeedProfiling(settings.risk_topic),
        )
        self._handle = EraseCustomers(
            transactions=transactions,
            store=erasure,
            read=erasure_of,
            topics=(settings.risk_topic, settings.changes_topic),
            clock=isolation.clock,
            forget=self._store.forget,
            handle=handle,
        )

    async def __call__(self, stop: service.Stop, health: Health) -> None:
        await work(self.consumer, self._handle, self._quarantine, stop, health, self.name)

    @property
    def sent(self) -> list[int]:
        """Ids of the outbox's rows that were sent and not yet deleted."""
        return self._relay.acknowledged

    @property
    def looked_s(self) -> float:
        """Monotonic time at which due customers were last assessed, or none was found."""
        return self._sweeping.looked_s

    async def close(self) -> None:
        await self._relay.close()

    async def _claimed(self, claim: Claim) -> None:
        self._store.forget()
        self._alarm.forget()
        await self._relay.recover(claim)

    def _observe(self, effects: BatchEffects, seconds: float) -> None:
        observe_batch(effects, seconds, self._dead_letter_topic)
        self.newest_s = max(self.newest_s, newest_of(effects))
        if self._live_clock:
            observe_latency(effects, self._clock.now().timestamp())
        self._alarm(effects.moves)
        self._shadow.offer(effects)


def _consumer(
    number: int,
    settings: ScoringSettings,
    kafka: KafkaSettings,
    ledger: Ledger,
    on_claim: Callable[[Claim], Awaitable[None]],
) -> FencedConsumer:
    return FencedConsumer(
        settings=kafka,
        ledger=ledger,
        topics=(settings.activity_topic,),
        group=settings.group,
        worker=f"{socket.gethostname()}/{number}",
        batch_records_max=settings.batch_records_max,
        on_claim=on_claim,
        metrics=metrics.SERVICE,
    )


def _relay(
    number: int,
    settings: ScoringSettings,
    kafka: KafkaSettings,
    engine: AsyncEngine,
    outbox: Outbox,
) -> Relay:
    newer = partial(HistoryReader(engine).newer, settings.risk_topic)
    return Relay(engine, outbox, Producer(kafka, f"scoring-relay-{number}"), newer)


def _link(
    settings: ScoringSettings,
    transactions: BatchTransactions,
    decode: ActivityDecoder,
    clock: Clock,
) -> LinkCustomers:
    return LinkCustomers(
        transactions=transactions,
        tables=IdentityTables,
        refuse=decode.dead_letter,
        clock=clock,
        risk_topic=settings.risk_topic,
        changes_topic=settings.changes_topic,
    )


def quarantine_of(settings: ScoringSettings, transactions: BatchTransactions) -> Quarantine:
    """Returns a quarantine that parks records as dead letters of scoring."""
    park = ParkAsDeadLetter(
        transactions=transactions,
        topic=settings.dead_letter_topic,
        stage="scoring",
        observe=lambda topic: metrics.QUARANTINED.labels(topic).inc(),
    )
    return park.quarantine()


def newest_of(effects: BatchEffects) -> float:
    """Returns the time of a batch's newest event, Unix seconds UTC; -inf without one."""
    times = effects.events.time
    return max(times).timestamp() if times else -math.inf


def observe_latency(effects: BatchEffects, now_s: float) -> None:
    """Counts how long a batch's live events took; `now_s` is Unix seconds UTC."""
    events = effects.events
    live = np.array(events.live, bool)
    if live.any():
        times = np.array([at.timestamp() for at in events.time])
        metrics.SERVICE.event_latency.observe(now_s - times[live])
        metrics.ASSESSMENT_LATENCY.observe(now_s - np.array(events.received_ms)[live] / 1000)


def observe_batch(effects: BatchEffects, seconds: float, dead_letter_topic: str) -> None:
    """Counts what a batch did."""
    metrics.BATCH_SECONDS.observe(seconds)
    for kind, times in Counter(effects.events.type).items():
        metrics.EVENTS.labels(kind).inc(times)
    for band, times in Counter(effects.assessed.band.tolist()).items():
        metrics.ASSESSMENTS.labels(BANDS[band]).inc(times)
    metrics.PROBABILITY.observe(effects.assessed.probability)
    for flag, times in effects.quality.items():
        metrics.QUALITY_FLAGS.labels(flag).inc(times)
    metrics.PUBLISHED.inc(int(effects.assessments.published.sum()))
    metrics.DEAD_LETTERS.inc(sum(m.topic == dead_letter_topic for m in effects.messages))
