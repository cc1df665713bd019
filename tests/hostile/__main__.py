"""`make hostile`: everything that should not come in, against the real services.

    python -m tests.hostile [--profile short|long] [--requests N] [--records N] [--seed N]

Prints the figures of each service: answers, deaths, stalls of `/livez`, memory. Exit status 1 where
a service died, stalled for more than a second, answered 500, or grew beyond `MEMORY_MAX`.
"""

import argparse
import asyncio
import sys
from os import environ

from deploy.local.stack import DATA
from tests.hostile.run import PROFILES, Figures, play


def main() -> int:
    """Parse and run; returns the exit status."""
    parser = argparse.ArgumentParser(prog="python -m tests.hostile")
    parser.add_argument("--profile", choices=PROFILES, default="long")
    parser.add_argument("--requests", type=int, help="to each service")
    parser.add_argument("--records", type=int, help="to all topics together")
    parser.add_argument("--seed", type=int, default=17)
    given = parser.parse_args()
    profile = PROFILES[given.profile]
    requests = profile.requests if given.requests is None else given.requests
    records = profile.records if given.records is None else given.records
    figures: Figures = asyncio.run(
        play(DATA / "hostile", environ, requests=requests, records=records, seed=given.seed)
    )
    print("\n".join(figures.lines()))
    return 1 if figures.wrong() else 0


if __name__ == "__main__":
    sys.exit(main())
