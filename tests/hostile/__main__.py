"""`make hostile`: sends hostile input to the real services.

    python -m tests.hostile [--profile short|long] [--requests N] [--records N] [--answers N]
                            [--seed N] [--output build/hostile.json]

Prints the figures for a person, then as JSON: answers, crashes, stalls of `/livez`, memory, and how
long a well-behaved neighbour had to wait under each attack and without it. Exit status 1 where a
service died, stalled for more than a second, answered 500, misread an answer, grew beyond
`MEMORY_MAX`, or where the neighbour lost a message or got one twice; times alone are only reported.
"""

import argparse
import asyncio
import json
import sys
from os import environ
from pathlib import Path

from deploy.local.stack import DATA
from tests.hostile.run import PROFILES, play


def main() -> int:
    """Parses and runs; returns the exit status."""
    parser = argparse.ArgumentParser(prog="python -m tests.hostile")
    parser.add_argument("--profile", choices=PROFILES, default="long")
    parser.add_argument("--requests", type=int, help="to each service")
    parser.add_argument("--records", type=int, help="to all topics together")
    parser.add_argument("--answers", type=int, help="to what alerts sends")
    parser.add_argument("--seed", type=int, default=17)
    parser.add_argument("--output", type=Path, default=Path("build/hostile.json"))
    given = parser.parse_args()
    asked = {
        name: value
        for name in ("requests", "records", "answers")
        if (value := getattr(given, name)) is not None
    }
    profile = PROFILES[given.profile]._replace(**asked)
    figures = asyncio.run(play(DATA / "hostile", environ, profile=profile, seed=given.seed))
    document = json.dumps(figures.document(), indent=1, ensure_ascii=False)
    given.output.parent.mkdir(parents=True, exist_ok=True)
    given.output.write_text(document + "\n", encoding="utf-8")
    print("\n".join(figures.lines()))
    print(document)
    return 1 if figures.wrong() else 0


if __name__ == "__main__":
    sys.exit(main())
