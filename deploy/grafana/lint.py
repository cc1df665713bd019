"""Rules that every dashboard obeys; `findings` returns what breaks one, with the place.

The rules: nothing depends on the name of a data source, a job or a process; every panel says what
it shows, in which unit, and when to worry; every query parses, asks for metrics and labels that the
services declare, takes rates of counters only and of all of them, over windows that follow the
scrape interval, and never sums what all processes report alike.
"""

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Any, Final

import promql_parser as promql

from deploy.grafana.panels import SOURCE
from deploy.metrics import Declared, declared
from services.alerts import metrics as alerts
from services.ingest import metrics as ingest
from services.scoring import metrics as scoring

WINDOWS: Final = {"$__rate_interval": "61s", "$__range": "3607s"}
"""Grafana's windows, and values that a query has nowhere else."""
RATES: Final = ("rate", "increase")
CHOICES: Final = ("topk", "bottomk")
"""Aggregations that leave series as they are."""
EVERYWHERE: Final = frozenset({"job", "instance", "__name__"})
FOREIGN: Final = {
    "up": (),
    "ALERTS": ("alertname", "alertstate", "severity"),
    "process_resident_memory_bytes": (),
    "process_cpu_seconds_total": (),
}
"""Metrics of Prometheus and of its Python client, with their labels."""
UNFILTERED: Final = frozenset({"ALERTS"})
"""An alarm need not have a job, or an instance."""
TEXTS: Final = frozenset({"text", "row"})
"""Types of panels that show no numbers."""
WORRY: Final = ("Worry", "worry", "bove none")
"""One of these begins the part of a description that says when the numbers are bad."""


class Known:
    """What the services declare: the series by name, with their labels."""

    def __init__(self, declared: list[Declared]) -> None:
        """Add the series that a histogram consists of."""
        self.labels: dict[str, frozenset[str]] = {
            name: frozenset(labels) | EVERYWHERE for name, labels in FOREIGN.items()
        }
        self.counters = {name for name in FOREIGN if name.endswith("_total")}
        self.shared = set[str]()
        for each in declared:
            if each.kind == "histogram":
                names = {f"{each.name}_{end}" for end in ("bucket", "sum", "count")}
            else:
                names = {each.name}
            labels = frozenset(each.labels) | EVERYWHERE
            for name in names:
                self.labels[name] = labels | {"le"} if name.endswith("_bucket") else labels
            if each.kind in ("histogram", "counter"):
                self.counters |= names
            if "database-wide" in each.meaning:
                self.shared |= names


def known() -> Known:
    """Return what the services of this release declare."""
    return Known([each for module in (ingest, scoring, alerts) for each in declared(module)])


@dataclass(frozen=True, slots=True)
class _Place:
    """What is around a selector."""

    window_s: float | None = None
    function: str = ""
    aggregation: str = ""
    """The nearest one."""
    by: frozenset[str] = frozenset()
    """Labels of the nearest aggregation."""
    kept: frozenset[str] | None = None
    """Labels that all aggregations keep."""


def findings(board: Mapping[str, Any], known: Known) -> list[str]:
    """Return what breaks a rule; empty: nothing."""
    return [f"{board['uid']}: {each}" for each in (*_of_board(board), *_of_panels(board, known))]


def _of_board(board: Mapping[str, Any]) -> Iterator[str]:
    if "__inputs" in board:
        yield "`__inputs` asks for a data source at every import: use the variable"
    variables = {each["name"]: each for each in board["templating"]["list"]}
    if variables.get("datasource", {}).get("type") != "datasource":
        yield "no variable `datasource`"
    for name in ("job", "instance"):
        if not variables.get(name, {}).get("includeAll"):
            yield f"no variable `{name}` with `All`"
    panels = board["panels"]
    for name in ("id", "title"):
        values = [each.get(name) for each in panels]
        if None in values or "" in values or len(set(values)) < len(values):
            yield f"panels without a `{name}` of their own"


def _of_panels(board: Mapping[str, Any], known: Known) -> Iterator[str]:
    for panel in board["panels"]:
        wrong = list(_of_texts(panel)) if panel["type"] not in TEXTS else []
        for target in panel.get("targets", ()):
            wrong += _of_target(target, known)
        yield from (f"{panel['title']}: {each}" for each in wrong)


def _of_texts(panel: Mapping[str, Any]) -> Iterator[str]:
    description = panel.get("description", "")
    if not any(word in description for word in WORRY):
        yield "the description does not say when to worry"
    if not panel["fieldConfig"]["defaults"].get("unit"):
        yield "no unit"
    if not panel.get("targets"):
        yield "no query"
    if panel.get("datasource") != SOURCE.to_json():
        yield "its data source is not the variable"


def _of_target(target: Mapping[str, Any], known: Known) -> Iterator[str]:
    expr = str(target["expr"])
    if target.get("datasource") != SOURCE.to_json():
        yield f"the data source of query {target['refId']} is not the variable"
    try:
        tree = parsed(expr)
    except ValueError as error:
        yield f"`{expr}` does not parse: {error}"
        return
    places = list(_selectors(tree, _Place()))
    for selector, place in places:
        yield from _of_selector(selector, place, known, graph=bool(target.get("range")))
    legend = set(_legend_labels(str(target.get("legendFormat", ""))))
    for _, place in places:
        if lost := legend - (place.kept or frozenset()):
            yield f"the legend names {', '.join(sorted(lost))}, which the query does not keep"


def _of_selector(
    selector: promql.VectorSelector, place: _Place, known: Known, *, graph: bool
) -> Iterator[str]:
    name, matchers = selector.name or "", selector.matchers.matchers
    if name not in known.labels:
        yield f"`{name}` is declared nowhere (docs/metrics.md)"
        return
    used = {each.name for each in matchers} | place.by
    if unknown := used - known.labels[name]:
        yield f"`{name}` has no label {', '.join(sorted(unknown))}"
    chosen = {each.name for each in matchers if each.value == f"${each.name}"}
    if name not in UNFILTERED and not {"job", "instance"} <= chosen:
        yield f"`{name}` is not restricted to $job and $instance"
    if name in known.counters and place.function not in RATES:
        yield f"the counter `{name}` is not inside rate or increase"
    if name not in known.counters and place.function in RATES:
        yield f"rate of `{name}`, which is no counter"
    if graph and place.window_s not in (None, 61.0):
        yield f"`{name}` over a fixed window: use $__rate_interval"
    if name in known.shared and place.aggregation != "max":
        yield f"`{name}` is the same from every process: take max, not {place.aggregation or 'all'}"


def parsed(expr: str) -> promql.Expr:
    """Return the tree of a query in which Grafana's windows are replaced.

    Raises ValueError with the place of a mistake.
    """
    for name, value in WINDOWS.items():
        expr = expr.replace(name, value)
    return promql.parse(expr)


def selectors(expr: str) -> list[promql.VectorSelector]:
    """Return the selectors of a query. Raises ValueError where it does not parse."""
    return [selector for selector, _ in _selectors(parsed(expr), _Place())]


def aggregated(expr: str, known: Known) -> Iterator[tuple[str, str]]:
    """Yield the nearest aggregation around each known series that a query selects, and its name.

    The aggregation is empty where there is none. Raises ValueError where it does not parse.
    """
    for selector, place in _selectors(parsed(expr), _Place()):
        of_name = [each for each in selector.matchers.matchers if each.name == "__name__"]
        pattern = of_name[0].value if of_name else re.escape(selector.name or "")
        yield from (
            (place.aggregation, name) for name in known.labels if re.fullmatch(pattern, name)
        )


def _selectors(tree: Any, around: _Place) -> Iterator[tuple[promql.VectorSelector, _Place]]:
    inside: list[Any] = []
    match type(tree).__name__:
        case "VectorSelector":
            yield tree, around
        case "MatrixSelector":
            yield tree.vector_selector, replace(around, window_s=tree.range.total_seconds())
        case "Call":
            around, inside = replace(around, function=tree.func.name), tree.args
        case "AggregateExpr" if str(tree.op) in CHOICES:
            inside = [tree.expr]
        case "AggregateExpr":
            by = frozenset(tree.modifier.labels) if tree.modifier else frozenset[str]()
            kept = by if around.kept is None else around.kept & by
            around, inside = (
                replace(around, aggregation=str(tree.op), by=by, kept=kept),
                [tree.expr],
            )
        case "BinaryExpr":
            inside = [tree.lhs, tree.rhs]
        case "ParenExpr" | "UnaryExpr" | "SubqueryExpr":
            inside = [tree.expr]
    for each in inside:
        yield from _selectors(each, around)


def _legend_labels(legend: str) -> Iterator[str]:
    for part in legend.split("{{")[1:]:
        yield part.split("}}")[0].strip()
