"""Files that are generated from the code and committed: written by one option, checked by another.

Shared by the commands that write whole folders of JSON; such a file is never edited.
"""

import argparse
import json
import sys
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

CONTRACTS = Path(__file__).parents[1] / "shared" / "contracts"


def text_of(document: Mapping[str, Any], *, sort: bool = True) -> str:
    """Returns a document as the text of its file: indented, by default with sorted keys."""
    return json.dumps(document, indent=2, ensure_ascii=False, sort_keys=sort) + "\n"


def differing(folder: Path, wanted: Mapping[str, str]) -> list[str]:
    """Returns names of files in `folder` that are missing, differ from the wanted ones, or are
    extra."""
    found = {path.name: path.read_text("utf-8") for path in folder.glob("*.json")}
    return sorted(name for name in {*wanted, *found} if wanted.get(name) != found.get(name))


def write(folder: Path, wanted: Mapping[str, str]) -> None:
    """Writes the files in `folder`, and removes extra ones."""
    folder.mkdir(parents=True, exist_ok=True)
    for path in folder.glob("*.json"):
        if path.name not in wanted:
            path.unlink()
    for name, text in wanted.items():
        (folder / name).write_text(text, "utf-8")


def command(
    module: str,
    about: str | None,
    generate: Callable[[], Mapping[str, str]],
    folder: Path,
    argv: list[str] | None,
) -> int:
    """Writes the files of a folder or checks them; exit status 1 on drift.

    `module` is what a person runs; `generate` returns the content of every file, by its name.
    """
    parser = argparse.ArgumentParser(prog=f"python -m {module}", description=about)
    parser.add_argument("--check", action="store_true", help="write nothing, fail on drift")
    given, wanted = parser.parse_args(argv), generate()
    if not given.check:
        write(folder, wanted)
        return 0
    drifted = differing(folder, wanted)
    for name in drifted:
        print(f"{folder / name} differs from what the code describes", file=sys.stderr)
    if drifted:
        print(f"mend: run `python -m {module}` and commit the result", file=sys.stderr)
    return 1 if drifted else 0
