"""Writes the dashboards.

python -m deploy.grafana          writes deploy/grafana/dashboards/*.json
python -m deploy.grafana --check  fails when they are not what would be written
"""

import argparse
import sys
from pathlib import Path

from deploy.grafana.generate import FOLDER, differing, write


def main(argv: list[str] | None = None, folder: Path = FOLDER) -> int:
    """Writes or checks; exit status 1 on drift."""
    parser = argparse.ArgumentParser(prog="python -m deploy.grafana", description=__doc__)
    parser.add_argument("--check", action="store_true", help="write nothing, fail on drift")
    if not parser.parse_args(argv).check:
        write(folder)
        return 0
    if not (wrong := differing(folder)):
        return 0
    print(
        "\n".join(f"{path} is not what deploy/grafana generates" for path in wrong), file=sys.stderr
    )
    print("mend: run `python -m deploy.grafana` and commit the result", file=sys.stderr)
    return 1


if __name__ == "__main__":
    sys.exit(main())
