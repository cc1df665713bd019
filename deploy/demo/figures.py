"""Computes the demo's figures for `build/demo.json`, and finds faults in them.

Pure arithmetic on what the sample CRM received and what the replayer noted, without any I/O.
"""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

import msgspec
import numpy as np

from deploy.backtest.judge import Figures
from deploy.demo.judgement import Judgement, ReceivedWarning

OPENED = "retention_task.opened"
UPDATED = "retention_task.updated"
CLOSED = "retention_task.closed"


class NamedParty(msgspec.Struct, frozen=True):
    """A customer or an account owner."""

    id: str
    name: str | None = None


class ReceivedReason(msgspec.Struct, frozen=True):
    """A reason, in words."""

    code: str
    text: str


class ReceivedTask(msgspec.Struct, frozen=True):
    """A retention task as the CRM received it. Times are business time, UTC."""

    id: str
    status: str
    cause: str
    customer: NamedParty
    owner: NamedParty | None
    band: str
    probability: float
    horizon_days: int
    reasons: list[ReceivedReason]
    language: str
    value_at_risk: float
    currency: str
    opened_at: datetime
    due_at: datetime
    lapse_probability: float | None = None
    lapse_days: float | None = None
    grade: str | None = None
    channel: str | None = None
    steps: list[str] = []


class WebhookMessage(msgspec.Struct, frozen=True):
    """The content of a webhook: a task was opened, updated or closed."""

    type: str
    timestamp: datetime
    """When it happened, business time."""
    data: dict[str, ReceivedTask]

    @property
    def task(self) -> ReceivedTask:
        """The task after the change."""
        return self.data["task"]


class Received(msgspec.Struct, frozen=True):
    """A webhook as stored by the CRM; `received_ms` is Unix milliseconds by the wall clock."""

    webhook_id: str
    received_ms: int
    message: WebhookMessage
    traceparent: str | None = None
    """Trace context that came with it."""


RECEIVED = msgspec.json.Decoder(list[Received])


@dataclass(frozen=True, slots=True)
class Measured:
    """Measurements from outside the services. Durations are seconds."""

    broker: str
    backfilled: int
    replayed: int
    accepted: int
    dead_lettered: int
    told_during_backfill: int
    """Webhooks that the CRM received before the replay began."""
    backfill_s: float
    replay_s: float
    """From the first live event sent until scoring had worked through the last."""
    total_s: float
    crm: Mapping[str, int]
    """The CRM's own counts: accepted, duplicates, signature_failures."""
    received: Sequence[Received]
    tick_sent_ms: Mapping[datetime, int]


def opened(received: Sequence[Received]) -> list[Received]:
    """Returns the webhooks of new tasks, in the order of their arrival."""
    return [each for each in received if each.message.type == OPENED]


def warnings(received: Sequence[Received]) -> list[ReceivedWarning]:
    """Returns every cause that opened a task or joined one, and when (business time)."""
    found: list[ReceivedWarning] = []
    known: dict[str, set[str]] = {}
    for each in received:
        task, at = each.message.task, each.message.timestamp
        codes = {reason.code for reason in task.reasons}
        if each.message.type == OPENED:
            found.append(ReceivedWarning(task.customer.id, at, task.cause))
            known[task.id] = codes | {task.cause}
        elif each.message.type == UPDATED:
            joined = sorted(codes - known.setdefault(task.id, set()))
            found += [ReceivedWarning(task.customer.id, at, cause) for cause in joined]
            known[task.id] |= codes
    return found


def latencies_s(measured: Measured) -> list[float]:
    """Returns seconds from the event to the task in the CRM, for every task that was opened.

    The event that makes a customer's silence worth a task is the tick that moves business time on:
    the time counts from sending it to Kafka to the arrival of the webhook.
    """
    return [
        (each.received_ms - measured.tick_sent_ms[each.message.task.opened_at]) / 1000
        for each in opened(measured.received)
    ]


def figures(measured: Measured, judgement: Judgement) -> dict[str, Any]:
    """Returns all figures for `build/demo.json`."""
    tasks = [each.message.task for each in opened(measured.received)]
    latency = latencies_s(measured)
    p50, p99 = np.quantile(latency, (0.5, 0.99)).tolist() if latency else (None, None)
    sent = measured.backfilled + measured.replayed
    return {
        "broker": measured.broker,
        "events": {
            "sent": sent,
            "backfilled": measured.backfilled,
            "replayed": measured.replayed,
            "accepted": measured.accepted,
            "dead_lettered": measured.dead_lettered,
            "lost": sent - measured.accepted - measured.dead_lettered,
        },
        "throughput": {
            "events_per_s": measured.replayed / measured.replay_s,
            "backfill_events_per_s": measured.backfilled / measured.backfill_s,
        },
        "tasks": {
            "raised": len(tasks),
            "updated": sum(each.message.type == UPDATED for each in measured.received),
            "closed": sum(each.message.type == CLOSED for each in measured.received),
            "told_during_backfill": measured.told_during_backfill,
            "by_band": dict(Counter(task.band for task in tasks).most_common()),
            "by_reason": dict(Counter(task.cause for task in tasks).most_common()),
            "by_day": dict(sorted(Counter(f"{task.opened_at:%Y-%m-%d}" for task in tasks).items())),
        },
        "deliveries": {
            "ok": measured.crm["accepted"],
            "duplicates": measured.crm["duplicates"],
            "signature_failures": measured.crm["signature_failures"],
        },
        "latency_s": {"p50": p50, "p99": p99, "max": max(latency, default=None)},
        "warning": _warning(judgement),
        "seconds": {
            "backfill": measured.backfill_s,
            "replay": measured.replay_s,
            "total": measured.total_s,
        },
    }


MUST_BE_ZERO = (
    ("events", "dead_lettered", "events of the panel were refused"),
    ("events", "lost", "events went in and did not come out"),
    ("tasks", "told_during_backfill", "tasks were raised for the past"),
    ("deliveries", "signature_failures", "webhooks did not verify"),
)


def faults(found: Mapping[str, Any]) -> list[str]:
    """Describes what is wrong with these figures; empty when all is well."""
    return [
        f"{group}.{name} is {found[group][name]}: {words}"
        for group, name, words in MUST_BE_ZERO
        if found[group][name] != 0
    ]


def _warning(judgement: Judgement) -> dict[str, Any]:
    """Returns the figures of `deploy.backtest.judge`, and the missed lapses."""
    found = judgement.judged
    return {
        "silences": found.silences,
        "customers": found.customers,
        "lapses": found.lapses,
        **_plain(found.ours),
        "lead_days": found.ours.lead_days_median,
        "rule": {"gaps": found.as_often.gaps, **_plain(found.as_often.figures)},
        "rule_by_spending": _plain(found.by_spending),
        "all_causes": _plain(judgement.every.ours),
        "missed_in_all": judgement.missed_in_all,
        "missed": [
            {"customer": one.customer, "silent_since": f"{one.silent_since:%F}",
             "spent": round(one.spent, 2)}
            for one in judgement.missed
        ],
    }  # fmt: skip


def _plain(figures: Figures) -> dict[str, Any]:
    found: dict[str, Any] = msgspec.to_builtins(figures)
    return found
