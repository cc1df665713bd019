"""Delivery: do tasks reach the CRMs, how fast, and what comes back."""

from deploy.grafana.panels import NONE_IS_GOOD, Bounds, board, graph, number, row
from deploy.grafana.queries import (
    ENDPOINTS_LEFT_ALONE,
    Query,
    highest,
    or_zero,
    quantile,
    quantiles,
    rate,
    shown,
)

_DELIVERED = shown("ebbwatch_alerts_delivery_attempts_total", "", 'outcome="delivered"')

_NOW = (
    row("Do tasks arrive?"),
    number(
        "Delivered",
        "Deliveries accepted by their receivers in the shown time. Worry when tasks are raised "
        "and nothing is delivered.",
        "short",
        Query(_DELIVERED),
    ),
    number(
        "Attempts that succeed",
        "Share of the attempts in the shown time that the receiver accepted. Failed ones are "
        "tried again; worry below 90 %: a receiver is ill.",
        "percentunit",
        Query(f"{_DELIVERED} / {shown('ebbwatch_alerts_delivery_attempts_total')}"),
        bounds=Bounds(0.99, 0.9, below=True),
        decimals=1,
    ),
    number(
        "Waiting",
        "Deliveries that have neither succeeded nor been given up. A few are normal; worry when "
        "they grow.",
        "short",
        Query(highest("ebbwatch_alerts_undelivered")),
    ),
    number(
        "Oldest waiting",
        "Age of the oldest of them. Worry above 5 minutes: its receiver refuses or does not "
        "answer.",
        "s",
        Query(highest("ebbwatch_alerts_undelivered_oldest_seconds")),
        bounds=Bounds(300, 3_600),
    ),
    number(
        "Endpoints left alone",
        "Receivers to which nothing is sent now, after many failures in a row; they are tried "
        "again by themselves. Above none: ask who runs them.",
        "short",
        Query(ENDPOINTS_LEFT_ALONE),
        bounds=NONE_IS_GOOD,
    ),
    number(
        "Endpoints switched off",
        "Endpoints that were switched off in the shown time: gone (410), or nothing but failures "
        "for 120 h. Above none: mend and switch on again, or their tasks end here.",
        "short",
        Query(or_zero(shown("ebbwatch_alerts_endpoints_disabled_total"))),
        bounds=NONE_IS_GOOD,
    ),
)

_ATTEMPTS = (
    row("Attempts"),
    graph(
        "Attempts, by endpoint and outcome",
        "Attempts to deliver per second. `retry`: comes again later; `failed`: given up; `gone`: "
        "the receiver wants no more. Worry when `retry` prevails for minutes.",
        "cps",
        Query(
            rate("ebbwatch_alerts_delivery_attempts_total", "endpoint, outcome"),
            "{{endpoint}}: {{outcome}}",
        ),
    ),
    graph(
        "Duration of an attempt, 95 %",
        "How long a receiver takes to answer. Worry above 5 s: it is slow, and after 15 s we give "
        "the attempt up.",
        "s",
        Query(
            quantile(0.95, "ebbwatch_alerts_delivery_attempt_seconds", "endpoint"), "{{endpoint}}"
        ),
    ),
    graph(
        "From an event to its delivery",
        "From the arrival of the event to the acceptance by the receiver. Worry when it is far "
        "above the time to the task: the receiver is slow or was away.",
        "s",
        *quantiles("ebbwatch_alerts_delivery_latency_seconds", "delivery"),
        *quantiles("ebbwatch_alerts_task_latency_seconds", "task"),
    ),
    graph(
        "Deliveries that wait",
        "Deliveries not yet accepted or given up. Worry about a line that rises and does not fall.",
        "short",
        Query(highest("ebbwatch_alerts_undelivered"), "waiting"),
    ),
)

_BACK = (
    row("What comes back, and what is handed on"),
    graph(
        "Back from CRMs, by outcome",
        "What came back from CRMs per second. Worry about `set_aside` (a fault of ours, see the "
        "log) and `refused` (not from the CRM). No data without a CRM.",
        "cps",
        Query(
            rate("ebbwatch_alerts_way_back_total", "endpoint, outcome"), "{{endpoint}}: {{outcome}}"
        ),
    ),
    graph(
        "Polls of CRMs",
        "Looks for changes in a CRM per second. Worry when `failed` prevails: verdicts do not "
        "come back. No data without a CRM that is polled.",
        "cps",
        Query(
            rate("ebbwatch_alerts_crm_looks_total", "endpoint, outcome"),
            "{{endpoint}}: {{outcome}}",
        ),
    ),
    graph(
        "Stored messages not yet sent",
        "Messages to Kafka that are stored and not known to be sent. Near 0 is normal; worry when "
        "they grow: Kafka does not take them.",
        "short",
        Query(highest("ebbwatch_alerts_outbox_messages"), "alerts"),
        Query(highest("ebbwatch_scoring_outbox_messages"), "scoring"),
    ),
    graph(
        "Oldest stored message",
        "For how long the oldest of them has been waiting. Worry above 10 s.",
        "s",
        Query(highest("ebbwatch_alerts_outbox_oldest_seconds"), "alerts"),
        Query(highest("ebbwatch_scoring_outbox_oldest_seconds"), "scoring"),
    ),
)

BOARD = board(
    "delivery",
    "delivery",
    "Do tasks reach the CRMs, how fast, and what comes back.",
    *_NOW,
    *_ATTEMPTS,
    *_BACK,
)
