"""Wires the topics that alerts reads: a consumer, its handler, and what sets records aside."""

import socket
from typing import TYPE_CHECKING

from services.alerts import metrics
from shared.kafka.fenced import FencedConsumer
from shared.kafka.quarantine import Handle, ParkAsDeadLetter
from shared.kafka.worker import work
from shared.runtime import service

if TYPE_CHECKING:
    from services.alerts.main import Alerts


def consumer(alerts: "Alerts", name: str, topic: str, batch_records_max: int) -> FencedConsumer:
    """A consumer of one topic; its group is named after it."""
    return FencedConsumer(
        settings=alerts.kafka,
        ledger=alerts.ledger,
        topics=(topic,),
        group=f"{alerts.settings.group}-{name}",
        worker=socket.gethostname(),
        batch_records_max=batch_records_max,
        compacted=frozenset({alerts.settings.risk_topic}),
        on_claim=alerts.relays[name].recover,
    )


def reading(alerts: "Alerts", name: str, consumer: FencedConsumer, handle: Handle) -> service.Loop:
    """The loop of one consumer; a record that ends process after process is set aside."""
    quarantine = ParkAsDeadLetter(
        engine=alerts.engine,
        ledger=alerts.ledger,
        outbox=alerts.outbox,
        relay=alerts.relays[name],
        topic=alerts.settings.dead_letter_topic,
        stage="alerts",
        observe=lambda topic: metrics.QUARANTINED.labels(topic).inc(),
    ).quarantine()
    return lambda stop: work(consumer, handle, quarantine, stop, alerts.health, name)
