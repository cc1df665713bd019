"""Command `sources`: which systems send events, how many, and which have a wrong clock."""

import argparse
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any, Final

from sqlalchemy.ext.asyncio import AsyncEngine

from services.ingest.core.shown import line
from services.ingest.core.source_clocks import SourceReport, duration
from services.ingest.store.source_clocks import DAYS_KEPT, SourceClockDays
from shared.runtime.arguments import days
from shared.runtime.clock import SystemClock
from shared.runtime.command_line import Action, Command

SHOWN_MAX: Final = 200
"""Sources shown: four times what one process observes by name."""
DAYS: Final = 7
"""Days that are summed up unless another number is given: a week has every usual job in it."""


def add(commands: Any, command: Callable[[Action], Command]) -> None:
    """Add the parser; `command` makes a command of an action on the database."""
    parser = commands.add_parser(
        "sources",
        help="live events by source: how many, the newest, and whether its clock seems wrong",
        description="SKEW is the median of the event's time minus its arrival. FUTURE is the share "
        "of events that were refused because they are dated after their arrival.",
    )
    parser.add_argument(
        "--days", type=days, default=DAYS, help=f"up to {DAYS_KEPT} (default: {DAYS})"
    )
    parser.set_defaults(command=command(_list))


async def _list(args: argparse.Namespace, engine: AsyncEngine) -> int:
    since = SystemClock().now().astimezone(UTC) - timedelta(days=args.days - 1)
    found = await SourceClockDays(engine).since(since, SHOWN_MAX)
    if not found:
        print(f"no live event since {since:%F}")
        return 0
    print(f"{'events':>12}  {'newest':<20}  {'skew':>11}  {'future':>6}  source")
    for report in found:
        print(_line(report))
    return 0


def _line(report: SourceReport) -> str:
    every = report.accepted + report.future
    newest = "-" if report.newest_s is None else _at(report.newest_s)
    skew = "-" if report.median_s is None else duration(report.median_s)
    wrong = "" if report.fault is None else f"  ! {report.fault}"
    share = f"{report.future / every:.1%}" if every else "-"
    return f"{every:>12,}  {newest:<20}  {skew:>11}  {share:>6}  {line(report.source)}{wrong}"


def _at(seconds: float) -> str:
    return f"{datetime.fromtimestamp(seconds, UTC):%F %H:%M:%S}Z"
