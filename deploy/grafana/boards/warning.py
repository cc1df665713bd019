"""Warnings and effect: who is warned about, who does what about it, and was it right."""

from deploy.grafana.panels import Bounds, bars, board, graph, number, row
from deploy.grafana.queries import Query, highest, hourly, of, quantiles, shown

UNOWNED = 'group="unowned"'
_OPEN = f"max by (group, cause) ({of('ebbwatch_alerts_open_tasks')})"

_NOW = (
    row("Are there too many, or too few?"),
    number(
        "Warnings raised",
        "New tasks, and causes that joined an open task, in the shown time. Worry when there are "
        "none for days while customers are assessed.",
        "short",
        Query(shown("ebbwatch_alerts_tasks_raised_total")),
    ),
    number(
        "Open tasks",
        "Tasks that wait. Worry when they grow week after week: more is warned about than is done.",
        "short",
        Query(f"sum({_OPEN})"),
    ),
    number(
        "Tasks without an owner",
        "Open tasks that belong to no person. Worry above none: they are not done; give these "
        "customers owners.",
        "short",
        Query(f"sum(max by (group, cause) ({of('ebbwatch_alerts_open_tasks', UNOWNED)}))"),
        bounds=Bounds(yellow=1),
    ),
    number(
        "Warnings per 100 customers",
        "Warnings inferred from numbers in the last 30 days, per 100 customers with a rhythm of "
        "their own, measured every 6 hours. Worry when they are far from the budget.",
        "short",
        Query(highest("ebbwatch_alerts_warnings_per_100_customers")),
        decimals=2,
    ),
    number(
        "Budget per 100 customers",
        "How many of them the policy in force allows; +Inf: it has no budget. Worry when warnings "
        "are far above or below: tune the thresholds (docs/tasks).",
        "short",
        Query(highest("ebbwatch_alerts_warnings_budget_per_100_customers")),
        decimals=2,
    ),
    number(
        "Warnings that were right",
        "Share of the warnings of the last 180 days with a known outcome that a lapse followed. "
        "Worry when it falls; no data before the first outcome is known.",
        "percentunit",
        Query(highest("ebbwatch_alerts_realised_precision_ratio")),
        decimals=0,
    ),
)

_RAISED = (
    row("What is warned about"),
    graph(
        "Warnings raised per hour, by cause",
        "Warnings per hour by cause. Worry about a jump of one cause: data of a source has "
        "changed, or a campaign has ended.",
        "short",
        Query(hourly("ebbwatch_alerts_tasks_raised_total", "cause"), "{{cause}}"),
        stacked=True,
    ),
    bars(
        "Open tasks, by cause",
        "Tasks that wait, by why they were raised: the eight most frequent causes. Worry when one "
        "cause dwarfs the rest and its verdicts are mostly wrong.",
        "short",
        Query(f"topk(8, sum by (cause) ({_OPEN}))", "{{cause}}"),
    ),
    graph(
        "What was decided about assessments, per hour",
        "Assessments read per hour, by the row of the decision table that applied. It explains "
        "why no task came: low risk, held out, budget, a task is open already. Worry when a "
        "reason that you do not expect prevails.",
        "short",
        Query(hourly("ebbwatch_alerts_assessments_total", "decision"), "{{decision}}"),
    ),
    graph(
        "From an event to its task",
        "From the arrival of the event to the committed task. The promise is 0.3 s usually, 1 s "
        "at worst; worry above 5 s. Gaps: no warning in that time.",
        "s",
        *quantiles("ebbwatch_alerts_task_latency_seconds"),
    ),
)

_EFFECT = (
    row("What comes of it"),
    graph(
        "Tasks closed per hour, by reason",
        "Tasks closed per hour by reason. Worry when most expire: nothing is done about them.",
        "short",
        Query(hourly("ebbwatch_alerts_tasks_closed_total", "reason"), "{{reason}}"),
        stacked=True,
    ),
    graph(
        "Verdicts of owners per hour",
        "What owners said about warnings, per hour. Worry when wrong ones prevail, or when no "
        "verdicts come at all: the way back from the CRM may be cut.",
        "short",
        Query(hourly("ebbwatch_alerts_verdicts_total", "verdict"), "{{verdict}}"),
    ),
    graph(
        "Recall and precision, realised",
        "Recall: share of the lapses of the last 180 days that were warned about in time. "
        "Precision: share of the warnings with an outcome that a lapse followed. Worry when "
        "either falls for weeks. No data before the first outcome.",
        "percentunit",
        Query(highest("ebbwatch_alerts_realised_recall_ratio"), "recall"),
        Query(highest("ebbwatch_alerts_realised_precision_ratio"), "precision"),
    ),
    graph(
        "Messages to customers per hour, by decision",
        "Decisions about messages to customers per hour: handed to delivery, waiting, or why "
        "suppressed. Worry when most are suppressed for a reason that you do not expect.",
        "short",
        Query(hourly("ebbwatch_alerts_customer_messages_total", "decision"), "{{decision}}"),
    ),
)

BOARD = board(
    "warnings",
    "warnings and effect",
    "Who is warned about and why, what is done about it, and whether it was right.",
    *_NOW,
    *_RAISED,
    *_EFFECT,
)
