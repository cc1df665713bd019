"""A consumer with its offsets in PostgreSQL: claims partitions, seeks, checks the log.

Follows the seek rules of the ledger: on assignment a partition is only paused; the main loop then
claims it (raising its epoch), checks that the log is still the one that was read, seeks to the
stored offset and resumes. Kafka's committed offsets are never trusted (they are written for lag
displays only), and there is no silent reset: a log that does not fit stops the partition.
"""

import asyncio
from collections.abc import Awaitable, Callable, Iterable
from dataclasses import dataclass, field

import structlog
from aiokafka import AIOKafkaConsumer, TopicPartition
from aiokafka.errors import KafkaError, NoOffsetForPartitionError, OffsetOutOfRangeError

from shared.kafka.batch import Batch, ConsumedRecord
from shared.kafka.log_check import asked, misfit
from shared.kafka.membership import POLL_TIMEOUT_MS, Assignments, member_kwargs
from shared.kafka.offset_commits import OffsetDisplay
from shared.kafka.partition_ends import PartitionEnds
from shared.kafka.partition_growth import admit
from shared.kafka.settings import KafkaSettings
from shared.kafka.unpacking import install_safe_unpacking
from shared.kernel.errors import Transient
from shared.observability.service_metrics import ServiceMetrics
from shared.postgres.ledger import Claim, Ledger, Move
from shared.postgres.ledger import TopicPartition as Tp

SET_ASIDE_S = 5.0
"""How long a fenced or stopped partition is left alone. After a fence the group should soon revoke
it; if it does not, an operator raised the epoch. A stopped one may have been resumed."""

CLAIMS_CHECK_S = 5.0
"""How often an owner checks whether its claims are valid: one small read, so that an operator's
rewind of a quiet partition takes effect."""

CLOSE_S = 2.0
"""How long to wait for leaving the group. It takes as long as a rejoin in progress (a dead peer's
session); without it the broker notices by timeout."""

log = structlog.get_logger(__name__)


@dataclass(slots=True)
class FencedConsumer:
    """Use: `start`, then `poll` and `moved` in turn, `lose`/`reclaim` on trouble, `close`.

    `compacted`: in these topics a record that was read may have been compacted away, so that only
    the log's end is compared.
    """

    settings: KafkaSettings
    ledger: Ledger
    topics: tuple[str, ...]
    group: str
    worker: str
    batch_records_max: int
    compacted: frozenset[str] = frozenset()
    on_claim: Callable[[Claim], Awaitable[None]] | None = None
    """Awaited once a partition is claimed, before its first record is handed out: sends what a
    former owner left in the outbox."""
    metrics: ServiceMetrics | None = None
    """Where rebalances, take-overs and fence losses are counted."""
    _inner: AIOKafkaConsumer | None = None
    _joined: bool = False
    _claims: dict[Tp, Claim] = field(default_factory=dict)
    _unclaimed: set[Tp] = field(default_factory=set)
    _held: dict[Tp, list[ConsumedRecord]] = field(default_factory=dict)
    _aside_since: dict[Tp, float] = field(default_factory=dict)
    _stopped: dict[Tp, str] = field(default_factory=dict)
    _tails: PartitionEnds = field(default_factory=PartitionEnds)
    _checked_at: float = 0.0
    _display: OffsetDisplay | None = None
    _leaving: "set[asyncio.Task[None]]" = field(default_factory=set)

    async def start(self) -> None:
        """Begin to join the group; Transient when the broker or a topic is missing."""
        install_safe_unpacking()
        inner = AIOKafkaConsumer(
            **member_kwargs(self.settings, self.group), auto_offset_reset="none"
        )
        try:
            await self._connect(inner)
        except BaseException:  # cancelled too, or its connections would stay open
            await self._leave(inner)
            raise
        self._inner = inner
        # Subscribed after the start: otherwise the start would last until the whole group has
        # rejoined, and partitions would be assigned that we cannot pause yet.
        listener = Assignments(self.metrics, self.assign, self.lose)
        inner.subscribe(topics=list(self.topics), listener=listener)
        self._display = OffsetDisplay(inner, self._offsets)
        self._checked_at = asyncio.get_running_loop().time()

    async def _connect(self, inner: AIOKafkaConsumer) -> None:
        try:
            await inner.start()
            missing = set(self.topics) - await inner.topics()
        except (KafkaError, OSError) as error:
            raise Transient(f"Kafka: {type(error).__name__}: {error}") from error
        if missing:
            raise Transient(f"Kafka: no topic {sorted(missing)}; create the topics first")

    @property
    def started(self) -> bool:
        """Whether this is a member of the group, or is joining it."""
        return self._inner is not None

    @property
    def claims(self) -> dict[Tp, Claim]:
        """The partitions that this worker owns now."""
        return self._claims

    @property
    def assigned(self) -> set[Tp]:
        """The partitions that this worker has to read: its claims, and those it is to claim."""
        return self._unclaimed | set(self._claims)

    @property
    def stopped(self) -> dict[Tp, str]:
        """Partitions of this worker that wait for an operator, with the reason."""
        return self._stopped

    @property
    def all_claimed(self) -> bool:
        """True when the group has assigned our share, and all of it is claimed (or stopped).

        The share may be nothing, where there are more workers than partitions.
        """
        return self._joined and not self._unclaimed

    def assign(self, tps: set[Tp]) -> None:
        """Called by the group: pause now, claim in the next poll."""
        if self._inner is not None and tps:
            self._inner.pause(*(TopicPartition(*tp) for tp in tps))
        self._unclaimed |= tps
        self._joined = True

    def lose(self, tps: Iterable[Tp]) -> None:
        """These partitions are no longer assigned: forget them and what was read of them."""
        for tp in tps:
            self._claims.pop(tp, None)
            self._held.pop(tp, None)
            self._aside_since.pop(tp, None)
            self._stopped.pop(tp, None)
            self._unclaimed.discard(tp)
            self._tails.forget(tp)

    def fenced(self, batch: Batch, lost: Iterable[Tp]) -> None:
        """The batch was refused because of `lost`: drop those, keep the rest for the next batch."""
        for tp in lost:
            self._set_aside(tp)
            if self.metrics is not None:
                self.metrics.fence_losses.inc()
        self._held = {tp: r for tp, r in batch.records.items() if tp in self._claims}

    def reclaim(self) -> None:
        """The outcome of the last transaction is unknown: read the stored offsets anew."""
        if self._inner is None:
            return
        ours = {(tp.topic, tp.partition) for tp in self._inner.assignment()}
        self.lose(list(self._claims))
        if ours:
            self.assign(ours)

    async def poll(self) -> Batch:
        """Claim what is newly assigned, then read; may return a batch without records.

        Raises Transient when PostgreSQL or Kafka is unreachable. An error of the library can mean
        that its member is stuck for good: it leaves the group, and `start` makes a new one.
        """
        if self._inner is None:
            raise AssertionError("poll before start")
        self._claim_again()
        await self._check_claims()
        for tp in sorted(self._unclaimed):
            await self._take_over(tp)
        try:
            await self._fill()
            await self._note_tails()
        except NoOffsetForPartitionError:
            pass  # assigned, not yet claimed and sought
        except OffsetOutOfRangeError as error:
            for gone, offset in error.args[0].items():
                await self._stop(
                    (gone.topic, gone.partition),
                    f"offset {offset} is not in the log any more (retention passed us, or the "
                    "topic was recreated)",
                )
        except (KafkaError, OSError) as error:
            await self.close()
            raise Transient(f"Kafka: {type(error).__name__}: {error}") from error
        records, self._held = self._held, {}
        return self._batch(records)

    async def _fill(self) -> None:
        """Read on top of what is held: first an equal share each, so that a busy partition starves
        no other, then what is left of the batch where more is waiting."""
        share = max(1, self.batch_records_max // max(1, len(self._claims)))
        full = [tp for tp in list(self._claims) if await self._top_up(tp, share)]
        room = self.batch_records_max - sum(len(records) for records in self._held.values())
        for tp in full:
            if room > 0:
                room -= await self._read(tp, room)
        if not self._held:
            await self._read(None, share)

    async def _top_up(self, tp: Tp, share: int) -> bool:
        """Read up to the partition's share, also of what a batch left over: else every other batch
        would consist of such rests only. True if it is full: more may be waiting."""
        room = share - len(self._held.get(tp, ()))
        return room <= 0 or await self._read(tp, room) == room

    async def _read(self, tp: Tp | None, records_max: int) -> int:
        """Read what one partition has, or wait for any; returns how many records were kept."""
        if self._inner is None:
            raise AssertionError("read before start")
        # Never wrapped in a timeout: one cancelled getmany switches the poll watchdog off.
        fetched = await self._inner.getmany(
            *(() if tp is None else (TopicPartition(*tp),)),
            timeout_ms=POLL_TIMEOUT_MS if tp is None else 0,
            max_records=records_max,
        )
        kept = 0
        for key, found in fetched.items():
            at = (key.topic, key.partition)
            claim = self._claims.get(at)
            if claim is None:
                continue  # fetched before the claim, or after the loss: will be read again
            fresh = [r for r in found if r.offset >= (claim.next_offset or 0)]
            if fresh:
                self._held.setdefault(at, []).extend(fresh)
                kept += len(fresh)
        return kept

    async def _note_tails(self) -> None:
        """Note the read positions: all unconsumed records are held, so nothing lies behind them."""
        if self._inner is None:
            raise AssertionError("looked at before start")
        ours = self._inner.assignment()
        for tp, claim in list(self._claims.items()):
            if (key := TopicPartition(*tp)) in ours:
                held = self._held.get(tp)
                after = held[-1].offset + 1 if held else claim.next_offset
                self._tails.note(tp, after, await self._inner.position(key))

    def moved(self, batch: Batch, moves: Iterable[Move]) -> None:
        """The transaction with these moves is committed; keep what it did not consume."""
        for move in moves:
            tp = move.claim.tp
            if tp not in self._claims or self._claims[tp].epoch != move.claim.epoch:
                continue
            self._claims[tp] = move.done()
        for tp, records in batch.records.items():
            claim = self._claims.get(tp)
            if claim is None:
                continue
            rest = [r for r in records if r.offset >= (claim.next_offset or 0)]
            if rest:
                self._held[tp] = rest

    def _ends(self) -> dict[Tp, int]:
        """Return the ends as of the last fetch. The library reports none of a partition that the
        group has revoked, even before we are notified."""
        if self._inner is None:
            return {}
        ours = self._inner.assignment()
        asked = {tp: TopicPartition(*tp) for tp in self._claims}
        ends = {tp: self._inner.highwater(key) for tp, key in asked.items() if key in ours}
        return {tp: self._tails.end(tp, end) for tp, end in ends.items() if end is not None}

    def _batch(self, records: dict[Tp, list[ConsumedRecord]]) -> Batch:
        return Batch(dict(self._claims), records, self._ends())

    async def close(self) -> None:
        """Leave the group and forget what was read; `start` begins anew."""
        if self._display is not None:
            await self._display.close()
            self._display = None
        if self._inner is not None:
            inner, self._inner = self._inner, None
            await self._leave(inner)
        self._joined = False
        self.lose([*self._claims, *self._unclaimed, *self._aside_since])

    async def _leave(self, inner: AIOKafkaConsumer) -> None:
        leaving = asyncio.create_task(inner.stop(), name=f"{self.group}-leaving")
        self._leaving.add(leaving)
        leaving.add_done_callback(self._left)
        await asyncio.wait({leaving}, timeout=CLOSE_S)

    def _offsets(self) -> dict[Tp, int]:
        reached = {tp: self._tails.reached(tp, c.next_offset) for tp, c in self._claims.items()}
        return {tp: at for tp, at in reached.items() if at is not None}

    def _left(self, leaving: "asyncio.Task[None]") -> None:
        self._leaving.discard(leaving)
        if not leaving.cancelled() and (error := leaving.exception()) is not None:
            log.warning(
                "could not leave the group: it notices by itself",
                group=self.group,
                error=str(error),
            )

    def _set_aside(self, tp: Tp, position: int | None = None) -> None:
        """Leave a partition alone for a while. One that was never sought needs a position: the
        library resolves it even while paused, and a failure delays the other partitions."""
        self.lose([tp])
        self._aside_since[tp] = asyncio.get_running_loop().time()
        key = TopicPartition(*tp)
        if self._inner is not None and key in self._inner.assignment():
            self._inner.pause(key)
            if position is not None:
                self._inner.seek(key, position)

    def _claim_again(self) -> None:
        now = asyncio.get_running_loop().time()
        due = {tp for tp, at in self._aside_since.items() if now - at > SET_ASIDE_S}
        for tp in due:
            del self._aside_since[tp]
        if self._inner is not None and due:
            ours = {(tp.topic, tp.partition) for tp in self._inner.assignment()}
            self.assign(due & ours)

    async def _check_claims(self) -> None:
        """Notice a raised epoch of a partition that moved nothing and so could not be fenced."""
        now = asyncio.get_running_loop().time()
        if now - self._checked_at < CLAIMS_CHECK_S or not self._claims:
            return
        rows = await self.ledger.list_all()
        self._checked_at = now
        stored = {(row["topic"], row["partition"]): row for row in rows}
        for tp, claim in list(self._claims.items()):
            row = stored.get(tp)
            if row is None or row["epoch"] != claim.epoch:
                log.warning("claim is no longer valid", tp=tp, epoch=claim.epoch)
                self._set_aside(tp)
            elif row["drain_to"] is not None and row["drain_to"] > (claim.next_offset or 0):
                await self.ledger.drained(claim, self._tails.reached(tp, claim.next_offset))

    async def _take_over(self, tp: Tp) -> None:
        inner = self._inner
        if inner is None:
            raise AssertionError("take-over before start")
        problem = await asked(admit(self.ledger, inner, tp))
        if tp not in self._unclaimed:
            return  # lost while another was being claimed: a claim now would fence its owner
        claim = await self.ledger.take_over(tp, self.worker)
        if tp not in self._unclaimed:
            return  # lost again while we claimed
        if claim.waits:
            log.info("waits until the older partitions are drained", tp=tp)
            self._set_aside(tp, claim.next_offset or 0)
            return
        if self.on_claim is not None:
            await self.on_claim(claim)
        if claim.status == "stopped":
            self._note_stopped(claim, claim.status_reason or "")
            return
        key = TopicPartition(*tp)
        compacted = tp[0] in self.compacted
        problem = problem or await asked(misfit(self.settings, inner, claim, compacted=compacted))
        if problem is None:
            start = claim.next_offset
            if start is None:
                start = (await asked(inner.beginning_offsets([key])))[key]
            if tp not in self._unclaimed or key not in inner.assignment():
                return
            inner.seek(key, start)
            inner.resume(key)
        self._unclaimed.discard(tp)
        self._stopped.pop(tp, None)
        self._claims[tp] = claim
        if problem is not None:
            await self._stop(tp, problem)
        else:
            if self.metrics is not None:
                self.metrics.take_overs.inc()
            log.info("claimed", tp=tp, epoch=claim.epoch, offset=start)

    async def _stop(self, tp: Tp, reason: str) -> None:
        claim = self._claims.get(tp)
        if claim is None:
            return
        await self.ledger.stop(claim, reason)
        self._note_stopped(claim, reason)

    def _note_stopped(self, claim: Claim, reason: str) -> None:
        if self._stopped.get(claim.tp) != reason:
            log.error("partition stopped: an operator must decide", tp=claim.tp, reason=reason)
        self._set_aside(claim.tp, claim.next_offset or 0)
        self._stopped[claim.tp] = reason
