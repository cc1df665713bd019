"""Reads a tutorial page and does what it asks for, in a copy of the working copy.

Fenced blocks are the only part that is executed. Their kinds, by the first words of the fence:

    bash             commands; a `text` block that follows is their whole output
    bash again       commands that are run again until their output is the one that follows
    bash background  a command for a terminal of its own, which runs to the end of the page
    text             output; `…` replaces what differs from run to run, alone on a line whole lines
    python, javascript, yaml, json
                     a new file, at the last path of its kind named in the text before it
    diff             changes to files: a line `+++ path` for each file, then `-`, `+` and unchanged
                     lines, hunks separated by `@@`; the old lines must occur exactly once

Any other kind is for the reader only, and a page that has one fails. A block may be indented, as
in a list.
"""

import re
from dataclasses import dataclass
from pathlib import Path
from typing import Final

FENCE: Final = re.compile(
    r"^(?P<indent> *)```(?P<info>\w[^\n]*)\n(?P<text>.*?)^(?P=indent)```$", re.MULTILINE | re.DOTALL
)
FILES: Final = {"python": ".py", "javascript": ".mjs", "yaml": ".yaml", "json": ".json"}
"""Kinds of blocks that are new files, and how the names of such files end."""
KINDS: Final = frozenset({"bash", "bash again", "bash background", "text", "diff", *FILES})
GAP: Final = "…"
PATH: Final = re.compile(r"`([\w./-]+\.\w+)`")


@dataclass(frozen=True, slots=True)
class Block:
    """One fenced block. `path`: of a new file, as it is named in the text before it."""

    kind: str
    text: str
    path: str | None


def blocks(page: str) -> list[Block]:
    """Return the blocks of a page in order; raise ValueError for a kind that is not executed."""
    found, before = [], 0
    for match in FENCE.finditer(page):
        named = PATH.findall(page[before : match.start()])
        before, kind = match.end(), match["info"]
        if kind not in KINDS:
            raise ValueError(f"a block of the kind {kind!r}: one of {sorted(KINDS)}")
        paths = [path for path in named if kind in FILES and path.endswith(FILES[kind])]
        text = re.sub(f"^{match['indent']}", "", match["text"], flags=re.MULTILINE)
        found.append(Block(kind, text, paths[-1] if paths else None))
    return found


def shows(expected: str, output: str) -> bool:
    """Return whether the output is the expected one.

    `…` fits any text within a line; alone on a line, any number of lines.
    """
    if not expected.replace(GAP, "").strip():
        raise ValueError("an expected output of nothing but gaps would fit anything")
    lines = []
    for line in expected.splitlines(keepends=True):
        if line.strip() == GAP:
            lines.append(r"(?:[^\n]*\n)*?")
        else:
            lines.append(r"[^\n]*".join(re.escape(part) for part in line.split(GAP)))
    return re.fullmatch("".join(lines), output.rstrip("\n") + "\n") is not None


def apply(diff: str, root: Path) -> None:
    """Change files as a `diff` block asks; ValueError where the old lines do not occur once."""
    path: Path | None = None
    for part in re.split(r"^(\+\+\+ .*)\n|^@@\n", diff, flags=re.MULTILINE):
        if not part:
            continue
        if part.startswith("+++ "):
            path = root / part.removeprefix("+++ ")
        elif path is None:
            raise ValueError("a diff begins with `+++ path`")
        else:
            _change(path, part)


def _change(path: Path, hunk: str) -> None:
    lines = hunk.splitlines(keepends=True)
    old = "".join(line[1:] or "\n" for line in lines if not line.startswith("+"))
    new = "".join(line[1:] or "\n" for line in lines if not line.startswith("-"))
    text = path.read_text()
    if (count := text.count(old)) != 1:
        raise ValueError(f"these lines occur {count} times in {path}:\n{old}")
    path.write_text(text.replace(old, new))
