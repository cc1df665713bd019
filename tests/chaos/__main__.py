"""`make chaos`: break the real services and servers, and judge by a single-threaded reference.

    python -m tests.chaos [--profile short|long] [--only WORD] [--times N]
                          [--output build/chaos.json]

One line per fault: how often it was injected during work, what was lost, doubled or falsely raised,
and the longest time until work went on. Exit status 1 unless every fault that could be run was
injected and left no trace. Logs of the services: `.local/chaos/logs`. The clock jumps inside the
process (no libfaketime needed).
"""

import argparse
import asyncio
import sys
import traceback
from os import environ
from pathlib import Path

from deploy.local.stack import DATA
from tests.chaos import services
from tests.chaos.environment import Stand, Story
from tests.chaos.faults import FAULTS, Fault, play
from tests.chaos.report import Found, Verdict, write

CUSTOMERS = {"short": 36, "long": 120}
TIMES = {"short": 1, "long": 4}
SEED = 41


async def _played(fault: Fault, stand: Stand, story: Story, given: argparse.Namespace) -> Verdict:
    long = given.profile == "long"
    try:
        return await play(fault, stand, story, long=long, times=given.times)
    except Exception as error:  # noqa: BLE001 (reported as a failure of this row; the others go on)
        traceback.print_exc()
        return Verdict.of(fault.name, 0, None, Found(wrong=[f"{type(error).__name__}: {error}"]))


async def run(given: argparse.Namespace) -> int:
    """Runs every chosen fault; returns the exit status."""
    long = given.profile == "long"
    words = [word for word in given.only.split(",") if word] or [""]
    chosen = [
        fault
        for fault in FAULTS
        if (long or fault.short) and any(word in fault.name for word in words)
    ]
    story = await Story.generated(CUSTOMERS[given.profile], SEED)
    verdicts = []
    with Stand.built(DATA / "chaos", environ) as stand:
        broker = stand.stack.broker
        for fault in chosen:
            verdicts.append(await _played(fault, stand, story, given))
            print(verdicts[-1].line(), flush=True)
            write(given.output, broker, verdicts)
    if long and not given.only:
        async for verdict in services.run(given.times, broker):
            verdicts.append(verdict)
            print(verdict.line(), flush=True)
            write(given.output, broker, verdicts)
    return 0 if all(verdict.ok is not False for verdict in verdicts) else 1


def main() -> int:
    """Parses and runs; returns the exit status."""
    parser = argparse.ArgumentParser(prog="python -m tests.chaos")
    parser.add_argument("--profile", choices=("short", "long"), default="long")
    parser.add_argument(
        "--only", default="", help="faults whose name contains one of these words, split by commas"
    )
    parser.add_argument("--times", type=int, help="how many times the short profile's injections")
    parser.add_argument("--output", type=Path, default=Path("build/chaos.json"))
    given = parser.parse_args()
    given.times = given.times or TIMES[given.profile]
    return asyncio.run(run(given))


if __name__ == "__main__":
    sys.exit(main())
