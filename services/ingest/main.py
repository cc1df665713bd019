"""Wires ingest together: settings -> adapters -> handlers -> loops. It makes no decisions."""

import asyncio
import contextlib
import socket

from fastapi import FastAPI
from sqlalchemy.ext.asyncio import AsyncEngine

from services.ingest import metrics
from services.ingest.core.http_sources import read_sources
from services.ingest.core.rates import RateTable
from services.ingest.core.sender_rates import SenderRates
from services.ingest.handlers.accept_batch import AcceptBatch
from services.ingest.handlers.answer_once import AnswerOnce
from services.ingest.handlers.discard_dead_letters import DiscardDeadLetters, DropContents
from services.ingest.handlers.index_dead_letters import IndexDeadLetters
from services.ingest.handlers.keep_refused import KeepRefused
from services.ingest.handlers.open_frames import OpenFrames
from services.ingest.handlers.publish_events import Keep, PublishEvents
from services.ingest.handlers.publish_mapped import PublishMapped
from services.ingest.handlers.replay_dead_letters import ReplayDeadLetters
from services.ingest.handlers.request_erasure import FinishErasures, RequestErasure
from services.ingest.handlers.send_together import SendTogether
from services.ingest.handlers.use_mappings import UseMappings
from services.ingest.handlers.watch_clocks import ClockWatch
from services.ingest.handlers.watch_flood import FloodWatch
from services.ingest.inbound.http import BASIC, BODIES, OPEN, add_routes
from services.ingest.inbound.http.dead_letters import add_dead_letters
from services.ingest.inbound.http.erasures import add_erasures
from services.ingest.inbound.http.parts import Parts
from services.ingest.inbound.raw_consumer import RawConsumer
from services.ingest.inbound.raw_topics import RawTopics
from services.ingest.inbound.source_mappings import SourceMappings
from services.ingest.outbound.schema_registry import SchemaRegistry
from services.ingest.ports import Topics
from services.ingest.settings import IngestSettings
from services.ingest.store.answers import StoredAnswers
from services.ingest.store.dead_letters import DeadLetters
from services.ingest.store.export import export_of
from services.ingest.store.mappings import Mappings
from services.ingest.store.source_clocks import SourceClockDays
from services.ingest.store.stops import Stops
from services.ingest.store.tables import SCHEMA, api_token
from services.ingest.store.unfinished_records import UnfinishedRecords
from shared.contracts.dead_letter import Headers
from shared.contracts.topics import ACTIVITY, DEAD_LETTER, RAW
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
from shared.kafka.quarantine import PassOver, Quarantine
from shared.kafka.settings import KafkaSettings
from shared.kafka.worker import work
from shared.kernel.errors import Invalid
from shared.observability.collectors import begin
from shared.postgres.audit import Audit, AuditRetention
from shared.postgres.engine import create_engine
from shared.postgres.erasures import Erasures
from shared.postgres.ledger import Ledger
from shared.postgres.settings import PostgresSettings
from shared.runtime import service
from shared.runtime.clock import Clock, SystemClock
from shared.runtime.dependencies import Dependencies
from shared.runtime.health import Health
from shared.runtime.service import Stop
from shared.runtime.watching import Reads

LETTERS_RECORDS_MAX = 500
"""Dead letters stored in one transaction; they are rare, and large ones have megabytes."""

LET_GO_S = 0.5
"""Seconds for closing the producers: what they sent is acknowledged or already reported as
failed."""


def read_rates(settings: IngestSettings) -> RateTable:
    """Reads the rate table of the settings; Invalid or OSError when its file cannot be used."""
    if settings.rates_file is None:
        return RateTable(settings.reporting_currency)
    return RateTable.parse(settings.reporting_currency, settings.rates_file.read_text("utf-8"))


def _registry(settings: IngestSettings) -> SchemaRegistry | None:
    """Builds the client of the schema registry, where there is one; raises OSError."""
    if settings.registry_url is None:
        return None
    password = settings.registry_password.get_secret_value()
    return SchemaRegistry(
        settings.registry_url, settings.registry_user, password, settings.registry_cafile
    )


def _letter_consumer(
    settings: IngestSettings, kafka: KafkaSettings, engine: AsyncEngine
) -> FencedConsumer:
    """Builds the consumer of dead letters."""
    return FencedConsumer(
        settings=kafka,
        ledger=Ledger(engine, SCHEMA),
        topics=(settings.dead_letter_topic,),
        group=f"{settings.group}-dead-letters",
        worker=socket.gethostname(),
        batch_records_max=LETTERS_RECORDS_MAX,
        metrics=metrics.SERVICE,
    )


def _letters(
    letters: FencedConsumer, engine: AsyncEngine, clock: Clock, health: Health
) -> service.Loop:
    """Builds the loop that indexes dead letters."""
    ledger = Ledger(engine, SCHEMA)
    passed = PassOver(
        engine=engine,
        ledger=ledger,
        observe=lambda topic: metrics.QUARANTINED.labels(topic).inc(),
    )
    quarantine = Quarantine(ledger.unfinished, passed)
    index = IndexDeadLetters(
        engine,
        ledger,
        DeadLetters(engine),
        Erasures(SCHEMA),
        clock,
        observe=lambda stage: metrics.INDEXED.labels(metrics.stage_label(stage)).inc(),
    )

    async def index_letters(stop: Stop) -> None:
        await work(letters, index, quarantine, stop, health, "dead-letters")

    return index_letters


def _parts(
    settings: IngestSettings,
    engine: AsyncEngine,
    outlet: Producer,
    rates: RateTable,
    keep: Keep,
    sources: SourceMappings,
    clock: Clock,
) -> Parts:
    """Builds what the HTTP routes need; all of them send together."""
    send, raw_topic = SendTogether(outlet), settings.raw_topics[0]
    return Parts(
        PublishEvents(send, raw_topic, rates, clock, keep, settings.unknown_fields),
        PublishMapped(send, raw_topic, rates, clock, keep, metrics.http_records),
        sources.usable,
        sources.signed,
        Tokens(engine, api_token, clock),
        SenderRates(settings.http_events_per_minute),
        AnswerOnce(StoredAnswers(engine), clock),
        clock,
    )


def _keep(settings: IngestSettings, outlet: Producer, clock: Clock) -> KeepRefused:
    """Builds what keeps refusals over HTTP as dead letters."""
    return KeepRefused(
        outlet,
        settings.dead_letter_topic,
        settings.http_refused_bytes_per_minute,
        clock,
        observe=lambda outcome, count: metrics.HTTP_REFUSED.labels(outcome).inc(count),
    )


def _both(clocks: ClockWatch, keep: KeepRefused) -> Keep:
    """Returns what gives a refusal over HTTP to both."""

    def both(value: bytes, fault: Invalid, headers: Headers, origin: str) -> None:
        clocks.refused(value, fault, headers)
        keep(value, fault, headers, origin)

    return both


def _dead_letters(
    settings: IngestSettings,
    engine: AsyncEngine,
    outlet: Producer,
    clock: Clock,
    app: FastAPI,
    tokens: Tokens,
) -> service.Loop:
    """Adds the routes of dead letters; builds the loop that deletes settled contents."""
    letters = DeadLetters(engine)
    replay = ReplayDeadLetters(letters, outlet, clock, settings.raw_topics[0])
    add_dead_letters(app, letters, replay, DiscardDeadLetters(letters, clock), tokens)
    return DropContents(letters, clock, settings.dead_letter_content_days).watch


def _add_erasures(
    settings: IngestSettings,
    engine: AsyncEngine,
    outlet: Producer,
    clock: Clock,
    app: FastAPI,
    tokens: Tokens,
) -> service.Loop:
    """Adds the routes of erasures; builds the loop that finishes them."""
    erasures = Erasures(SCHEMA)
    request_erasure = RequestErasure(
        engine=engine,
        outlet=outlet,
        activity_topic=settings.activity_topic,
        erasures=erasures,
        clock=clock,
    )
    add_erasures(app, request_erasure, tokens)
    add_erasure_routes(app, engine, erasures, tokens, (RAW, ACTIVITY, DEAD_LETTER))
    return FinishErasures(engine=engine, erasures=erasures, clock=clock).watch


def _accept(
    settings: IngestSettings,
    outlet: Producer,
    rates: RateTable,
    mappings: UseMappings,
    sources: SourceMappings,
    clocks: ClockWatch,
    frames: OpenFrames,
) -> AcceptBatch:
    """Builds what decides on raw records."""
    return AcceptBatch(
        outlet,
        Topics(settings.activity_topic, settings.dead_letter_topic),
        rates,
        settings.unknown_fields,
        mappings.of_topic,
        sources.known,
        clocks.batch,
        frames,
    )


def _application(
    settings: IngestSettings, engine: AsyncEngine, outlet: Producer, health: Health, parts: Parts
) -> tuple[FastAPI, dict[str, service.Loop]]:
    """Builds the HTTP application, and the loops that finish what its routes begin."""
    clock, tokens, audit = parts.clock, parts.tokens, Audit(engine, SCHEMA)
    auditing = Auditing(entries=audit, clock=clock)
    limits = limits_of(
        settings, guard=tokens, bodies=BODIES, open=OPEN, basic=BASIC, audit=auditing
    )
    app = create_app("Ebbwatch ingest", health, limits, settings.instance, metrics.SERVICE)
    add_routes(app, parts)
    add_audit_routes(app, audit, tokens)
    add_me_route(app, tokens)
    add_token_routes(app, tokens, SCHEMA, clock)
    add_export_routes(app, export_of(engine, settings.reporting_currency), tokens, clock)
    given = (settings, engine, outlet, clock, app, tokens)
    loops: dict[str, service.Loop] = {
        "contents": _dead_letters(*given),
        "erasures": _add_erasures(*given),
        "audit": AuditRetention(audit, clock, settings.audit_retention_days),
    }
    app.measure()
    return app, loops


def documented(engine: AsyncEngine) -> FastAPI:
    """Builds the HTTP application for its OpenAPI document: reads no settings, never connects."""
    settings, clock = IngestSettings.model_construct(), SystemClock()
    outlet = Producer(KafkaSettings.model_construct(), "ingest")
    mappings = UseMappings(Mappings(engine), settings.raw_topics, clock, metrics.mappings_in_force)
    rates, sources = RateTable(settings.reporting_currency), SourceMappings(mappings, {})
    keep = _keep(settings, outlet, clock)
    parts = _parts(settings, engine, outlet, rates, keep, sources, clock)
    return _application(settings, engine, outlet, Health(clock), parts)[0]


def _dependencies(
    settings: IngestSettings,
    kafka: KafkaSettings,
    engine: AsyncEngine,
    health: Health,
    reader: RawConsumer,
    letters: FencedConsumer,
) -> Dependencies:
    """Builds the checks of the servers and the watch on the lag."""
    begin(metrics.QUARANTINED, [*settings.raw_topics, settings.dead_letter_topic])
    reads = Reads(
        schema=SCHEMA,
        topics=lambda: (*reader.topics, settings.dead_letter_topic),
        owned=lambda: reader.assigned | letters.assigned,
        group=settings.group,
    )
    return Dependencies(health, PostgresSettings(), kafka, engine, metrics.SERVICE, reads)


async def run() -> int:
    """Runs the ingest service until SIGTERM; returns the exit status."""
    settings, kafka = IngestSettings(), KafkaSettings()
    clock = SystemClock()
    health = Health(clock)
    rates = read_rates(settings)
    engine = create_engine(PostgresSettings(), "ingest")
    outlet, raw_outlet = Producer(kafka, "ingest"), Producer(kafka, "ingest-http")
    refused_outlet, replay_outlet = (Producer(kafka, f"ingest-{n}") for n in ("refused", "replay"))
    outlets = (outlet, raw_outlet, refused_outlet, replay_outlet)
    clocks = ClockWatch(SourceClockDays(engine), clock, metrics.observe_source)
    health.add_note("clocks", clocks.note)
    in_force = metrics.mappings_in_force
    mappings = UseMappings(Mappings(engine), settings.raw_topics, clock, in_force)
    signed = read_sources(settings.http_sources.get_secret_value())
    sources = SourceMappings(mappings, signed)
    registry = _registry(settings)
    frames = OpenFrames(registry, clock, settings.registry_topics)
    health.add_check("registry", frames.trouble)
    reader = RawConsumer(
        kafka, settings.raw_topics, settings.group, settings.batch_records_max, metrics.SERVICE
    )
    raw = RawTopics(
        reader,
        _accept(settings, outlet, rates, mappings, sources, clocks, frames),
        FloodWatch(Stops(engine), settings.flood_share_max, clock),
        health,
        clock,
        UnfinishedRecords(engine),
        mappings,
    )
    letters = _letter_consumer(settings, kafka, engine)
    index_letters = _letters(letters, engine, clock, health)
    keep = _keep(settings, refused_outlet, clock)
    refused = _both(clocks, keep)
    parts = _parts(settings, engine, raw_outlet, rates, refused, sources, clock)
    app, of_routes = _application(settings, engine, replay_outlet, health, parts)
    dependencies = _dependencies(settings, kafka, engine, health, reader, letters)
    closing: list[Producer | Dependencies | SchemaRegistry] = [*outlets, dependencies]
    if registry is not None:
        closing.append(registry)
    loops = of_routes | {
        "raw": raw.consume,
        "lag": dependencies.watch,
        "dead-letters": index_letters,
        "refused": keep.watch,
        "clocks": clocks.watch,
    }
    try:
        return await service.run(loops, app, settings, health)
    finally:
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(LET_GO_S):
                await asyncio.gather(*(each.close() for each in closing))
        await engine.dispose()
