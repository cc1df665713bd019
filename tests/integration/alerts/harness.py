"""The handlers of alerts in this process.

They run on a real database and a real receiver, without Kafka, on a clock that a test moves.
"""

import asyncio
from collections.abc import AsyncIterator, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from functools import partial
from ipaddress import ip_network
from typing import Any, Self

import msgspec
import sqlalchemy as sa
from pydantic import SecretStr
from sqlalchemy.ext.asyncio import AsyncEngine

from services.alerts.connectors.check_remote import Described
from services.alerts.connectors.context import ConnectorContext
from services.alerts.connectors.registry import Connectors, check
from services.alerts.connectors.store import MemberRows, OwnerRows, TokenRows
from services.alerts.core.policy import Policy
from services.alerts.delivery.core.endpoint import Endpoint
from services.alerts.delivery.core.retry import DELAYS_S
from services.alerts.delivery.guarded import Guarded
from services.alerts.delivery.http_client import Http
from services.alerts.delivery.send_sample import SendSample
from services.alerts.delivery.sender import DeliverySender, SenderBounds
from services.alerts.delivery.store.deliveries import Deliveries
from services.alerts.delivery.store.endpoint_admin import EndpointAdmin
from services.alerts.delivery.store.endpoint_secrets import EndpointSecrets
from services.alerts.delivery.store.endpoints import Endpoints
from services.alerts.handlers.apply_task_action import ApplyTaskAction
from services.alerts.handlers.dry_run_policy import DryRunPolicy
from services.alerts.handlers.give_verdict import GiveVerdict
from services.alerts.handlers.handle_activity import HandleActivity
from services.alerts.handlers.handle_assessments import HandleAssessments
from services.alerts.handlers.handle_segment_entries import HandleSegmentEntries
from services.alerts.handlers.measure_effect import MeasureEffect, MeasureOutcomes
from services.alerts.handlers.raise_scheduled_tasks import RaiseScheduledTasks
from services.alerts.handlers.record_task_changes import Announcer, RecordTaskChanges
from services.alerts.handlers.run_task_timers import RunTaskTimers
from services.alerts.inbound.activity import ActivityDecoder
from services.alerts.inbound.changes import ChangesDecoder
from services.alerts.inbound.http.dependencies import Parts
from services.alerts.inbound.http.endpoints import Managing
from services.alerts.inbound.risk import RiskDecoder
from services.alerts.reports.effect_page import effect_page
from services.alerts.store.business_clock import BusinessClock
from services.alerts.store.policies import Policies
from services.alerts.store.tables import SCHEMA
from shared.contracts import activity, changes, risk
from shared.contracts.activity import Activity
from shared.contracts.changes import CustomerChanged
from shared.contracts.risk import RiskAssessed
from shared.contracts.treatment import TreatmentRecorded
from shared.http.access import Tokens
from shared.kafka.batch import Batch, ConsumedRecord
from shared.kafka.transaction import BatchTransactions
from shared.postgres.ledger import Ledger
from shared.postgres.outbox import Outbox, unpack
from shared.postgres.suspects import Suspects
from shared.runtime.health import Health
from shared.runtime.isolation import ItemIsolation
from shared.runtime.service import Stop
from tests.fakes.clock import SetClock
from tests.integration.alerts.doubles import Fetched, NoRelay, SetPolicy, learn_effects
from tests.integration.alerts.message_parts import VAULT, customer_messages
from tests.integration.alerts.receiver import LIMIT_S, SECRET

WALL_0 = SetClock().at
LOOPBACK_NETS = (ip_network("127.0.0.0/8"),)


@dataclass(slots=True)
class AlertsHarness:
    """The parts of the service, wired as `main` wires them."""

    engine: AsyncEngine
    clock: SetClock = field(default_factory=SetClock)
    endpoints: dict[str, str] = field(default_factory=dict)
    """Maps an endpoint's id to its URL."""
    like: Endpoint = field(default_factory=lambda: Endpoint(id="any"))
    """The settings that all endpoints of the test share."""
    policy: Policy = field(default_factory=Policy)
    https_only: bool = False
    """Whether connectors may use https only; the fakes on loopback do not."""
    _closing: AsyncExitStack = field(default_factory=AsyncExitStack)
    _offsets: dict[str, int] = field(default_factory=dict)

    async def __aenter__(self) -> Self:
        await self.admin.register(
            [replace(self.like, id=name, url=url) for name, url in self.endpoints.items()],
            self.clock.now(),
        )
        return self

    async def __aexit__(self, *_: object) -> None:
        await self._closing.aclose()

    @property
    def admin(self) -> EndpointAdmin:
        return EndpointAdmin(
            self.engine, EndpointSecrets(VAULT), partial(check, https_only=self.https_only)
        )

    @property
    def stored(self) -> Endpoints:
        return Endpoints(VAULT, {name: (SecretStr(SECRET),) for name in self.endpoints})

    @property
    def careful(self) -> ItemIsolation:
        """The item isolation of a newly started process."""
        return ItemIsolation(Suspects(self.engine, SCHEMA), self.clock, lambda _: None)

    @property
    def book(self) -> RecordTaskChanges:
        return RecordTaskChanges(self.stored, "treatment")

    def shared(self, http: Http) -> ConnectorContext:
        """Return the context that all connectors share."""
        tokens, owners = TokenRows(self.engine, VAULT), OwnerRows(self.engine)
        return ConnectorContext(http, self.clock, tokens, owners, MemberRows(self.engine))

    @property
    def transactions(self) -> BatchTransactions:
        """Return what opens a batch's transactions; nothing is sent."""
        ledger, outbox = Ledger(self.engine, SCHEMA), Outbox(SCHEMA)
        return BatchTransactions(engine=self.engine, ledger=ledger, outbox=outbox, relay=NoRelay())

    def assess(self) -> HandleAssessments:
        return HandleAssessments(
            decode=RiskDecoder("dead"),
            recorder=self.book,
            transactions=self.transactions,
            policies=SetPolicy(self.policy),
            clock=self.clock,
            deliveries_queued=asyncio.Event(),
        )

    def observe(self) -> HandleActivity:
        return HandleActivity(
            decode=ActivityDecoder("dead"),
            recorder=self.book,
            transactions=self.transactions,
            clock=self.clock,
            deliveries_queued=asyncio.Event(),
        )

    def give_verdict(self, *, replay: bool = False) -> GiveVerdict:
        return GiveVerdict(
            engine=self.engine,
            recorder=self.book,
            business_clock=BusinessClock(self.clock, replay=replay),
            clock=self.clock,
            announcer=Announcer(self.clock),
        )

    def act(self, *, replay: bool = False) -> ApplyTaskAction:
        return ApplyTaskAction(
            engine=self.engine,
            policies=SetPolicy(self.policy),
            recorder=self.book,
            business_clock=BusinessClock(self.clock, replay=replay),
            clock=self.clock,
            announcer=Announcer(self.clock),
        )

    def tend(self, *, replay: bool = False) -> RunTaskTimers:
        return RunTaskTimers(
            engine=self.engine,
            policies=SetPolicy(self.policy),
            recorder=self.book,
            business_clock=BusinessClock(self.clock, replay=replay),
            clock=self.clock,
            health=Health(self.clock),
            announcer=Announcer(self.clock),
            isolation=self.careful,
            more={
                "outcomes": MeasureOutcomes(
                    engine=self.engine,
                    policies=SetPolicy(self.policy),
                    late=timedelta(days=2),
                    keep=timedelta(days=60),
                ),
                "effects": learn_effects(self.engine, SetPolicy(self.policy), self.clock),
            },
        )

    def take_care(self) -> RaiseScheduledTasks:
        return RaiseScheduledTasks(
            engine=self.engine,
            policies=SetPolicy(self.policy),
            recorder=self.book,
            clock=self.clock,
            isolation=self.careful,
            announcer=Announcer(self.clock),
        )

    def enter(self) -> HandleSegmentEntries:
        return HandleSegmentEntries(
            decode=ChangesDecoder("dead"),
            policies=SetPolicy(self.policy),
            recorder=self.book,
            transactions=self.transactions,
            clock=self.clock,
            deliveries_queued=asyncio.Event(),
        )

    async def read_changes(self, *messages: CustomerChanged) -> None:
        """Handle one batch of the changes topic."""
        values = [changes.ENCODER.encode(m) for m in messages]
        await self.enter()(await self.batch("changes", values))

    def parts(self, tokens: Tokens) -> Parts:
        return Parts(
            engine=self.engine,
            tokens=tokens,
            give_verdict=self.give_verdict(),
            act=self.act(),
            policies=Policies(),
            try_policy=DryRunPolicy(engine=self.engine),
            measure_effect=MeasureEffect(engine=self.engine, policies=SetPolicy(self.policy)),
            effect_page=effect_page,
            business_clock=BusinessClock(self.clock, replay=False),
            clock=self.clock,
        )

    async def connectors(self, timeout_s: float = 5.0) -> Connectors:
        """Return the connectors of the test's endpoints."""
        http = Http(timeout_s=timeout_s, allowed=LOOPBACK_NETS, clock=self.clock)
        await self._closing.enter_async_context(http)
        return Connectors(self.shared(http), https_only=self.https_only)

    async def managing(self) -> Managing:
        """Return the dependencies of the endpoint routes."""
        connectors = await self.connectors()
        sample = SendSample(
            engine=self.engine,
            endpoints=self.stored,
            connectors=connectors,
            clock=self.clock,
            timeout_s=5.0,
        )
        described = Described(
            connectors.shared, self.engine, self.stored, partial(check, https_only=self.https_only)
        )
        return Managing(self.admin, sample, described, self.clock)

    async def sender(self, timeout_s: float = 5.0, concurrency_max: int = 4) -> DeliverySender:
        """Return the sender of one worker."""
        return DeliverySender(
            self.engine,
            deliveries=Deliveries(),
            endpoints=self.stored,
            connectors=Guarded(
                await self.connectors(timeout_s),
                customer_messages(self.engine, self.clock, self.policy).check_again,
            ),
            sending=SenderBounds(
                concurrency_max=concurrency_max,
                timeout_s=timeout_s,
                margin_s=2.0,
                lease_s=60.0,
                poll_s=0.05,
                delays_s=DELAYS_S,
            ),
            clock=self.clock,
            health=Health(self.clock),
            deliveries_queued=asyncio.Event(),
        )

    async def read_risk(
        self, *messages: RiskAssessed, handle: HandleAssessments | None = None
    ) -> None:
        """Handle one batch of the risk topic, as the owner of its partition."""
        values = [risk.ENCODER.encode(m) for m in messages]
        await (handle or self.assess())(await self.batch("risk", values))

    async def send_messages(self, now: datetime) -> None:
        """Run the step of the timers that sends messages to customers, at `now`."""
        self.clock.at = now
        await customer_messages(self.engine, self.clock, self.policy)(now)

    async def read_activity(self, *events: Activity, handle: HandleActivity | None = None) -> None:
        """Handle one batch of the activity topic."""
        values = [activity.ENCODER.encode(e) for e in events]
        await (handle or self.observe())(await self.batch("activity", values))

    async def batch(self, topic: str, values: Sequence[bytes]) -> Batch:
        """Return a batch of new records under a fresh claim."""
        claim = await Ledger(self.engine, SCHEMA).take_over((topic, 0), "test")
        begin = claim.next_offset or 0
        records: list[ConsumedRecord] = [
            Fetched(topic, 0, begin + n, v) for n, v in enumerate(values)
        ]
        return Batch({claim.tp: claim}, {claim.tp: records}, {})


@asynccontextmanager
async def running(sender: DeliverySender) -> AsyncIterator[None]:
    """Run the sender's loop for the length of the block."""
    stop = Stop()
    loop = asyncio.create_task(sender(stop))
    try:
        yield
    finally:
        stop.set()
        await loop


async def rows(engine: AsyncEngine, query: str) -> list[tuple[Any, ...]]:
    """Return the rows of a query."""
    async with engine.begin() as connection:
        return [tuple(row) for row in await connection.execute(sa.text(query))]


async def outbox(engine: AsyncEngine) -> list[TreatmentRecorded]:
    """Return the outbox's messages, waiting or sent by the last transaction, in order."""
    parcels = await rows(engine, "SELECT messages FROM alerts.outbox ORDER BY id")
    messages = [message for (packed,) in parcels for message in unpack(("", 0), packed)]
    return [msgspec.json.decode(m.value or b"", type=TreatmentRecorded) for m in messages]


async def until(engine: AsyncEngine, query: str, *expected: tuple[Any, ...]) -> None:
    """Wait until a query returns these rows."""
    found: list[tuple[Any, ...]] = []
    try:
        async with asyncio.timeout(LIMIT_S):
            while found != list(expected):
                await asyncio.sleep(0.01)
                found = await rows(engine, query)
    except TimeoutError:
        raise AssertionError(f"{query}: {found}, not {list(expected)}") from None
