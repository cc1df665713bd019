"""Wires scoring together: settings -> adapters -> handlers -> loops. Makes no decisions."""

import asyncio
import socket
from collections.abc import Sequence
from functools import partial

from fastapi import FastAPI
from sqlalchemy.ext.asyncio import AsyncEngine

from services.scoring import metrics
from services.scoring.consumer_lane import ConsumerLane, quarantine_of
from services.scoring.gauges import Silences, observe_aside, read_ages, show
from services.scoring.handlers.import_watch import ImportWatch
from services.scoring.handlers.model_serving import ModelServing
from services.scoring.handlers.monitor_model import MonitorModel
from services.scoring.handlers.record_treatments import RecordTreatments
from services.scoring.handlers.refresh_value_base import RefreshValueBase
from services.scoring.handlers.shadow_scoring import ShadowScoring
from services.scoring.handlers.value_policy_cache import ValuePolicyCache
from services.scoring.inbound.http.absences import add_absence_routes
from services.scoring.inbound.http.customers import add_routes
from services.scoring.inbound.http.segments import add_segment_routes
from services.scoring.inbound.http.value import add_value_routes
from services.scoring.inbound.treatment import TreatmentDecoder
from services.scoring.model.background import Background
from services.scoring.model.loading import loads
from services.scoring.model.rule_model import RuleModel
from services.scoring.model.store import ArtefactStore
from services.scoring.settings import ScoringSettings
from services.scoring.store.business_clock import BusinessClock
from services.scoring.store.classification_queries import ClassificationQueries
from services.scoring.store.definitions import Decisions
from services.scoring.store.erasure import CustomerErasure
from services.scoring.store.export import export_of
from services.scoring.store.history import HistoryReader
from services.scoring.store.identity_queries import IdentityQueries
from services.scoring.store.models import Models
from services.scoring.store.monitoring import MonitoringTables
from services.scoring.store.shadow_scores import Shadows
from services.scoring.store.tables import SCHEMA, api_token
from services.scoring.store.treatments import Treatments
from services.scoring.store.value_jobs import ValueJobs
from services.scoring.store.value_settings import ValueSettings
from shared.contracts.topics import CHANGES, TREATMENT
from shared.http.access import Tokens
from shared.http.app import create_app, limits_of
from shared.http.audit_routes import add_audit_routes
from shared.http.auditing import Auditing
from shared.http.erasures import add_erasure_routes
from shared.http.export_routes import add_export_routes
from shared.http.me_route import add_me_route
from shared.http.token_routes import add_token_routes
from shared.kafka.fenced import FencedConsumer
from shared.kafka.producer import Producer
from shared.kafka.relay import Relay
from shared.kafka.settings import KafkaSettings
from shared.kafka.transaction import BatchTransactions
from shared.kafka.worker import work
from shared.observability.collectors import begin
from shared.postgres.audit import Audit, AuditRetention
from shared.postgres.engine import create_engine
from shared.postgres.erasures import Erasures
from shared.postgres.housekeeping import Housekeeping, Kept, TimeTable
from shared.postgres.ledger import Ledger
from shared.postgres.ledger import TopicPartition as Tp
from shared.postgres.outbox import Outbox
from shared.postgres.settings import PostgresSettings
from shared.postgres.suspects import Suspects
from shared.runtime import service
from shared.runtime.clock import Clock, SystemClock
from shared.runtime.dependencies import Dependencies
from shared.runtime.health import Health
from shared.runtime.isolation import ItemIsolation
from shared.runtime.loop import repeat
from shared.runtime.watching import Reads

ERASURES_S = 60.0
"""Seconds between scans for the stored events of erased customers: one serves all that wait."""

GAUGES_S = 1.0
"""Seconds between updates of the gauges: several per scrape."""


async def run() -> int:
    """Runs the scoring service until SIGTERM; returns the exit status."""
    settings = ScoringSettings()
    kafka = KafkaSettings()
    clock = SystemClock()
    health = Health(clock)
    engine = create_engine(PostgresSettings(), "scoring")
    serving = serving_of(settings, engine)
    shadow = ShadowScoring(serving.challenger, Shadows(engine))
    treatments = _Treatments(settings, kafka, engine)
    isolation = ItemIsolation(Suspects(engine, SCHEMA), clock, observe_aside)
    value = _Value(settings, engine, isolation)
    health.add_note("set_aside", isolation.note)
    lanes = [
        ConsumerLane(n, settings, kafka, engine, serving, value.valuing, shadow, isolation)
        for n in range(settings.lanes)
    ]
    app, of_routes = _application(settings, engine, health, clock)
    imports = ImportWatch(clock)
    _add_checks(health, lanes, serving, value.valuing)
    health.add_note("imports", imports.note)
    dependencies = _dependencies(settings, kafka, engine, health, lanes, treatments)
    housekeeping = _housekeeping(settings, engine, clock)
    read_ages(lanes, serving, clock)
    silences = Silences(settings, engine, clock)
    gauges = partial(show, lanes, value.valuing, imports)

    async def prepare() -> None:
        await serving.refresh()
        await value.valuing.refresh()

    try:
        return await service.run(
            {
                **{lane.name: partial(lane, health=health) for lane in lanes},
                "treatment": lambda stop: treatments(stop, health),
                "model": serving.watch,
                "shadow": shadow.watch,
                "watch": watch_of(settings, engine, serving, clock).watch,
                "housekeeping": housekeeping.watch,
                **of_routes,
                **value.loops,
                "lag": dependencies.watch,
                "silences": silences.watch,
                "gauges": lambda stop: repeat(gauges, stop, "gauges", GAUGES_S),
            },
            app,
            settings,
            health,
            prepare,
        )
    finally:
        await asyncio.gather(
            *(lane.close() for lane in lanes),
            treatments.close(),
            dependencies.close(),
        )
        await engine.dispose()


def _application(
    settings: ScoringSettings, engine: AsyncEngine, health: Health, clock: Clock
) -> tuple[FastAPI, dict[str, service.Loop]]:
    """Builds the HTTP application, and the loops that finish what its routes begin."""
    tokens, audit = Tokens(engine, api_token, clock), Audit(engine, SCHEMA)
    limits = limits_of(settings, guard=tokens, audit=Auditing(entries=audit, clock=clock))
    app = create_app("Ebbwatch scoring", health, limits, settings.instance, metrics.SERVICE)
    _add_routes(app, settings, engine, tokens, clock)
    loops: dict[str, service.Loop] = {
        "erasures": _erasing(app, engine, tokens, clock),
        "audit": AuditRetention(audit, clock, settings.audit_retention_days),
    }
    app.measure()
    return app, loops


def documented(engine: AsyncEngine) -> FastAPI:
    """Builds the HTTP application for its OpenAPI document: reads no settings, never connects."""
    clock = SystemClock()
    return _application(ScoringSettings.model_construct(), engine, Health(clock), clock)[0]


def _dependencies(
    settings: ScoringSettings,
    kafka: KafkaSettings,
    engine: AsyncEngine,
    health: Health,
    lanes: Sequence[ConsumerLane],
    treatments: "_Treatments",
) -> Dependencies:
    """Builds the checks of the servers and the watch on the lag."""

    topics = (settings.activity_topic, settings.treatment_topic)
    begin(metrics.QUARANTINED, topics)

    def owned() -> set[Tp]:
        return set[Tp]().union(treatments.assigned, *(lane.consumer.assigned for lane in lanes))

    def sent() -> list[int]:
        return [*treatments.sent, *(number for lane in lanes for number in lane.sent)]

    reads = Reads(schema=SCHEMA, topics=lambda: topics, owned=owned, sent=sent)
    return Dependencies(health, PostgresSettings(), kafka, engine, metrics.SERVICE, reads)


def watch_of(
    settings: ScoringSettings, engine: AsyncEngine, serving: ModelServing, clock: Clock
) -> MonitorModel:
    """Builds the monitoring of the serving model; an operator's command uses it as well."""
    business = BusinessClock(
        Ledger(engine, SCHEMA), settings.activity_topic, clock, replay=settings.clock == "replay"
    )
    return MonitorModel(
        roll=MonitoringTables(engine),
        background=Background(Models(engine).serving, ArtefactStore(settings.model_store)),
        champion=serving.current,
        challenger=serving.challenger,
        rule=RuleModel,
        labels=settings.labels,
        now=business.now,
        poll_s=settings.watch_poll_s,
    )


def serving_of(settings: ScoringSettings, engine: AsyncEngine) -> ModelServing:
    """Builds what keeps the promoted model in memory."""
    return ModelServing(
        Models(engine),
        ArtefactStore(settings.model_store),
        loads,
        RuleModel(settings.horizon_days),
        settings.model_poll_s,
    )


class _Treatments:
    """Loop of the treatment topic."""

    def __init__(
        self, settings: ScoringSettings, kafka: KafkaSettings, engine: AsyncEngine
    ) -> None:
        ledger, outbox = Ledger(engine, SCHEMA), Outbox(SCHEMA)
        self._relay = Relay(engine, outbox, Producer(kafka, "scoring-treatment"))
        self._consumer = FencedConsumer(
            settings=kafka,
            ledger=ledger,
            topics=(settings.treatment_topic,),
            group=f"{settings.group}-treatment",
            worker=socket.gethostname(),
            batch_records_max=settings.treatment_batch_records_max,
            on_claim=self._relay.recover,
            metrics=metrics.SERVICE,
        )
        transactions = BatchTransactions(
            engine=engine, ledger=ledger, outbox=outbox, relay=self._relay
        )
        self._quarantine = quarantine_of(settings, transactions)
        self._handle = RecordTreatments(
            transactions=transactions,
            decode=TreatmentDecoder(settings.dead_letter_topic),
            treatments=Treatments(engine),
            erasures=Erasures(SCHEMA),
        )

    async def __call__(self, stop: service.Stop, health: Health) -> None:
        await work(self._consumer, self._handle, self._quarantine, stop, health, "treatment")

    @property
    def sent(self) -> list[int]:
        """Ids of the outbox's rows that were sent and not yet deleted."""
        return self._relay.acknowledged

    @property
    def assigned(self) -> set[Tp]:
        """The partitions of the topic that this process has to read."""
        return self._consumer.assigned

    async def close(self) -> None:
        await self._relay.close()


def _add_routes(
    app: FastAPI, settings: ScoringSettings, engine: AsyncEngine, tokens: Tokens, clock: Clock
) -> None:
    lists, decisions = ClassificationQueries(engine), Decisions(engine)
    identity = IdentityQueries(engine)
    add_segment_routes(app, lists, decisions, tokens, clock)
    add_value_routes(app, lists, decisions, identity, tokens, clock)
    add_absence_routes(app, decisions, identity, tokens, clock)
    add_routes(app, HistoryReader(engine), identity, tokens)
    add_audit_routes(app, Audit(engine, SCHEMA), tokens)
    add_me_route(app, tokens)
    add_token_routes(app, tokens, SCHEMA, clock)
    add_export_routes(app, export_of(engine, settings.reporting_currency), tokens, clock)


def _erasing(app: FastAPI, engine: AsyncEngine, tokens: Tokens, clock: Clock) -> service.Loop:
    """Adds the routes of erasures; builds the loop that deletes erased customers' events."""
    erasure = CustomerErasure(engine)
    topics = (TREATMENT, CHANGES)
    add_erasure_routes(app, engine, erasure.erasures, tokens, topics)

    async def erase_events() -> None:
        await erasure.delete_events(clock.now())

    return lambda stop: repeat(erase_events, stop, "erasures", ERASURES_S)


class _Value:
    """Value policy in force and the measurement of the customer base, with their loops."""

    def __init__(
        self, settings: ScoringSettings, engine: AsyncEngine, isolation: ItemIsolation
    ) -> None:
        self.valuing = ValuePolicyCache(
            ValueSettings(engine), settings.value_poll_s, settings.lapse_clock, isolation
        )
        refresh = RefreshValueBase(
            ValueJobs(engine),
            self.valuing.current,
            isolation.clock,
            refresh_s=settings.value_refresh_s,
            first_s=settings.value_first_s,
        )
        self.loops = {"valuation": self.valuing.watch, "value": refresh.watch}


def _housekeeping(settings: ScoringSettings, engine: AsyncEngine, clock: Clock) -> Housekeeping:
    def observe(kept: Kept) -> None:
        name = kept.table.name
        until = 0.0 if kept.ahead_until is None else kept.ahead_until.timestamp()
        metrics.HISTORY_PARTITIONS.labels(name).set(kept.partitions)
        metrics.HISTORY_AHEAD_SECONDS.labels(name).set(until - clock.now().timestamp())
        metrics.HISTORY_REST.labels(name).set(kept.rest_rows)
        metrics.HISTORY_DROPPED.labels(name).inc(kept.dropped)

    return Housekeeping(engine, clock, kept_tables(settings), observe)


def kept_tables(settings: ScoringSettings) -> tuple[TimeTable, ...]:
    """Returns the tables partitioned by time, with their retention."""
    return (
        TimeTable("scoring.event", "recorded_at", "month", settings.event_retention_days),
        TimeTable(
            "scoring.assessment_history",
            "recorded_at",
            "month",
            settings.assessment_retention_days,
        ),
        TimeTable(
            "scoring.standing_change",
            "recorded_at",
            "month",
            settings.assessment_retention_days,
        ),
    )


def _add_checks(
    health: Health, lanes: Sequence[ConsumerLane], serving: ModelServing, valuing: ValuePolicyCache
) -> None:
    async def assigned() -> str | None:
        all_claimed = all(lane.consumer.all_claimed for lane in lanes)
        return None if all_claimed else "partitions are not claimed yet"

    async def model() -> str | None:
        return serving.damaged if serving.checked else "the model registry was not read yet"

    async def unusable() -> str | None:
        return None if serving.damaged else serving.unusable

    async def disabled() -> str | None:
        names = ", ".join(sorted(valuing.unusable))
        return f"segments that cannot be run, and are not: {names}" if names else None

    health.add_check("partitions", assigned)
    health.add_check("model", model)
    health.add_note("model_unusable", unusable)
    health.add_note("segments", disabled)
