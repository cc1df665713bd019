"""Prints the results of the demo for a person."""

from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta
from typing import Any

import polars as pl
from rich.console import Console, Group
from rich.markup import escape
from rich.panel import Panel
from rich.table import Table
from rich.text import Text

from deploy.demo.figures import Received, ReceivedTask, opened

EXAMPLES = 3
BAR_CELLS = 24


def show(
    console: Console,
    found: Mapping[str, Any],
    received: Sequence[Received],
    purchases: pl.DataFrame,
    data_end: datetime,
) -> None:
    """Print the figures, three tasks in full, and whether the warnings were right.

    `purchases` (customer, time), complete until `data_end`, show what the customers of the three
    tasks did afterwards.
    """
    console.rule("[bold]What came of it[/]")
    console.print(_path(found))
    console.print(_counts("Tasks by band", found["tasks"]["by_band"]))
    console.print(_counts("Tasks by leading reason", found["tasks"]["by_reason"]))
    tasks = [each.message.task for each in opened(received)]
    seen = [task for task in tasks if task.opened_at + timedelta(task.horizon_days) <= data_end]
    for task in examples(seen or tasks):
        console.print(_example(task, purchases))
    console.print(_right(found["warning"]))


def examples(tasks: Sequence[ReceivedTask]) -> list[ReceivedTask]:
    """Returns three example tasks: the most valuable of each language and of another cause."""
    chosen: list[ReceivedTask] = []
    ordered = sorted(tasks, key=lambda task: (-task.value_at_risk, task.id))
    for task in ordered:
        if task.language not in {each.language for each in chosen}:
            chosen.append(task)
    causes = {each.cause for each in chosen}
    rest = [task for task in ordered if task not in chosen]
    rest.sort(key=lambda task: task.cause in causes)
    return (chosen + rest)[:EXAMPLES]


def afterwards(task: ReceivedTask, purchases: pl.DataFrame) -> str:
    """Describes what the customer did after the task was opened, according to the data."""
    since = task.opened_at.replace(tzinfo=None)
    later = purchases.filter(
        (pl.col("customer") == task.customer.id) & (pl.col("time") > since)
    ).sort("time")["time"]
    if later.is_empty():
        return "bought nothing more as long as the data reach"
    days = (later.to_list()[0] - since).total_seconds() / 86_400
    return f"bought again after {days:.0f} day{'' if round(days) == 1 else 's'}"


def _path(found: Mapping[str, Any]) -> Table:
    events, throughput, latency = found["events"], found["throughput"], found["latency_s"]
    table = Table.grid(padding=(0, 2))
    table.add_column(style="dim")
    table.add_column()
    table.add_row(
        "Events",
        f"{events['sent']:,} in, {events['accepted']:,} accepted, "
        f"{events['dead_lettered']:,} dead-lettered",
    )
    table.add_row(
        "Throughput",
        f"{throughput['backfill_events_per_s']:,.0f} events/s silently, "
        f"{throughput['events_per_s']:,.0f} events/s replayed as live",
    )
    table.add_row(
        "Tasks",
        f"{found['tasks']['raised']:,} raised, {found['tasks']['updated']:,} updated, "
        f"{found['tasks']['closed']:,} closed again",
    )
    table.add_row(
        "Deliveries",
        f"{found['deliveries']['ok']:,} signed webhooks taken by the sample CRM, "
        f"{found['deliveries']['signature_failures']:,} refused",
    )
    if latency["p50"] is not None:
        table.add_row("Event to task", f"p50 {latency['p50']:.2f} s, p99 {latency['p99']:.2f} s")
    return table


def _counts(title: str, counts: Mapping[str, int]) -> Table:
    table = Table(title=title, title_justify="left", box=None, show_header=False, padding=(0, 2))
    most = max(counts.values(), default=1)
    for name, count in counts.items():
        bar = "█" * max(1, round(BAR_CELLS * count / most))
        table.add_row(name, f"{count:,}", f"[cyan]{bar}[/]")
    return table


def _example(task: ReceivedTask, purchases: pl.DataFrame) -> Panel:
    owner = task.owner.name or task.owner.id if task.owner else "nobody"
    lines = [
        f"for {owner} · opened {task.opened_at:%Y-%m-%d} · due {task.due_at:%Y-%m-%d} · "
        f"task {task.id}",
        f"{_risk(task)} · {task.value_at_risk:,.2f} {task.currency} at risk",
        *(f"  • {reason.text}" for reason in task.reasons),
        *(f"  {number}. {step}" for number, step in enumerate(task.steps, start=1)),
    ]
    what_happened = Text(f"and then: {afterwards(task, purchases)}", style="dim italic")
    name = task.customer.name or task.customer.id
    return Panel(
        Group(*(Text(line) for line in lines), what_happened),
        title=f"[bold]{escape(name)}[/] · {' · '.join(filter(None, (task.grade, task.band)))}",
        title_align="left",
    )


def _risk(task: ReceivedTask) -> str:
    if task.lapse_probability is None or task.lapse_days is None:
        return f"{task.probability:.0%} likely to buy nothing for {task.horizon_days} days"
    return f"{task.lapse_probability:.0%} likely to stay silent for {task.lapse_days:.0f} days"


def _right(warning: Mapping[str, Any]) -> Panel:
    title = "[bold]Were they noticed in time?[/]"
    return Panel("\n".join(_judged(warning)), title=title, title_align="left")


def _judged(warning: Mapping[str, Any]) -> list[str]:
    if not warning["lapses"]:
        return [f"No customer lapsed among {warning['customers']:,} households with a rhythm."]
    rule = warning["rule"]
    lines = [
        f"[bold]{warning['recall']:.0%}[/] of the {warning['lapses']:,} households that stopped "
        f"buying were warned about in time ({_share(warning['value_recall'])} of their spending)"
        + (f", {warning['lead_days']:.0f} days before the lapse." if warning["lead_days"] else "."),
        f"{warning['warned']:,} silences were warned about, {warning['budget']:.1f} per 100 "
        f"households and month; {_share(warning['precision_in_time'])} of them were such a lapse.",
        f'The plain rule "silent for {rule["gaps"]:.1f} usual gaps", with as many warnings, finds '
        f"{_share(rule['recall'])} in time ({_share(rule['value_recall'])} of the spending), and "
        f"{_share(rule['precision_in_time'])} of its warnings are right.",
        f"With all causes: {warning['all_causes']['budget']:.1f} warnings per 100 households and "
        "month.",
    ]
    if warning["missed"]:
        named = ", ".join(f"{one['customer']} ({one['spent']:,.0f})" for one in warning["missed"])
        lines.append(
            f"Missed: {warning['missed_in_all']:,}; by what they spent in the quarter before: "
            f"{named}."
        )
    lines.append(
        f"[dim]A lapse is a silence of four usual gaps, 28 to 180 days; judged are "
        f"{warning['silences']:,} silences of {warning['customers']:,} households.[/]"
    )
    return lines


def _share(value: float | None) -> str:
    return "–" if value is None else f"{value:.0%}"
