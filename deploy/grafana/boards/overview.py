"""Overview: are customers being watched, how late are we, what do I do."""

from deploy.grafana.panels import (
    NONE_IS_GOOD,
    YES_OR_NO,
    Bounds,
    bars,
    board,
    graph,
    number,
    row,
    rows,
    words,
)
from deploy.grafana.queries import (
    ENDPOINTS_LEFT_ALONE,
    MODEL_ALARMS,
    Query,
    any_service,
    each_service,
    highest,
    of,
    or_zero,
    quantile,
    quantiles,
    rate,
    shown,
    total,
)

WHAT_TO_DO = """\
**Everything green, no alarm:** nothing.

**An alarm fires:** `docs/runbooks/README.md` lists its runbook: what it means, what to check, how
to mend it.

**A box is red, but no alarm fires yet:** open the dashboard that its description names. Nothing is
lost while work waits: Kafka keeps the events, PostgreSQL the decisions.

**Several boxes are red:** PostgreSQL and Kafka come first (*Servers*), then intake, scoring and
delivery.
"""

_NOW = (
    row("Are customers being watched?"),
    number(
        "Every check passes",
        "Whether each service has a process, and every check of its /readyz passes in all of "
        "them. Worry about a NO: that service does not work fully, or none of its processes "
        "answers. Look at Servers.",
        "short",
        *each_service(lambda s: or_zero(f"min({of(f'{s}_ready')})")),
        words=YES_OR_NO,
        span=8,
    ),
    number(
        "Oldest event that waits",
        "How long the oldest event that some service has not handled has been waiting. Worry "
        "above 10 s; above a minute the promise of freshness is broken. During an import it is "
        "expected.",
        "s",
        Query(f"max({any_service(lambda s: of(f'{s}_freshness_seconds'))})"),
        bounds=Bounds(10, 60),
    ),
    number(
        "Event to assessment, 99 %",
        "Within which time 99 of 100 events were assessed after they arrived, in the last five "
        "minutes. The promise is 1 s at worst. Worry above 5 s: warnings come late.",
        "s",
        Query(quantile(0.99, "ebbwatch_scoring_assessment_latency_seconds", window="5m")),
        bounds=Bounds(1, 5),
    ),
    number(
        "Silent customers overdue",
        "For how long the first customer has been due to be looked at without an event of theirs. "
        "Silence is the main sign of leaving: worry above an hour. During an import it is "
        "expected.",
        "s",
        Query(highest("ebbwatch_scoring_silence_oldest_due_seconds")),
        bounds=Bounds(3_600, 6 * 3_600),
    ),
    number(
        "Oldest task on its way",
        "Age of the oldest delivery that the receiver, usually a CRM, has not accepted. Worry "
        "above 5 minutes: look at Delivery.",
        "s",
        Query(highest("ebbwatch_alerts_undelivered_oldest_seconds")),
        bounds=Bounds(300, 3_600),
    ),
)

_TO_DO = (
    row("What do I do?"),
    number(
        "Records refused",
        "Records that a service could not accept, in the shown time. They are kept and can be "
        "replayed; until then those purchases are missing. Above none: Intake, then `dead-letters "
        "list`.",
        "short",
        Query(
            " + ".join(
                shown(f"ebbwatch_{name}_dead_letters_total")
                for name in ("ingest", "scoring", "alerts")
            )
        ),
        bounds=NONE_IS_GOOD,
    ),
    number(
        "Intake stopped",
        "Whether ingest waits for an operator because nearly every record was refused. Worry when "
        "it is: no event comes in; `intake status` shows why.",
        "short",
        Query(highest("ebbwatch_ingest_stopped")),
        words={"0": ("no", "green"), "1": ("STOPPED", "red")},
    ),
    number(
        "Partitions stopped",
        "Partitions that scoring does not read until an operator decides: the log in Kafka is not "
        "the one that was read. Above none: `partitions show`; their customers are not watched.",
        "short",
        Query(total("ebbwatch_scoring_partitions_stopped")),
        bounds=NONE_IS_GOOD,
    ),
    number(
        "Set aside",
        "Customers, tasks and the like that failed three times in a row and wait for a person. "
        "Above none: the log names them and the fault; see the runbook `set-aside`.",
        "short",
        Query(
            " + ".join(
                or_zero(f"sum(max by (kind) ({of(f'ebbwatch_{name}_set_aside')}))")
                for name in ("scoring", "alerts")
            )
        ),
        bounds=NONE_IS_GOOD,
    ),
    number(
        "Model alarms",
        "Signs that the churn model is out of bounds: drift, level or ranking, or a promoted "
        "model that cannot be loaded. Above none: Scoring and model.",
        "short",
        Query(MODEL_ALARMS),
        bounds=NONE_IS_GOOD,
    ),
    number(
        "Endpoints left alone",
        "Receivers to which nothing is sent now, after many failures in a row. Above none: their "
        "tasks wait; Delivery shows which.",
        "short",
        Query(ENDPOINTS_LEFT_ALONE),
        bounds=NONE_IS_GOOD,
    ),
    rows(
        "Alarms that fire",
        "The alarms of deploy/prometheus that fire now. Worry about each: `page` now, `ticket` "
        "within the day. Each has a runbook of what it means and how to mend it, in "
        "docs/runbooks. Not shown is the watchdog, which fires always.",
        Query(
            'max by (alertname, severity, job) (ALERTS{alertstate="firing",severity!="watchdog"})'
        ),
        {"alertname": "alarm", "severity": "how urgent", "job": "service"},
        empty="no alarm fires",
    ),
    words("What to do", WHAT_TO_DO),
)

_LATE = (
    row("How late are we?"),
    graph(
        "Oldest event that waits, by service",
        "Age of the oldest event that a service has not handled; it is near 0 while the service "
        "keeps up. Worry when a line rises one to one with time: that service stands still.",
        "s",
        *each_service(lambda s: highest(f"{s}_freshness_seconds")),
    ),
    graph(
        "From an event to its task and its delivery",
        "Time from the arrival of an event to its assessment, to the task and to the receiver's "
        "acceptance. The promise is 0.3 s usually, 1 s at worst; worry above 5 s. Gaps: no event.",
        "s",
        *quantiles("ebbwatch_scoring_assessment_latency_seconds", "assessment"),
        *quantiles("ebbwatch_alerts_task_latency_seconds", "task"),
        *quantiles("ebbwatch_alerts_delivery_latency_seconds", "delivery"),
    ),
    graph(
        "Events and assessments",
        "Events accepted, events folded into what is known of customers, and assessments, per "
        "second. Worry when intake goes on and the others do not, or when a busy source falls to "
        "0.",
        "cps",
        Query(rate("ebbwatch_ingest_events_total"), "accepted"),
        Query(rate("ebbwatch_scoring_events_total"), "folded"),
        Query(rate("ebbwatch_scoring_assessments_total"), "assessed"),
    ),
    bars(
        "Open tasks, by who is to do them",
        "Tasks that wait for a person (owner, fast response, no owner) or for the customer's own "
        "choice (self service). Worry when `unowned` grows: no person does those.",
        "short",
        Query(
            f"sum by (group) (max by (group, cause) ({of('ebbwatch_alerts_open_tasks')}))",
            "{{group}}",
        ),
    ),
)

BOARD = board(
    "overview",
    "overview",
    "Are customers being watched, how late are we, what do I do. Read the first row: green is "
    "good.",
    *_NOW,
    *_TO_DO,
    *_LATE,
)
