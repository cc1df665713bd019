"""Intake: what comes in, what is refused, and how far ingest is behind."""

from deploy.grafana.panels import NONE_IS_GOOD, Bounds, board, graph, number, row
from deploy.grafana.queries import Query, highest, of, quantile, quantiles, rate, shown, waiting

_NOW = (
    row("Does everything come in?"),
    number(
        "Events accepted",
        "Events accepted in the shown time. Worry when a source that is never quiet has sent none.",
        "short",
        Query(shown("ebbwatch_ingest_events_total")),
    ),
    number(
        "Records refused",
        "Records that could not be accepted in the shown time; they are kept with the reason. "
        "Above none: `dead-letters list` groups them, and replays them once they are mended.",
        "short",
        Query(shown("ebbwatch_ingest_dead_letters_total")),
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
        "Oldest record that waits",
        "How long the oldest record that ingest has not handled has been waiting. Worry above 10 "
        "s.",
        "s",
        Query(highest("ebbwatch_ingest_freshness_seconds")),
        bounds=Bounds(10, 60),
    ),
    number(
        "Mappings unusable",
        "Stored mappings that this release cannot compile; the records of their topics wait. "
        "Above none: `mappings list`.",
        "short",
        Query(highest("ebbwatch_ingest_mappings_unusable")),
        bounds=NONE_IS_GOOD,
    ),
    number(
        "Source clocks wrong",
        "Sources whose clock seems wrong: silences of their customers are measured wrongly. Above "
        "none: `sources`.",
        "short",
        Query(f"sum(max by (source) ({of('ebbwatch_ingest_source_clock_wrong')}))"),
        bounds=NONE_IS_GOOD,
    ),
)

_FLOW = (
    row("What comes in"),
    graph(
        "Events accepted, by type",
        "Events accepted per second. Worry when a type that always comes falls to 0: its source "
        "has stopped, and customers seem silent.",
        "cps",
        Query(rate("ebbwatch_ingest_events_total", "type"), "{{type}}"),
        stacked=True,
    ),
    graph(
        "Records refused, by field: the ten most frequent",
        "Records refused per second, by the stage that refused them and the field at fault. Worry "
        "when it does not end: a source sends something new.",
        "cps",
        Query(
            f"topk(10, {rate('ebbwatch_ingest_dead_letters_total', 'stage, field')})",
            "{{stage}}: {{field}}",
        ),
        stacked=True,
    ),
    graph(
        "Live events, by source",
        "Live events per second by source and outcome; `future`: refused because they are dated "
        "after their arrival. Worry when a source stops, or its clock runs ahead.",
        "cps",
        Query(
            rate("ebbwatch_ingest_source_events_total", "source, outcome"),
            "{{source}}: {{outcome}}",
        ),
    ),
    graph(
        "Clocks of the sources",
        "Median of an event's own time minus its arrival, by source. A little below 0 is normal. "
        "Worry above 0, or when it jumps: that clock is wrong, or the source sends late.",
        "s",
        Query(f"max by (source) ({of('ebbwatch_ingest_source_skew_seconds')})", "{{source}}"),
        lowest=None,
    ),
)

_SPEED = (
    row("How fast"),
    graph(
        "Records that wait, by topic",
        "Records in Kafka that ingest has not handled. Worry when it rises for minutes: more "
        "comes in than ingest handles, or it stands still.",
        "short",
        Query(waiting("ebbwatch_ingest"), "{{topic}}"),
    ),
    graph(
        "Since the last commit, by topic",
        "How long records have been waiting without any commit; 0 while none waits. Worry above "
        "10 s: a partition stands still, often behind a lock in PostgreSQL.",
        "s",
        Query(highest("ebbwatch_ingest_last_commit_age_seconds", "topic"), "{{topic}}"),
    ),
    graph(
        "From an event's own time to its acceptance and assessment",
        "From the time that the source states to the event's place on the activity topic, and to "
        "its assessment. The delay of the source is in it. Worry when it grows and nothing waits "
        "here: that source sends late.",
        "s",
        *quantiles("ebbwatch_ingest_event_latency_seconds", "acceptance"),
        *quantiles("ebbwatch_scoring_event_latency_seconds", "assessment"),
    ),
    graph(
        "Parts of a batch, 95 %",
        "Duration of a batch and of its parts. Worry above 0.3 s, or when one of them grows: "
        "`send` waits for Kafka, `commit` for PostgreSQL, `decide` for the processor.",
        "s",
        Query(quantile(0.95, "ebbwatch_ingest_batch_seconds"), "whole"),
        Query(quantile(0.95, "ebbwatch_ingest_batch_stage_seconds", "stage"), "{{stage}}"),
    ),
)

_HTTP = (
    row("Over HTTP"),
    graph(
        "Requests, by status",
        "Requests answered per second. 4xx: the sender is at fault (token, body); 429: it sends "
        "too much. Worry about 5xx: that is our fault.",
        "cps",
        Query(rate("ebbwatch_ingest_http_requests_total", "status"), "{{status}}"),
    ),
    graph(
        "Duration of a request, 95 %: the eight slowest routes",
        "Time of a request by its route. Worry above 1 s: senders wait, and may send again.",
        "s",
        Query(
            f"topk(8, {quantile(0.95, 'ebbwatch_ingest_http_request_seconds', 'route')})",
            "{{route}}",
        ),
    ),
    graph(
        "Events over HTTP, by outcome",
        "Events sent over HTTP per second: taken, or why not. Worry when `refused` prevails: a "
        "sender has changed what it sends.",
        "cps",
        Query(rate("ebbwatch_ingest_http_events_total", "outcome"), "{{outcome}}"),
    ),
    graph(
        "Refused and unsigned over HTTP",
        "Refused events per second: kept as dead letters, known already, or dropped for too many "
        "bytes in a minute; and requests without a genuine signature. Worry when unsigned ones "
        "come in numbers: a wrong secret, or an attack.",
        "cps",
        Query(rate("ebbwatch_ingest_http_refused_total", "outcome"), "{{outcome}}"),
        Query(rate("ebbwatch_ingest_http_unsigned_total"), "unsigned"),
    ),
)

BOARD = board(
    "intake",
    "intake",
    "What comes in, what is refused and why, and how far ingest is behind.",
    *_NOW,
    *_FLOW,
    *_SPEED,
    *_HTTP,
)
