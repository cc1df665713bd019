"""`make bench`: measures a core and the local stack, as JSON; ratios are of one run.

python -m tests.benchmark [--section kernel,ceiling,scoring] [--output build/bench.json]
"""

import argparse
import asyncio
import json
import sys
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from tests.benchmark import (
    common,
    delivery,
    footprint,
    growth,
    http_intake,
    identity,
    import_files,
    intake,
    kernel,
    model,
    path,
    replicas,
    scoring_batches,
    segments,
    streams,
    sweep,
    tasks,
    traced,
    training,
)

SECTIONS: dict[str, Callable[[], Mapping[str, Any]]] = {
    "kernel": kernel.run,
    "model": model.run,
    "segments": segments.run,
    "ceiling": lambda: common.run(streams.ceiling),
    "intake": lambda: {
        **intake.run(),
        **import_files.run(),
        **common.run(http_intake.run),
    },
    "ingest": lambda: common.run(streams.ingest),
    "scoring": lambda: common.run(scoring_batches.scoring),
    "identity": lambda: common.run(identity.identity),
    "tracing": lambda: common.run(traced.tracing),
    "sweep": lambda: common.run(sweep.sweep),
    "end_to_end": path.run,
    "growth": lambda: common.run(growth.growth),
    "replicas": lambda: common.run(replicas.replicas),
    "delivery": lambda: common.run(delivery.run),
    "training": training.run,
    "alerts": lambda: common.run(tasks.alerts),
    "footprint": lambda: asyncio.run(footprint.footprint()),
}


def main() -> int:
    """Runs the requested sections, prints them, and merges them into a file with other runs'
    sections."""
    parser = argparse.ArgumentParser(prog="python -m tests.benchmark")
    parser.add_argument("--section", default=",".join(SECTIONS), help="some of these, by comma")
    parser.add_argument("--output", type=Path, default=Path("build/bench.json"))
    given = parser.parse_args()
    asked = given.section.split(",")
    if unknown := [name for name in asked if name not in SECTIONS]:
        print(f"no section {unknown}; there are {list(SECTIONS)}", file=sys.stderr)
        return 2
    found: dict[str, Any] = {"scale": common.SCALE}
    for name in asked:
        print(f"{name} …", file=sys.stderr, flush=True)
        figures = dict(SECTIONS[name]())
        if broker := figures.pop("broker", None):
            found["broker"] = broker
        # A section may also report the ceiling that belongs to it.
        found.setdefault("ceiling", {}).update(figures.pop("ceiling", {}))
        found.setdefault(name, {}).update(figures)
        print(table(name, found[name]), file=sys.stderr, flush=True)
        given.output.parent.mkdir(parents=True, exist_ok=True)
        given.output.write_text(json.dumps(found, indent=2, default=float) + "\n")
    print(json.dumps(found, indent=2, default=float))
    return 0


def table(section: str, figures: Mapping[str, Any]) -> str:
    """Formats one line per figure, with the JSON's keys as names."""
    lines = []
    for key, value in figures.items():
        if isinstance(value, Mapping):
            lines.append(table(f"{section}.{key}", value))
        else:
            lines.append(f"  {section}.{key:<32} {_short(value):>14}")
    return "\n".join(lines)


def _short(value: object) -> str:
    if not isinstance(value, float):
        return str(value)
    return f"{value:,.0f}" if value >= 1_000 else f"{value:,.3f}"


if __name__ == "__main__":
    sys.exit(main())
