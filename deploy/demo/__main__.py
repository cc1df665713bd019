"""`python -m deploy.demo`: implements `make demo`. Ctrl-C at any point leaves no process behind."""

import argparse
import signal
import sys
from pathlib import Path
from types import FrameType

from rich.console import Console

from deploy.demo.progress import as_text
from deploy.demo.run import DemoOptions, run
from deploy.demo.services import DemoError
from deploy.local.process import StackError
from deploy.local.stack import DATA, ROOT
from shared.kernel.errors import Transient

SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
INTERRUPTED = 130
"""Exit status after Ctrl-C, as in shells: 128 + SIGINT."""


def main() -> int:
    """Parses, runs, and prints errors; returns the exit status."""
    parser = argparse.ArgumentParser(
        prog="python -m deploy.demo", description="Ebbwatch on a year of real purchases"
    )
    parser.add_argument("--households", type=int, help="only so many of the 2,469")
    parser.add_argument("--days", type=int, help="replay only so many of the 93")
    parser.add_argument("--data", type=Path, default=DATA / "demo", help="emptied at the start")
    parser.add_argument("--output", type=Path, default=ROOT / "build" / "demo.json")
    given = parser.parse_args()

    for wanted in SIGNALS:
        signal.signal(wanted, _interrupt)
    console = Console(highlight=False)
    try:
        return run(DemoOptions(given.data, given.output, given.households, given.days), console)
    except KeyboardInterrupt:
        console.print("[yellow]Interrupted; every process has been stopped.[/]")
        return INTERRUPTED
    except (StackError, DemoError, Transient, FileNotFoundError) as error:
        console.print("The demo failed:", as_text(str(error)), style="red", soft_wrap=True)
        return 1


def _interrupt(_: int, __: FrameType | None) -> None:
    """Interrupts once: a second Ctrl-C would disturb the orderly stop, which takes at most 20 s."""
    for wanted in SIGNALS:
        signal.signal(wanted, signal.SIG_IGN)
    raise KeyboardInterrupt


if __name__ == "__main__":
    sys.exit(main())
