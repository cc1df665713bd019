"""PromQL of the panels. Every selector is restricted to the chosen jobs and instances."""

from collections.abc import Callable
from typing import Final, NamedTuple

SERVICES: Final = ("ingest", "scoring", "alerts")
CHOSEN: Final = 'job=~"$job", instance=~"$instance"'
"""Matchers of the variables of every dashboard."""
RATE: Final = "$__rate_interval"
"""Window that Grafana chooses: at least four scrapes, and as wide as a point of the graph."""
SHOWN: Final = "$__range"
"""Window of the whole time range that the dashboard shows."""

OR_ZERO: Final = " or vector(0)"


class Query(NamedTuple):
    """One query of a panel; `legend` names its series, with labels as `{{label}}`."""

    expr: str
    legend: str = ""


def of(metric: str, *matchers: str) -> str:
    """Return the selector of a metric.

    >>> of("x_total", 'a="1"')
    'x_total{a="1", job=~"$job", instance=~"$instance"}'
    """
    return f"{metric}{{{', '.join([*matchers, CHOSEN])}}}"


def highest(metric: str, by: str = "", *matchers: str) -> str:
    """Return the highest value over processes: right for values that all of them report alike."""
    return f"max{_by(by)}({of(metric, *matchers)})"


def total(metric: str, by: str = "", *matchers: str) -> str:
    """Return the sum over processes of a gauge of each process's own."""
    return f"sum{_by(by)}({of(metric, *matchers)})"


def rate(metric: str, by: str = "", *matchers: str) -> str:
    """Return a counter's growth per second, summed over processes."""
    return f"sum{_by(by)}(rate({of(metric, *matchers)}[{RATE}]))"


def hourly(metric: str, by: str = "", *matchers: str) -> str:
    """Return a rare counter's growth per hour, summed over processes."""
    return f"3600 * {rate(metric, by, *matchers)}"


def shown(metric: str, by: str = "", *matchers: str) -> str:
    """Return a counter's growth in the shown time range, summed over processes.

    Rounded: Prometheus extrapolates to the ends of the range.
    """
    return f"round(sum{_by(by)}(increase({of(metric, *matchers)}[{SHOWN}])))"


def quantile(share: float, metric: str, by: str = "", *matchers: str, window: str = RATE) -> str:
    """Return a histogram's quantile over all processes.

    >>> quantile(0.9, "x_seconds").startswith("histogram_quantile(0.9, sum by (le) (rate(x_s")
    True
    """
    labels = f"le, {by}" if by else "le"
    buckets = f"rate({of(f'{metric}_bucket', *matchers)}[{window}])"
    return f"histogram_quantile({share}, sum by ({labels}) ({buckets}))"


def quantiles(metric: str, legend: str = "", by: str = "") -> tuple[Query, ...]:
    """Return the median and the 99th percentile."""
    name = f"{legend}, " if legend else ""
    return (
        Query(quantile(0.5, metric, by), f"{name}median"),
        Query(quantile(0.99, metric, by), f"{name}99 %"),
    )


def each_service(
    expr: Callable[[str], str], legend: str = "", services: tuple[str, ...] = SERVICES
) -> tuple[Query, ...]:
    """Return one query per service; `expr` gets the beginning of its metrics' names."""
    return tuple(Query(expr(f"ebbwatch_{name}"), f"{name} {legend}".rstrip()) for name in services)


def waiting(beginning: str) -> str:
    """Return the records that a service has not handled, by topic; all its processes report alike.

    `beginning`: of its metrics' names.
    """
    return f"sum by (topic) (max by (topic, partition) ({of(f'{beginning}_lag_records')}))"


def or_zero(expr: str) -> str:
    """Return 0 where there is no series: right where series exist only while something is wrong."""
    return f"({expr}{OR_ZERO})"


def any_service(expr: Callable[[str], str]) -> str:
    """Join the selectors of all services with `or`."""
    return " or ".join(expr(f"ebbwatch_{name}") for name in SERVICES)


def _by(labels: str) -> str:
    return f" by ({labels}) " if labels else ""


MODEL_ALARMS: Final = (
    or_zero(f"sum(max by (alarm) ({of('ebbwatch_scoring_model_alarm')}))")
    + f" + {highest('ebbwatch_scoring_model_unusable')}"
)
"""Signs that the churn model is out of bounds, and whether the promoted one cannot be loaded."""
ENDPOINTS_LEFT_ALONE: Final = or_zero(
    f"sum(max by (endpoint) ({of('ebbwatch_alerts_breaker_open')}))"
)
"""Receivers to which nothing is sent now."""
