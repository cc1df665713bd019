"""Servers: PostgreSQL, Kafka and the processes, as the services see them."""

from deploy.grafana.panels import NONE_IS_GOOD, YES_OR_NO, Bounds, board, graph, number, row, rows
from deploy.grafana.queries import (
    Query,
    any_service,
    each_service,
    highest,
    hourly,
    of,
    or_zero,
    quantile,
    rate,
    shown,
    waiting,
)

POSTGRES = 'check="postgres"'
KAFKA = 'check="kafka"'
USED = 'state="used"'

_NOW = (
    row("Do PostgreSQL and Kafka answer?"),
    number(
        "PostgreSQL answers",
        "Whether every process reaches PostgreSQL. Worry about a NO: nothing is committed, so "
        "nothing is done; nothing is lost. See the runbook `database`.",
        "short",
        Query(f"min({any_service(lambda s: of(f'{s}_ready', POSTGRES))})"),
        words=YES_OR_NO,
    ),
    number(
        "Kafka answers",
        "Whether every process reaches Kafka. Worry about a NO: no event comes in, nothing is "
        "handed on; nothing is lost.",
        "short",
        Query(f"min({any_service(lambda s: of(f'{s}_ready', KAFKA))})"),
        words=YES_OR_NO,
    ),
    number(
        "Size of the database",
        "The whole PostgreSQL database. Worry when it grows by a third within a day without an "
        "import, or nears the size of its disk.",
        "bytes",
        Query(f"max({any_service(lambda s: of(f'{s}_database_bytes'))})"),
    ),
    number(
        "Fullest pool of connections",
        "Share of the connections to PostgreSQL in use, in the process with the largest. Worry at "
        "100 % for minutes: requests and batches wait for one.",
        "percentunit",
        Query(
            "max("
            + any_service(
                lambda s: (
                    f"{of(f'{s}_pool_connections', USED)}"
                    f" / on (job, instance) {of(f'{s}_pool_limit')}"
                )
            )
            + ")"
        ),
        bounds=Bounds(0.8, 1),
    ),
    number(
        "Largest clock skew",
        "Largest difference between the clock of a process and that of PostgreSQL or Kafka. Worry "
        "above 5 s: see the runbook `clock-skew`.",
        "s",
        Query(f"max(abs({any_service(lambda s: of(f'{s}_clock_skew_seconds'))}))"),
        bounds=Bounds(1, 5),
    ),
    number(
        "Age of the lag",
        "Since lag was last measured, in the process that could not for longest. Worry above 10 "
        "s: lag in records stands still then; PostgreSQL or Kafka does not answer.",
        "s",
        Query(f"max({any_service(lambda s: of(f'{s}_ends_age_seconds'))})"),
        bounds=Bounds(10, 120),
    ),
)

_KAFKA = (
    row("Kafka"),
    graph(
        "Records that wait, by service and topic",
        "Records in Kafka that a service has not handled. Worry when it rises for minutes: it "
        "stands still, or more comes in than it handles.",
        "short",
        *each_service(waiting, "{{topic}}"),
    ),
    graph(
        "Oldest record that waits, by partition",
        "Age of the oldest record that scoring has not handled, by partition of each topic. Worry "
        "when one partition is far above the others: one customer or one process holds it.",
        "s",
        Query(
            highest("ebbwatch_scoring_lag_seconds", "topic, partition"), "{{topic}} {{partition}}"
        ),
    ),
    graph(
        "Since the last commit, by service and topic",
        "How long records have been waiting without any commit; 0 while none waits. Worry above "
        "10 s: that service stands still, often behind a lock in PostgreSQL.",
        "s",
        *each_service(lambda s: highest(f"{s}_last_commit_age_seconds", "topic"), "{{topic}}"),
    ),
    graph(
        "Partitions given anew, per hour",
        "Times per hour that Kafka assigned partitions anew. Some at a start or a release are "
        "normal; worry when it goes on: a process ends and starts again and again.",
        "short",
        *each_service(lambda s: hourly(f"{s}_rebalances_total")),
    ),
)

_POSTGRES = (
    row("PostgreSQL"),
    graph(
        "Connections in use, by process",
        "Connections to PostgreSQL in use, and the most that a process may open. Worry when a "
        "line lies at its limit: look which statements run so long.",
        "short",
        *each_service(
            lambda s: f"sum by (instance) ({of(f'{s}_pool_connections', USED)})",
            "{{instance}}",
        ),
        Query(f"max({any_service(lambda s: of(f'{s}_pool_limit'))})", "limit of a process"),
    ),
    graph(
        "Commit of a batch, 95 %",
        "How long the commit of a batch takes. Worry above 0.1 s for minutes: PostgreSQL's disk "
        "is slow, or something holds a lock.",
        "s",
        *each_service(
            lambda s: quantile(0.95, f"{s}_batch_stage_seconds", "", 'stage="commit"'),
        ),
    ),
    graph(
        "Growth of the database",
        "The whole PostgreSQL database. Worry when it grows faster than events come in.",
        "bytes",
        Query(f"max({any_service(lambda s: of(f'{s}_database_bytes'))})", "all services"),
    ),
    graph(
        "History kept ahead",
        "For how long rows of tables kept by time still find a partition of their time. Worry "
        "below a day: no new partitions are made.",
        "s",
        Query(f"min by (table) ({of('ebbwatch_scoring_history_ahead_seconds')})", "{{table}}"),
    ),
)

_PROCESSES = (
    row("Processes"),
    rows(
        "What runs",
        "Release and revision of every process. Worry when they differ for longer than a release "
        "takes.",
        Query(
            "count by (job, version, revision) ("
            + any_service(lambda s: of(f"{s}_build_info"))
            + ")"
        ),
        {"job": "service", "version": "release", "revision": "revision", "Value": "processes"},
        span=12,
        height=6,
    ),
    number(
        "Partitions taken over",
        "Partitions that processes claimed in the ledger in the shown time. Normal at a start; "
        "worry when it goes on.",
        "short",
        *each_service(lambda s: shown(f"{s}_take_overs_total")),
        span=6,
        height=6,
    ),
    number(
        "Commits refused",
        "Commits refused in the shown time because another process had taken the partition over. "
        "Nothing is lost or done twice. Worry when it goes on: processes stall for too long.",
        "short",
        *each_service(lambda s: shown(f"{s}_fence_losses_total")),
        bounds=Bounds(yellow=1),
        span=6,
        height=6,
    ),
    graph(
        "Memory, by process",
        "Resident memory. Worry when it rises for hours and does not fall: it will reach its "
        "limit.",
        "bytes",
        Query(
            f"max by (job, instance) ({of('process_resident_memory_bytes')})",
            "{{job}} {{instance}}",
        ),
    ),
    graph(
        "Processor, by process",
        "Processors in use; 1 is one core, and a process cannot use much more. Worry near 1 for "
        "long: add a process.",
        "short",
        Query(rate("process_cpu_seconds_total", "job, instance"), "{{job}} {{instance}}"),
    ),
    number(
        "Records given up",
        "Records and deliveries set aside because process after process ended on them, in the "
        "shown time. Above none: the log names them; this is a fault of ours.",
        "short",
        Query(
            " + ".join(
                or_zero(shown(name))
                for name in (
                    "ebbwatch_ingest_quarantined_records_total",
                    "ebbwatch_scoring_quarantined_records_total",
                    "ebbwatch_alerts_quarantined_records_total",
                    "ebbwatch_alerts_quarantined_deliveries_total",
                )
            )
        ),
        bounds=NONE_IS_GOOD,
        span=24,
        height=3,
    ),
)

BOARD = board(
    "servers",
    "PostgreSQL, Kafka and processes",
    "PostgreSQL, Kafka and the processes, as the services see them.",
    *_NOW,
    *_KAFKA,
    *_POSTGRES,
    *_PROCESSES,
)
