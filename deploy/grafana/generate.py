"""The dashboards as JSON, and whether the committed files are the same."""

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


def generated() -> dict[str, str]:
    """Return the text of every dashboard by the name of its file."""
    encoded = [JSONEncoder(sort_keys=True, indent=2).encode(each.build()) for each in BOARDS]
    return {f"{json.loads(text)['uid']}.json": f"{text}\n" for text in encoded}


def committed(folder: Path = FOLDER) -> dict[str, dict[str, Any]]:
    """Return every dashboard of the folder by the name of its file."""
    return {path.name: json.loads(path.read_text("utf-8")) for path in _files(folder)}


def write(folder: Path = FOLDER) -> None:
    """Write every dashboard, and remove files that are none any more."""
    wanted = generated()
    for path in _files(folder):
        if path.name not in wanted:
            path.unlink()
    for name, content in wanted.items():
        (folder / name).write_text(content, "utf-8")


def differing(folder: Path = FOLDER) -> list[Path]:
    """Return the files that `write` would change, make or remove."""
    wanted = generated()
    there = {path.name: path.read_text("utf-8") for path in _files(folder)}
    names = sorted(wanted.keys() | there.keys())
    return [folder / name for name in names if wanted.get(name) != there.get(name)]


def _files(folder: Path) -> list[Path]:
    return sorted(folder.glob("*.json"))
