"""Wires alerts together: settings -> adapters -> handlers -> loops. No decisions in here."""

from collections.abc import Mapping
from contextlib import AsyncExitStack
from datetime import timedelta
from functools import partial

from fastapi import FastAPI
from sqlalchemy.ext.asyncio import AsyncEngine

from services.alerts import metrics
from services.alerts.components import Alerts
from services.alerts.connectors.registry import Connectors, refused
from services.alerts.connectors.routes import add_crm_callbacks
from services.alerts.consumers import consumer, reading
from services.alerts.delivery.purge import Purge
from services.alerts.delivery.sender import raise_alarm
from services.alerts.delivery.store.delivery_log import DeliveryLog
from services.alerts.delivery.store.endpoint_admin import EndpointAdmin
from services.alerts.handlers.publish_verdicts import PublishVerdicts
from services.alerts.handlers.update_gauges import UpdateGauges
from services.alerts.inbound.http import add_routes
from services.alerts.inbound.http.callbacks import BODIES, CALLBACKS, add_callbacks
from services.alerts.inbound.http.connectors import add_connectors
from services.alerts.inbound.http.endpoints import add_endpoints
from services.alerts.inbound.http.visible import owners_now
from services.alerts.inbound.policy_file import read_policy
from services.alerts.settings import AlertsSettings
from services.alerts.store.due_tasks import OpenTasks
from services.alerts.store.export import export_of
from services.alerts.store.of_every_service import ERASURES
from services.alerts.store.tables import SCHEMA
from services.alerts.timers import tend
from shared.contracts import topics
from shared.http.app import create_app, limits_of
from shared.http.audit_routes import add_audit_routes
from shared.http.auditing import Auditing
from shared.http.erasures import add_erasure_routes
from shared.http.export_routes import add_export_routes
from shared.http.me_route import add_me_route
from shared.http.token_routes import add_token_routes
from shared.kafka.fenced import FencedConsumer
from shared.kafka.settings import KafkaSettings
from shared.observability.collectors import begin
from shared.postgres.audit import Audit, AuditRetention
from shared.postgres.engine import create_engine, unit_of_work
from shared.postgres.ledger import TopicPartition as Tp
from shared.postgres.settings import PostgresSettings
from shared.runtime import service
from shared.runtime.dependencies import Dependencies
from shared.runtime.watching import Reads


async def run() -> int:
    """Run the alerts service until SIGTERM; return the exit status."""
    settings = AlertsSettings()
    postgres, kafka = PostgresSettings(), KafkaSettings()
    engine = create_engine(postgres, "alerts")
    alerts = Alerts(settings, kafka, engine)
    consumers = _consumers(alerts)
    read = (settings.risk_topic, settings.activity_topic, settings.changes_topic)
    begin(metrics.QUARANTINED, read)
    dependencies = Dependencies(
        alerts.health,
        postgres,
        kafka,
        engine,
        metrics.SERVICE,
        Reads(
            schema=SCHEMA,
            topics=lambda: read,
            owned=lambda: set[Tp]().union(*(each.assigned for each in consumers.values())),
            sent=lambda: [n for relay in alerts.relays.values() for n in relay.acknowledged],
        ),
    )
    async with AsyncExitStack() as closing:
        closing.push_async_callback(engine.dispose)
        closing.push_async_callback(dependencies.close)
        for relay in alerts.relays.values():
            closing.push_async_callback(relay.close)
        http = await closing.enter_async_context(alerts.http())
        connectors = alerts.connectors(http)
        closing.push_async_callback(connectors.close)
        return await _run(alerts, connectors, consumers, dependencies.watch)


def _application(
    alerts: Alerts, connectors: Connectors, admin: EndpointAdmin, audit: Audit
) -> FastAPI:
    """Build the HTTP application."""
    settings, parts = alerts.settings, alerts.parts()
    auditing = Auditing(entries=audit, clock=alerts.clock)
    limits = limits_of(
        settings, guard=parts.tokens, open=(CALLBACKS,), bodies=BODIES, audit=auditing
    )
    app = create_app("Ebbwatch alerts", alerts.health, limits, settings.instance, metrics.SERVICE)
    add_routes(app, parts)
    managing = alerts.managing(admin, connectors)
    add_endpoints(app, parts.tokens, managing)
    add_connectors(app, alerts.engine, parts.tokens, alerts.endpoints, managing.check_remote)
    add_erasure_routes(app, alerts.engine, ERASURES, parts.tokens, (topics.TREATMENT,))
    add_audit_routes(app, audit, parts.tokens)
    add_me_route(app, parts.tokens, partial(owners_now, alerts.engine))
    add_token_routes(app, parts.tokens, SCHEMA, alerts.clock)
    add_export_routes(app, export_of(alerts.engine), parts.tokens, alerts.clock)
    add_callbacks(app, alerts.returning(DeliveryLog(alerts.engine)))
    add_crm_callbacks(app, alerts.crm_callbacks(connectors))
    app.measure()
    return app


def documented(engine: AsyncEngine) -> FastAPI:
    """Build the HTTP application for its OpenAPI document: it reads no settings, never connects."""
    alerts = Alerts(AlertsSettings.model_construct(), KafkaSettings.model_construct(), engine)
    connectors = alerts.connectors(alerts.http())
    return _application(alerts, connectors, alerts.endpoint_admin(), Audit(engine, SCHEMA))


def _consumers(alerts: Alerts) -> dict[str, FencedConsumer]:
    """Build the consumers of the topics, by the name of their loop."""
    settings = alerts.settings
    read = {
        "risk": (settings.risk_topic, settings.risk_batch_records_max),
        "activity": (settings.activity_topic, settings.activity_batch_records_max),
        "changes": (settings.changes_topic, settings.changes_batch_records_max),
    }
    return {name: consumer(alerts, name, *what) for name, what in read.items()}


async def _run(
    alerts: Alerts,
    connectors: Connectors,
    consumers: Mapping[str, FencedConsumer],
    watch: service.Loop,
) -> int:
    settings, health = alerts.settings, alerts.health
    log = DeliveryLog(alerts.engine)
    admin = alerts.endpoint_admin()
    first = read_policy(settings.policy_file, earlier=True)

    async def prepare() -> None:
        await admin.register([e.endpoint() for e in settings.endpoints], alerts.clock.now())
        may_not = partial(refused, https_only=settings.delivery_https_only)
        raise_alarm(await admin.switch_off(may_not, alerts.clock.now()))
        async with unit_of_work(alerts.engine) as unit:
            await alerts.policies.begin_with(unit, first, alerts.clock.now())

    audit = Audit(alerts.engine, SCHEMA)
    app = _application(alerts, connectors, admin, audit)

    async def assigned() -> str | None:
        all_claimed = all(each.all_claimed for each in consumers.values())
        return None if all_claimed else "partitions are not claimed yet"

    health.add_check("partitions", assigned)
    health.add_note("set_aside", alerts.isolation.note)

    loops: dict[str, service.Loop] = {
        "risk": reading(alerts, "risk", consumers["risk"], alerts.handle_assessments()),
        "activity": reading(alerts, "activity", consumers["activity"], alerts.handle_activity()),
        "changes": reading(
            alerts, "changes", consumers["changes"], alerts.handle_segment_entries()
        ),
        "deliver": alerts.deliver(connectors),
        "looks": alerts.poll_changes(connectors),
        "verdicts": PublishVerdicts(
            alerts.relays["verdicts"].recover, alerts.announcer.treatments_queued, health
        ),
        "tend": tend(alerts),
        "forget": Purge(
            forget=log.forget,
            keep=timedelta(days=settings.delivery_log_days),
            clock=alerts.clock,
            health=health,
        ),
        "erasures": alerts.erase_messages(),
        "audit": AuditRetention(audit, alerts.clock, settings.audit_retention_days),
        "housekeeping": alerts.housekeeping().watch,
        "lag": watch,
        "measure": UpdateGauges(
            waiting=log.waiting,
            open_tasks=OpenTasks(alerts.engine),
            endpoints=admin.ids,
            clock=alerts.clock,
            health=health,
        ),
        "warnings": alerts.measure_warnings(),
    }
    return await service.run(loops, app, settings, health, prepare)
