"""`make bench`: what a core and the local stack do, as JSON; ratios are of one run.

python -m tests.benchmark [--section kernel,scoring,alerts] [--output build/bench.json]
"""

import argparse
import json
import sys
from collections.abc import Callable, Mapping
from pathlib import Path

from tests.benchmark import delivery, kernel, segments, streams, tasks, training

SECTIONS: dict[str, Callable[[], Mapping[str, float | str]]] = {
    "kernel": kernel.run,
    "segments": segments.run,
    "ingest": lambda: streams.run(streams.ingest),
    "scoring": lambda: streams.run(streams.scoring),
    "delivery": lambda: streams.run(delivery.run),
    "training": training.run,
    "alerts": lambda: streams.run(tasks.alerts),
}


def main() -> int:
    """Run the sections asked for, print them, keep them in a file."""
    parser = argparse.ArgumentParser(prog="python -m tests.benchmark")
    parser.add_argument("--section", default=",".join(SECTIONS), help="some of these, by comma")
    parser.add_argument("--output", type=Path, default=Path("build/bench.json"))
    given = parser.parse_args()
    asked = given.section.split(",")
    if unknown := [name for name in asked if name not in SECTIONS]:
        print(f"no section {unknown}; there are {list(SECTIONS)}", file=sys.stderr)
        return 2
    found = {}
    for name in asked:
        print(f"{name} …", file=sys.stderr, flush=True)
        found[name] = {
            key: round(value, 3) if isinstance(value, float) else value
            for key, value in SECTIONS[name]().items()
        }
    text = json.dumps(found, indent=2)
    given.output.parent.mkdir(parents=True, exist_ok=True)
    given.output.write_text(text + "\n")
    print(text)
    return 0


if __name__ == "__main__":
    sys.exit(main())
