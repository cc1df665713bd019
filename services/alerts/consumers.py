"""Wires the topics that alerts reads: a consumer, its handler and a quarantine for each."""

import socket

from services.alerts import metrics
from services.alerts.components import Alerts
from shared.kafka.fenced import FencedConsumer
from shared.kafka.quarantine import Handle, ParkAsDeadLetter
from shared.kafka.worker import work
from shared.runtime import service


def consumer(alerts: Alerts, name: str, topic: str, batch_records_max: int) -> FencedConsumer:
    """Return a consumer of one topic; its group ends with `name`."""
    return FencedConsumer(
        settings=alerts.kafka,
        ledger=alerts.ledger,
        topics=(topic,),
        group=f"{alerts.settings.group}-{name}",
        worker=socket.gethostname(),
        batch_records_max=batch_records_max,
        compacted=frozenset({alerts.settings.risk_topic}),
        on_claim=alerts.relays[name].recover,
        metrics=metrics.SERVICE,
    )


def reading(alerts: Alerts, name: str, consumer: FencedConsumer, handle: Handle) -> service.Loop:
    """Return the loop of one consumer; a record on which process after process ends is parked."""
    quarantine = ParkAsDeadLetter(
        transactions=alerts.transactions(name),
        topic=alerts.settings.dead_letter_topic,
        stage="alerts",
        observe=lambda topic: metrics.QUARANTINED.labels(topic).inc(),
    ).quarantine()
    return lambda stop: work(consumer, handle, quarantine, stop, alerts.health, name)
