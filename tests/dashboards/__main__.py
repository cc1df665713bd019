"""`make dashboards-check`: check the dashboards, then run their queries on real services.

    python -m tests.dashboards [--record FILE]

First drift and our own rules. Then the three services run on the local stack under a little load,
scraped by a real Prometheus, and every query of every panel must return a number. Panels that are
empty while nothing is wrong are named below with the reason; their queries must find series that
are planted for them. Exit status 1 names queries without a number. `--record` runs longer, plants
nothing, and keeps what the panels show, for drawing.
"""

import argparse
import asyncio
import json
import sys
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

from deploy.demo.services import NAMES
from deploy.generated import differing
from deploy.grafana.generate import FOLDER, committed, generate
from deploy.grafana.lint import findings, known
from deploy.local.stack import DATA
from tests.alarms.faults import fed_world, targets
from tests.alarms.monitoring import missing, monitoring
from tests.dashboards.live import SHOWN_S, Asked, Source, asked
from tests.dashboards.planted import JOB, exposition, planted

DATA_S_MAX: Final = 120.0
"""Longest time until every panel shows something, in seconds: two passes of the slowest gauge."""
RECORD_S: Final = 150.0
LOOK_S: Final = 2.0

_LAPSED = "an outcome is known after weeks"
_ROLL_CALL = "a roll call's horizon is over after weeks"
_NO_CRM = "the check has a webhook, and no CRM with a way back"
_FAULT = "the series exists while something is wrong"
MAY_BE_EMPTY: Final[Mapping[tuple[str, str], str]] = {
    ("ebbwatch-overview", "Alarms that fire"): "nothing is wrong",
    ("ebbwatch-overview", "Set aside"): _FAULT,
    ("ebbwatch-overview", "Model alarms"): _ROLL_CALL,
    ("ebbwatch-scoring", "Model alarms"): _ROLL_CALL,
    ("ebbwatch-scoring", "Drift of features and score"): _ROLL_CALL,
    ("ebbwatch-scoring", "Ranking, realised"): _ROLL_CALL,
    ("ebbwatch-scoring", "Level, realised minus expected"): _ROLL_CALL,
    ("ebbwatch-scoring", "Quality, realised and promised"): _ROLL_CALL,
    ("ebbwatch-warnings", "Warnings that were right"): _LAPSED,
    ("ebbwatch-warnings", "Recall and precision, realised"): _LAPSED,
    ("ebbwatch-delivery", "Back from CRMs, by outcome"): _NO_CRM,
    ("ebbwatch-delivery", "Polls of CRMs"): _NO_CRM,
    ("ebbwatch-servers", "Records given up"): _FAULT,
}
"""Panels that are empty here although nothing is wrong, and why."""


def check_files() -> list[str]:
    """Return what is wrong with the committed files."""
    boards = committed().values()
    drifted = differing(FOLDER, generate())
    wrong = [f"{FOLDER / name} is not what `python -m deploy.grafana` writes" for name in drifted]
    wrong += [text for board in boards for text in findings(board, known())]
    panels = {(query.board, query.panel) for board in boards for query in asked(board)}
    wrong += [f"no such panel: {each}" for each in sorted(MAY_BE_EMPTY.keys() - panels)]
    return wrong


def empty(source: Source, queries: list[Asked]) -> list[Asked]:
    """Return the queries without a number in their answer."""
    return [query for query in queries if not source.has_data(query)]


async def live(record: Path | None) -> list[str]:
    """Run all queries until each had data; returns what is wrong."""
    queries = [query for board in committed().values() for query in asked(board)]
    excused = [query for query in queries if (query.board, query.panel) in MAY_BE_EMPTY]
    async with fed_world(DATA / "dashboards") as world:
        with planted(exposition((query.expr for query in excused), known())) as address:
            # What is drawn is what a reader would see, without anything planted.
            more = {} if record else {JOB: address}
            with monitoring(DATA / "dashboards" / "monitoring", targets(world) | more) as seen:
                return await _look(seen.prometheus, queries, record)


async def _look(address: str, queries: list[Asked], record: Path | None) -> list[str]:
    source, begin = Source(address), time.monotonic()
    await asyncio.sleep(3 * LOOK_S)
    for board in committed().values():
        chosen = source.choose(board)
        if len(chosen["job"]) != len(NAMES) or len(chosen["instance"]) != len(NAMES):
            return [f"{board['uid']}: there is to choose {chosen}"]
    needed = [query for query in queries if (query.board, query.panel) not in MAY_BE_EMPTY]
    left = needed
    while left and time.monotonic() < begin + DATA_S_MAX:
        left = await asyncio.to_thread(empty, source, left)
        await asyncio.sleep(LOOK_S)
    took_s = time.monotonic() - begin
    print(f"{len(needed) - len(left)} of {len(needed)} queries: data within {took_s:.0f} s")
    if record is not None:
        await asyncio.sleep(max(0.0, RECORD_S - took_s))
        await asyncio.to_thread(
            _keep, record, {each.place: source.series(each) for each in queries}
        )
        return []
    excused = [query for query in queries if query not in needed]
    lost = empty(Source(address, {"job": JOB, "instance": ".+"}), excused)
    print(
        f"{len(excused) - len(lost)} of {len(excused)} that may be empty: data where it is planted"
    )
    return [f"no data: {query.place}\n    {query.expr}" for query in left + lost]


def _keep(record: Path, shown: Mapping[str, Any]) -> None:
    now = time.time()
    record.parent.mkdir(parents=True, exist_ok=True)
    kept = {"from_s": now - SHOWN_S, "to_s": now, "shown": shown}
    record.write_text(json.dumps(kept))


def main(argv: Any = None) -> int:
    """Parse and run; returns the exit status."""
    parser = argparse.ArgumentParser(prog="python -m tests.dashboards")
    parser.add_argument("--record", type=Path, help="keep what the panels show in this file")
    given = parser.parse_args(argv)
    if absent := missing():
        print(f"not installed: {', '.join(absent)} (docs/alarms.md)", file=sys.stderr)
        return 1
    wrong = check_files() or asyncio.run(live(given.record))
    print("\n".join(wrong), file=sys.stderr)
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main())
