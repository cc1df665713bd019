"""Writes the dashboards.

python -m deploy.grafana          writes deploy/grafana/dashboards/*.json
python -m deploy.grafana --check  fails when they are not what would be written
"""

import sys
from pathlib import Path

from deploy import generated
from deploy.grafana.generate import FOLDER, generate


def main(argv: list[str] | None = None, folder: Path = FOLDER) -> int:
    """Writes or checks; exit status 1 on drift."""
    return generated.command("deploy.grafana", __doc__, generate, folder, argv)


if __name__ == "__main__":
    sys.exit(main())
