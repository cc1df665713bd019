"""Scoring and model: is every customer assessed in time, and can the model be trusted."""

from deploy.grafana.panels import NONE_IS_GOOD, Bounds, board, graph, number, row, rows
from deploy.grafana.queries import (
    MODEL_ALARMS,
    Query,
    highest,
    hourly,
    of,
    quantile,
    quantiles,
    rate,
    total,
    waiting,
)

_NOW = (
    row("Is every customer assessed in time?"),
    number(
        "Event to assessment, 99 %",
        "Within which time 99 of 100 events were assessed after they arrived, in the last five "
        "minutes. The promise is 1 s at worst; worry above 5 s.",
        "s",
        Query(quantile(0.99, "ebbwatch_scoring_assessment_latency_seconds", window="5m")),
        bounds=Bounds(1, 5),
    ),
    number(
        "Silent customers due",
        "Customers whose time to be looked at without an event of theirs has come. A few are "
        "normal; worry when they grow while nothing is imported.",
        "short",
        Query(highest("ebbwatch_scoring_silence_due_customers")),
    ),
    number(
        "Silent customers overdue",
        "For how long the first of them has been due. Worry above an hour: warnings of silence, "
        "the main sign of leaving, come late.",
        "s",
        Query(highest("ebbwatch_scoring_silence_oldest_due_seconds")),
        bounds=Bounds(3_600, 6 * 3_600),
    ),
    number(
        "Since the last look",
        "Since the slowest process last looked at its due customers, or found none. Worry above a "
        "day: it does not look, and silence raises no warning.",
        "s",
        Query(highest("ebbwatch_scoring_last_look_age_seconds")),
        bounds=Bounds(3_600, 86_400),
    ),
    number(
        "Partitions stopped",
        "Partitions that are not read until an operator decides. Above none: `partitions show`.",
        "short",
        Query(total("ebbwatch_scoring_partitions_stopped")),
        bounds=NONE_IS_GOOD,
    ),
    number(
        "Imports under way",
        "Partitions whose silent customers are not looked at because history is being imported. "
        "Worry when it stays above none after the import: the import was not ended.",
        "short",
        Query(total("ebbwatch_scoring_backfill_partitions")),
        bounds=Bounds(yellow=1),
    ),
)

_WORK = (
    row("Assessments"),
    graph(
        "Assessments, by band",
        "Assessments per second by the band of risk. Worry when one band suddenly takes all: the "
        "data or the model has changed.",
        "cps",
        Query(rate("ebbwatch_scoring_assessments_total", "band"), "{{band}}"),
        stacked=True,
    ),
    graph(
        "Assessed probability of leaving",
        "Quantiles of the assessed probabilities: how the model sees the customers that were "
        "assessed. Worry about a jump that no campaign or season explains.",
        "percentunit",
        Query(quantile(0.1, "ebbwatch_scoring_probability_ratio"), "10 %"),
        Query(quantile(0.5, "ebbwatch_scoring_probability_ratio"), "median"),
        Query(quantile(0.9, "ebbwatch_scoring_probability_ratio"), "90 %"),
    ),
    graph(
        "From an event to its assessment",
        "From the arrival of an event to the committed assessment. The promise is 0.3 s usually, "
        "1 s at worst; worry above 5 s. Gaps: no event.",
        "s",
        *quantiles("ebbwatch_scoring_assessment_latency_seconds"),
        Query(quantile(0.95, "ebbwatch_scoring_batch_seconds"), "a batch, 95 %"),
    ),
    graph(
        "Parts of a batch, 95 %",
        "Duration of the parts of a batch. Worry when one grows: `load`, `write` and `commit` "
        "wait for PostgreSQL, `assess` for the processor, `send` for Kafka.",
        "s",
        Query(quantile(0.95, "ebbwatch_scoring_batch_stage_seconds", "stage"), "{{stage}}"),
    ),
    graph(
        "Records that wait, by topic",
        "Records in Kafka that scoring has not handled. Worry when it rises for minutes: add a "
        "process, or look what holds it.",
        "short",
        Query(waiting("ebbwatch_scoring"), "{{topic}}"),
    ),
    graph(
        "Flawed data in assessments",
        "Assessments per second that found a flaw in the data of the customer, by flaw. Worry "
        "about a rise: a source sends worse data, and its customers are assessed less well.",
        "cps",
        Query(rate("ebbwatch_scoring_quality_flags_total", "flag"), "{{flag}}"),
    ),
)

_MODEL = (
    row("The model"),
    rows(
        "Serving model",
        "The model that each process serves: its version, how it scores (`model`, `pooled`, or "
        "`rule` before the first training) and its family. Worry when processes differ for more "
        "than minutes after a promotion.",
        Query(
            f"count by (version, method, family) ({of('ebbwatch_scoring_model_info')})",
        ),
        {"version": "version", "method": "method", "family": "family", "Value": "processes"},
        height=4,
    ),
    number(
        "Age of the model",
        "Since the serving model was made; 0 while the rule serves. Worry above 60 days: "
        "retraining does not run, or no candidate was better.",
        "s",
        Query(highest("ebbwatch_scoring_model_age_seconds")),
        bounds=Bounds(45 * 86_400, 60 * 86_400),
    ),
    number(
        "Newest event folded",
        "Since the newest event that the features know happened. Worry when it is far above the "
        "pause that is normal between events: features are stale.",
        "s",
        Query(f"min({of('ebbwatch_scoring_feature_age_seconds')})"),
    ),
    number(
        "Model alarms",
        "Drift, level or ranking out of bounds, or a promoted model that cannot be loaded. Above "
        "none: docs/model-operations says what to do at each.",
        "short",
        Query(MODEL_ALARMS),
        bounds=NONE_IS_GOOD,
    ),
    graph(
        "Drift of features and score",
        "Population stability index at the newest roll call. Worry above 0.25: the customers "
        "differ from those that the model has learned from. No data before two roll calls.",
        "short",
        Query(highest("ebbwatch_scoring_drift_psi_ratio", "feature"), "{{feature}}"),
    ),
    graph(
        "Ranking, realised",
        "ROC-AUC of the newest roll call whose horizon is over, by segment and role: 0.5 is "
        "chance. Worry when the champion falls towards 0.5, or the challenger lies above it for "
        "long. No data before the first horizon is over.",
        "short",
        Query(
            highest("ebbwatch_scoring_realised_roc_auc_ratio", "role, segment"),
            "{{role}}: {{segment}}",
        ),
    ),
    graph(
        "Level, realised minus expected",
        "Observed minus expected share of customers that bought nothing. Near 0 is right; worry "
        "when it leaves ±0.05: probabilities are too low or too high. No data before the first "
        "horizon is over.",
        "percentunit",
        Query(
            highest("ebbwatch_scoring_realised_level_gap_ratio", "role, segment"),
            "{{role}}: {{segment}}",
        ),
        lowest=None,
    ),
    graph(
        "Quality, realised and promised",
        "Log loss, calibration error and recall at 10 % as they came true, and as the backtest of "
        "the model's card promised. Worry when they part. No data before the first horizon is "
        "over.",
        "short",
        Query(
            highest("ebbwatch_scoring_realised_quality_ratio", "measure", 'role="champion"'),
            "{{measure}}, realised",
        ),
        Query(
            highest("ebbwatch_scoring_promised_quality_ratio", "measure"), "{{measure}}, promised"
        ),
    ),
    graph(
        "Shadow of the challenger",
        "Assessments per second that the challenger scored beside the champion, and those left "
        "out because its queue was full. Worry when many are left out: the comparison takes "
        "longer.",
        "cps",
        Query(rate("ebbwatch_scoring_shadow_scores_total"), "scored"),
        Query(rate("ebbwatch_scoring_shadow_skipped_total"), "left out"),
    ),
    graph(
        "Facts for training, per hour",
        "What alerts did, kept for training, per hour by kind. Worry when it is 0 for days "
        "while tasks are raised: the next model cannot learn from them.",
        "short",
        Query(hourly("ebbwatch_scoring_treatments_total", "kind"), "{{kind}}"),
    ),
)

BOARD = board(
    "scoring",
    "scoring and model",
    "Is every customer assessed in time, and can the model be trusted.",
    *_NOW,
    *_WORK,
    *_MODEL,
)
