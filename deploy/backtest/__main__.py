"""`python -m deploy.backtest`: runs a backtest of warnings on a company's own event file."""

import argparse
import sys
from datetime import UTC, datetime
from pathlib import Path

from rich.console import Console

from deploy.backtest.run import BacktestOptions, run
from deploy.demo.progress import as_text
from shared.event_files.arguments import add_reading, reading_of
from shared.kernel.errors import Invalid
from shared.runtime.clock import SystemClock

INTERRUPTED = 130
"""Exit status after Ctrl-C, as in shells: 128 + SIGINT."""
REFUSED = 2
"""Exit status for input that cannot be used."""


def main() -> int:
    """Parses, runs and prints the page's path; returns the exit status."""
    parser = argparse.ArgumentParser(prog="python -m deploy.backtest", description=__doc__)
    parser.add_argument("--events", type=Path, required=True, help="a file of events")
    parser.add_argument("--from", dest="begin", type=_day, help="default: the last quarter of it")
    parser.add_argument("--to", dest="end", type=_day, help="default: its end")
    parser.add_argument("--out", type=Path, default=Path("build") / "backtest")
    parser.add_argument(
        "--warnings-per-100", type=float, help="budget, per 100 established customers and 30 days"
    )
    add_reading(parser)
    given = parser.parse_args()
    console = Console(highlight=False)
    try:
        options = BacktestOptions(
            events=given.events,
            out=given.out,
            begin=given.begin,
            end=given.end,
            warnings_per_100=given.warnings_per_100,
            reading=reading_of(given, SystemClock().now()),
        )
        page = run(options, console)
    except KeyboardInterrupt:
        console.print("[yellow]Interrupted.[/]")
        return INTERRUPTED
    except Invalid as invalid:
        console.print(as_text(str(invalid)), style="red", soft_wrap=True)
        return REFUSED
    console.print(as_text(str(page.resolve())), soft_wrap=True)
    return 0


def _day(text: str) -> datetime:
    """Parses a date as midnight UTC."""
    return datetime.strptime(text, "%Y-%m-%d").replace(tzinfo=UTC)


if __name__ == "__main__":
    sys.exit(main())
