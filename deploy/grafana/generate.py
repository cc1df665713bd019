"""The dashboards as JSON, generated and as they are committed."""

import json
from pathlib import Path
from typing import Any, Final

from grafana_foundation_sdk.cog.encoder import JSONEncoder

from deploy.grafana.boards import delivery, intake, overview, scoring, servers, warning

FOLDER: Final = Path(__file__).parent / "dashboards"
BOARDS: Final = (
    overview.BOARD,
    intake.BOARD,
    scoring.BOARD,
    warning.BOARD,
    delivery.BOARD,
    servers.BOARD,
)


def generate() -> dict[str, str]:
    """Return the text of every dashboard by the name of its file."""
    encoded = [JSONEncoder(sort_keys=True, indent=2).encode(each.build()) for each in BOARDS]
    return {f"{json.loads(text)['uid']}.json": f"{text}\n" for text in encoded}


def committed(folder: Path = FOLDER) -> dict[str, dict[str, Any]]:
    """Return every dashboard of the folder by the name of its file."""
    return {
        path.name: json.loads(path.read_text("utf-8")) for path in sorted(folder.glob("*.json"))
    }
