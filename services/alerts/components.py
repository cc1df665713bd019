"""Builds the components of alerts from its settings: adapters, handlers, loops. No decisions."""

import asyncio
from functools import partial

from sqlalchemy.ext.asyncio import AsyncEngine

from services.alerts import metrics
from services.alerts.connectors.check_remote import Described
from services.alerts.connectors.context import ConnectorContext
from services.alerts.connectors.poll_changes import PollChanges
from services.alerts.connectors.registry import Connectors, check
from services.alerts.connectors.routes import CallbackContext
from services.alerts.connectors.store import (
    CallbackRows,
    MemberRows,
    OwnerRows,
    PollRows,
    TokenRows,
)
from services.alerts.connectors.wecom.card_click import HandleCardClick
from services.alerts.core.wording.numbers import Language
from services.alerts.delivery.core.encryption_key import key_of as aes_key
from services.alerts.delivery.guarded import Guarded
from services.alerts.delivery.http_client import Http
from services.alerts.delivery.send_sample import SendSample
from services.alerts.delivery.sender import DeliverySender, SenderBounds
from services.alerts.delivery.store.deliveries import Deliveries
from services.alerts.delivery.store.delivery_log import DeliveryLog
from services.alerts.delivery.store.encryption import Encryption
from services.alerts.delivery.store.endpoint_admin import EndpointAdmin
from services.alerts.delivery.store.endpoint_secrets import EndpointSecrets
from services.alerts.delivery.store.endpoints import Endpoints
from services.alerts.handlers.apply_task_action import ApplyTaskAction
from services.alerts.handlers.decide_messages import DecideMessages
from services.alerts.handlers.dry_run_policy import DryRunPolicy
from services.alerts.handlers.erase_customers import EraseMessages
from services.alerts.handlers.give_verdict import GiveVerdict
from services.alerts.handlers.handle_activity import HandleActivity
from services.alerts.handlers.handle_assessments import HandleAssessments
from services.alerts.handlers.handle_segment_entries import HandleSegmentEntries
from services.alerts.handlers.measure_effect import EffectReport, MeasureEffect
from services.alerts.handlers.measure_warnings import MeasureWarnings
from services.alerts.handlers.record_task_changes import Announcer, RecordTaskChanges
from services.alerts.handlers.send_customer_messages import SendCustomerMessages
from services.alerts.handlers.take_message_result import TakeMessageResult
from services.alerts.handlers.update_gauges import observe_aside, observe_kept, observe_realised
from services.alerts.inbound.activity import ActivityDecoder
from services.alerts.inbound.changes import ChangesDecoder
from services.alerts.inbound.http.callbacks import Returning
from services.alerts.inbound.http.dependencies import Parts
from services.alerts.inbound.http.endpoints import Managing
from services.alerts.inbound.risk import RiskDecoder
from services.alerts.settings import LEASE_MARGIN_S, AlertsSettings
from services.alerts.store.business_clock import BusinessClock
from services.alerts.store.of_every_service import OUTBOX
from services.alerts.store.policies import Policies
from services.alerts.store.tables import SCHEMA, api_token
from services.alerts.store.uplift_fits import UpliftFits
from shared.http.access import Tokens
from shared.kafka.producer import Producer
from shared.kafka.relay import Relay
from shared.kafka.settings import KafkaSettings
from shared.kafka.transaction import BatchTransactions
from shared.postgres.housekeeping import Housekeeping, TimeTable
from shared.postgres.ledger import Ledger
from shared.postgres.suspects import Suspects
from shared.runtime.clock import SystemClock
from shared.runtime.health import Health
from shared.runtime.isolation import ItemIsolation


class Alerts:
    """Everything that the service is made of, built from its settings."""

    def __init__(self, settings: AlertsSettings, kafka: KafkaSettings, engine: AsyncEngine) -> None:
        self.settings = settings
        self.kafka = kafka
        self.engine = engine
        self.clock = SystemClock()
        self.health = Health(self.clock)
        self.business_clock = BusinessClock(self.clock, replay=settings.clock == "replay")
        self.ledger = Ledger(engine, SCHEMA)
        self.policies, self.fits = Policies(), UpliftFits()
        self.vault = Encryption([aes_key(k.get_secret_value()) for k in settings.secret_keys])
        fixed = {endpoint.id: endpoint.secrets for endpoint in settings.endpoints}
        self.endpoints = Endpoints(self.vault, fixed)
        self.recorder = RecordTaskChanges(self.endpoints, settings.treatment_topic)
        self.announcer, self.poll_requested = Announcer(self.clock), asyncio.Event()
        self.deliveries_queued = self.announcer.deliveries_queued
        self.isolation = ItemIsolation(Suspects(engine, SCHEMA), self.clock, observe_aside)
        self.owner_rows, self.polls = OwnerRows(engine), PollRows(engine)
        self.customer_messages = SendCustomerMessages(
            engine=engine,
            decide=DecideMessages(policies=self.policies),
            business_clock=self.business_clock,
            clock=self.clock,
            isolation=self.isolation,
            deliveries_queued=self.deliveries_queued,
        )
        self.relays = {
            name: Relay(engine, OUTBOX, Producer(kafka, f"alerts-{name}"))
            for name in ("risk", "activity", "changes", "verdicts")
        }

    def transactions(self, name: str) -> BatchTransactions:
        """Return what opens the transactions of one consumer loop."""
        return BatchTransactions(
            engine=self.engine,
            ledger=self.ledger,
            outbox=OUTBOX,
            relay=self.relays[name],
            timed=metrics.SERVICE.timed,
        )

    def handle_assessments(self) -> HandleAssessments:
        """Return the handler of the risk topic."""
        return HandleAssessments(
            decode=RiskDecoder(self.settings.dead_letter_topic),
            policies=self.policies,
            recorder=self.recorder,
            transactions=self.transactions("risk"),
            clock=self.clock,
            deliveries_queued=self.deliveries_queued,
            fits=self.fits,
        )

    def handle_activity(self) -> HandleActivity:
        """Return the handler of the activity topic."""
        return HandleActivity(
            decode=ActivityDecoder(self.settings.dead_letter_topic),
            recorder=self.recorder,
            transactions=self.transactions("activity"),
            clock=self.clock,
            deliveries_queued=self.deliveries_queued,
            live=self.settings.clock != "replay",
        )

    def handle_segment_entries(self) -> HandleSegmentEntries:
        """Return the handler of the changes topic."""
        return HandleSegmentEntries(
            decode=ChangesDecoder(self.settings.dead_letter_topic),
            policies=self.policies,
            recorder=self.recorder,
            transactions=self.transactions("changes"),
            clock=self.clock,
            deliveries_queued=self.deliveries_queued,
        )

    def give_verdict(self) -> GiveVerdict:
        """Return the handler of owners' verdicts."""
        return GiveVerdict(
            engine=self.engine,
            recorder=self.recorder,
            business_clock=self.business_clock,
            clock=self.clock,
            announcer=self.announcer,
        )

    def act(self) -> ApplyTaskAction:
        """Return the handler of owners' other actions."""
        return ApplyTaskAction(
            engine=self.engine,
            policies=self.policies,
            recorder=self.recorder,
            business_clock=self.business_clock,
            clock=self.clock,
            announcer=self.announcer,
        )

    def parts(self) -> Parts:
        """Return the dependencies of the HTTP API."""
        return Parts(
            engine=self.engine,
            tokens=Tokens(self.engine, api_token, self.clock),
            give_verdict=self.give_verdict(),
            act=self.act(),
            policies=self.policies,
            try_policy=DryRunPolicy(engine=self.engine),
            measure_effect=MeasureEffect(engine=self.engine, policies=self.policies),
            effect_page=_effect_page,
            business_clock=self.business_clock,
            clock=self.clock,
        )

    def measure_warnings(self) -> MeasureWarnings:
        """Return the loop that measures what became of the warnings."""
        return MeasureWarnings(
            engine=self.engine,
            policies=self.policies,
            stored=DryRunPolicy(engine=self.engine),
            business_clock=self.business_clock,
            observe=observe_realised,
        )

    def endpoint_admin(self) -> EndpointAdmin:
        """Return the admin that creates and changes endpoints."""
        https_only = self.settings.delivery_https_only
        return EndpointAdmin(
            self.engine, EndpointSecrets(self.vault), partial(check, https_only=https_only)
        )

    def managing(self, admin: EndpointAdmin, connectors: Connectors) -> Managing:
        """Return the dependencies of the endpoint routes."""
        send_sample = SendSample(
            engine=self.engine,
            endpoints=self.endpoints,
            connectors=connectors,
            clock=self.clock,
            timeout_s=self.settings.delivery_timeout_s,
        )
        https_only = self.settings.delivery_https_only
        described = Described(
            connectors.shared, self.engine, self.endpoints, partial(check, https_only=https_only)
        )
        return Managing(admin, send_sample, described, self.clock)

    def returning(self, log: DeliveryLog) -> Returning:
        """Return the dependencies of the callback route of webhooks."""
        take_result = TakeMessageResult(
            engine=self.engine,
            recorder=self.recorder,
            deliveries_queued=self.deliveries_queued,
            business_clock=self.business_clock,
            clock=self.clock,
        )
        return Returning(
            self.engine, self.endpoints, log, self.give_verdict(), take_result, self.clock
        )

    def erase_messages(self) -> EraseMessages:
        """Return the loop that deletes erased customers' messages."""
        return EraseMessages(engine=self.engine, clock=self.clock)

    def housekeeping(self) -> Housekeeping:
        """Return the housekeeping that partitions the log of attempts by days."""
        table = TimeTable("alerts.attempt", "started_at", "day", self.settings.delivery_log_days)
        return Housekeeping(self.engine, self.clock, (table,), observe_kept)

    def http(self) -> Http:
        """Return the HTTP client for requests to endpoints."""
        return Http(
            timeout_s=self.settings.delivery_timeout_s,
            allowed=self.settings.delivery_allowed_networks,
            clock=self.clock,
        )

    def connectors(self, http: Http) -> Connectors:
        """Return the connectors, which communicate with the endpoints."""
        tokens = TokenRows(self.engine, self.vault)
        return Connectors(
            ConnectorContext(http, self.clock, tokens, self.owner_rows, MemberRows(self.engine)),
            https_only=self.settings.delivery_https_only,
        )

    def poll_changes(self, connectors: Connectors) -> PollChanges:
        """Return the loop that polls owners' changes from their CRMs."""
        return PollChanges(
            self.engine,
            endpoints=self.endpoints,
            readers=connectors,
            polls=self.polls,
            give_verdict=self.give_verdict(),
            clock=self.clock,
            health=self.health,
            poll_requested=self.poll_requested,
            isolation=self.isolation,
        )

    def crm_callbacks(self, connectors: Connectors) -> CallbackContext:
        """Return the dependencies of the routes for CRMs' callbacks."""
        take_click = HandleCardClick(
            engine=self.engine,
            owners=self.owner_rows,
            callbacks=CallbackRows(self.engine),
            give_verdict=self.give_verdict(),
            clock=self.clock,
        )
        return CallbackContext(
            engine=self.engine,
            endpoints=self.endpoints,
            polls=self.polls,
            poll_requested=self.poll_requested,
            take_click=take_click,
            cards=connectors,
            clock=self.clock,
        )

    def deliver(self, connectors: Connectors) -> DeliverySender:
        """Return the loop of the delivery sender."""
        return DeliverySender(
            self.engine,
            deliveries=Deliveries(),
            endpoints=self.endpoints,
            connectors=Guarded(connectors, self.customer_messages.check_again),
            sending=SenderBounds(
                concurrency_max=self.settings.delivery_concurrency_max,
                timeout_s=self.settings.delivery_timeout_s,
                margin_s=LEASE_MARGIN_S,
                lease_s=self.settings.delivery_lease_s,
                poll_s=self.settings.delivery_poll_ms / 1000,
                delays_s=self.settings.delivery_delays_s,
            ),
            clock=self.clock,
            health=self.health,
            deliveries_queued=self.deliveries_queued,
        )


def _effect_page(report: EffectReport, language: Language) -> str:
    """Return the report as HTML."""
    # Plots are 30 MB, and most processes are never asked for one.
    from services.alerts.reports.effect_page import effect_page  # noqa: PLC0415

    return effect_page(report, language)
