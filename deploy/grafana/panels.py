"""The kinds of panels that the dashboards are made of, and the frame of a dashboard.

Units are Grafana's: `s` seconds, `short` a count, `cps` counts per second, `percentunit` a ratio,
`bytes`.
"""

from collections.abc import Mapping, Sequence
from typing import Any, Final, NamedTuple

from grafana_foundation_sdk.builders import (
    bargauge,
    common,
    dashboard,
    prometheus,
    stat,
    table,
    text,
    timeseries,
)
from grafana_foundation_sdk.models import common as common_models
from grafana_foundation_sdk.models import dashboard as models
from grafana_foundation_sdk.models.prometheus import PromQueryFormat

from deploy.grafana.queries import Query

SOURCE: Final = common_models.DataSourceRef(type_val="prometheus", uid="${datasource}")
"""The data source that the reader chose: nothing depends on its name."""
GREEN, YELLOW, RED, BLUE = "green", "yellow", "red", "blue"
REFRESH: Final = "30s"
"""Two scrapes of 15 s: more often there is nothing new."""

BUILDS: Final = '{__name__=~"ebbwatch_(ingest|scoring|alerts)_build_info"}'
"""What every process has, whatever its job is called in Prometheus."""

Panel = Any
"""A builder of a panel: those of the SDK share no type beyond `cog.builder.Builder`."""


class Bounds(NamedTuple):
    """From which values a number is yellow and red; None: never. Below it is green."""

    yellow: float | None = None
    red: float | None = None
    below: bool = False
    """True where small numbers are the bad ones: red below `red`, yellow below `yellow`."""

    def build(self) -> dashboard.ThresholdsConfig:
        """Return the thresholds for the SDK."""
        if self.below:
            steps: list[tuple[float | None, str]] = [(None, RED)]
            steps += [(self.red, YELLOW), (self.yellow, GREEN)]
        else:
            steps = [(None, GREEN), (self.yellow, YELLOW), (self.red, RED)]
        kept = steps[:1] + [step for step in steps[1:] if step[0] is not None]
        return (
            dashboard.ThresholdsConfig()
            .mode(models.ThresholdsMode.ABSOLUTE)
            .steps([models.Threshold(value, color) for value, color in kept])
        )


NONE_IS_GOOD: Final = Bounds(red=1)
"""Anything above nothing needs a person."""
YES_OR_NO: Final = {"1": ("yes", GREEN), "0": ("NO", RED)}
"""Words for what should be 1."""


def number(
    title: str,
    description: str,
    unit: str,
    *queries: Query,
    bounds: Bounds | None = None,
    words: Mapping[str, tuple[str, str]] | None = None,
    span: int = 4,
    height: int = 4,
    decimals: int | None = None,
) -> Panel:
    """Return a panel of large numbers as they are now.

    `words` maps values to a text and a color. Without them and `bounds` the number is neither good
    nor bad.
    """
    panel = _framed(stat.Panel(), title, description, unit, span, height)
    panel.reduce_options(common.ReduceDataOptions().calcs(["lastNotNull"]).values(values=False))
    panel.graph_mode(common_models.BigValueGraphMode.NONE)
    panel.text_mode(
        common_models.BigValueTextMode.VALUE_AND_NAME
        if len(queries) > 1
        else common_models.BigValueTextMode.VALUE
    )
    panel.color_mode(common_models.BigValueColorMode.BACKGROUND)
    if bounds is None and words is None:
        panel.color_mode(common_models.BigValueColorMode.NONE)
    panel.thresholds((bounds or Bounds()).build())
    if decimals is not None:
        panel.decimals(decimals)
    panel.mappings([*_worded(words or {}), _NOTHING])
    return _asking(panel, queries, instant=True)


def graph(
    title: str,
    description: str,
    unit: str,
    *queries: Query,
    stacked: bool = False,
    span: int = 12,
    height: int = 8,
    lowest: float | None = 0,
) -> Panel:
    """Return a panel of lines over time. `stacked`: the parts of a whole, as areas."""
    panel = _framed(timeseries.Panel(), title, description, unit, span, height)
    panel.legend(
        common.VizLegendOptions()
        .display_mode(common_models.LegendDisplayMode.LIST)
        .placement(common_models.LegendPlacement.BOTTOM)
        .show_legend(show_legend=True)
        .calcs([])
    )
    panel.tooltip(
        common.VizTooltipOptions()
        .mode(common_models.TooltipDisplayMode.MULTI)
        .sort(common_models.SortOrder.DESCENDING)
    )
    panel.line_width(1).fill_opacity(60 if stacked else 0)
    panel.show_points(common_models.VisibilityMode.NEVER)
    if stacked:
        panel.stacking(common.StackingConfig().mode(common_models.StackingMode.NORMAL).group("A"))
    if lowest is not None:
        panel.min(lowest)
    return _asking(panel, queries, instant=False)


def bars(
    title: str, description: str, unit: str, *queries: Query, span: int = 12, height: int = 8
) -> Panel:
    """Return a panel of horizontal bars, one per series, as they are now."""
    panel = _framed(bargauge.Panel(), title, description, unit, span, height)
    panel.reduce_options(common.ReduceDataOptions().calcs(["lastNotNull"]).values(values=False))
    panel.orientation(common_models.VizOrientation.HORIZONTAL)
    panel.display_mode(common_models.BarGaugeDisplayMode.BASIC)
    panel.thresholds(
        dashboard.ThresholdsConfig()
        .mode(models.ThresholdsMode.ABSOLUTE)
        .steps([models.Threshold(None, BLUE)])
    )
    panel.min(0)
    return _asking(panel, queries, instant=True)


def rows(
    title: str,
    description: str,
    query: Query,
    columns: Mapping[str, str],
    *,
    span: int = 12,
    height: int = 6,
    empty: str = "none",
) -> Panel:
    """Return a table with one row per series: its labels under the headings of `columns`."""
    panel = _framed(table.Panel(), title, description, "short", span, height)
    panel.no_value(empty)
    order = {label: at for at, label in enumerate(columns)}
    panel.with_transformation(
        models.DataTransformerConfig(
            id_val="filterFieldsByName", options={"include": {"names": list(columns)}}
        )
    )
    panel.with_transformation(
        models.DataTransformerConfig(
            id_val="organize", options={"indexByName": order, "renameByName": dict(columns)}
        )
    )
    return _asking(panel, [query], instant=True, form=PromQueryFormat.TABLE)


def words(title: str, markdown: str, *, span: int = 12, height: int = 6) -> Panel:
    """Return a panel of text."""
    return text.Panel().title(title).description(title).content(markdown).span(span).height(height)


def row(title: str) -> dashboard.Row:
    """Return the heading of the panels that follow it."""
    return dashboard.Row(title)


def board(name: str, title: str, description: str, *parts: Panel) -> dashboard.Dashboard:
    """Return a dashboard; its address in Grafana is `/d/ebbwatch-<name>`."""
    made = (
        dashboard.Dashboard(f"Ebbwatch: {title}")
        .uid(f"ebbwatch-{name}")
        .description(description)
        .tags(["ebbwatch"])
        .timezone("browser")
        .refresh(REFRESH)
        .time("now-1h", "now")
        .tooltip(models.DashboardCursorSync.CROSSHAIR)
        .readonly()
        .link(
            dashboard.DashboardLink("Ebbwatch")
            .type(models.DashboardLinkType.DASHBOARDS)
            .tags(["ebbwatch"])
            .keep_time(keep_time=True)
        )
    )
    for variable in _variables():
        made.with_variable(variable)
    for at, part in enumerate(parts, start=1):
        part.id(at)
        if isinstance(part, dashboard.Row):
            made.with_row(part)
        else:
            made.with_panel(part)
    return made


_NOTHING: Final = models.SpecialValueMap(
    models.DashboardSpecialValueMapOptions(
        models.SpecialValueMatch.NULL_AND_NAN,
        models.ValueMappingResult(text="no data", color="text"),
    )
)
"""A quantile of nothing: no event came, which is neither good nor bad."""


def _worded(found: Mapping[str, tuple[str, str]]) -> list[models.ValueMap]:
    results = {
        value: models.ValueMappingResult(text=shown, color=color, index=at)
        for at, (value, (shown, color)) in enumerate(found.items())
    }
    return [models.ValueMap(results)] if results else []


def _framed(panel: Panel, title: str, description: str, unit: str, span: int, height: int) -> Panel:
    panel.title(title).description(description).unit(unit).span(span).height(height)
    return panel.datasource(SOURCE)


def _asking(
    panel: Panel,
    queries: Sequence[Query],
    *,
    instant: bool,
    form: PromQueryFormat = PromQueryFormat.TIME_SERIES,
) -> Panel:
    for at, query in enumerate(queries):
        asked = prometheus.Dataquery().ref_id(chr(ord("A") + at)).expr(query.expr).format(form)
        asked.legend_format(query.legend or "__auto").datasource(SOURCE)
        panel.with_target(asked.instant() if instant else asked.range())
    return panel


def _variables() -> tuple[Any, ...]:
    every = models.VariableOption(selected=True, text=["All"], value=["$__all"])
    instances = 'label_values(up{job=~"$job"}, instance)'
    return (
        dashboard.DatasourceVariable("datasource").label("Data source").type("prometheus"),
        _chosen("job", "Job", f"label_values({BUILDS}, job)", every),
        # `All` is every process, also one that is not in the list yet.
        _chosen("instance", "Process", instances, every).all_value(".+"),
    )


def _chosen(name: str, label: str, query: str, every: models.VariableOption) -> Any:
    return (
        dashboard.QueryVariable(name)
        .label(label)
        .datasource(SOURCE)
        .query(query)
        .definition(query)
        .refresh(models.VariableRefresh.ON_TIME_RANGE_CHANGED)
        .sort(models.VariableSort.ALPHABETICAL_ASC)
        .multi(multi=True)
        .include_all(include_all=True)
        .current(every)
    )
