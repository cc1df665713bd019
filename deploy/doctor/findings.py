"""A finding of the doctor, and how findings are printed. Nothing is measured here."""

import json
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass
from enum import IntEnum
from textwrap import wrap
from typing import Final

from shared.runtime.terminal import visible

WIDTH: Final = 100
"""Columns of the printed report."""
CHECK_WIDTH: Final = 12
"""Columns of a check's name; the longest has ten letters."""


class Level(IntEnum):
    """How bad a finding is; its number is the exit status when it is the worst of a run."""

    OK = 0
    WARN = 1
    FAIL = 2

    @property
    def word(self) -> str:
        """The level as it is printed."""
        return self.name.lower()


@dataclass(frozen=True, slots=True)
class Finding:
    """One sentence about one thing, with what to do where something is to be done."""

    check: str
    level: Level
    what: str
    do: str = ""
    """A command, or where to read on; empty where nothing is to be done."""


def ok(check: str, what: str) -> Finding:
    """Returns a finding that all is well."""
    return Finding(check, Level.OK, what)


def warn(check: str, what: str, do: str) -> Finding:
    """Returns a finding that does no harm yet."""
    return Finding(check, Level.WARN, what, do)


def fail(check: str, what: str, do: str) -> Finding:
    """Returns a finding that does harm: something is lost, late or not running."""
    return Finding(check, Level.FAIL, what, do)


def worst(findings: Iterable[Finding]) -> Level:
    """Returns the worst level, OK without any finding."""
    return max((each.level for each in findings), default=Level.OK)


def as_text(findings: Sequence[Finding]) -> str:
    """Returns the report for a terminal: a line for each finding, what to do below it."""
    return "\n".join([line for each in findings for line in _lines(each)] + [_summary(findings)])


def as_json(findings: Sequence[Finding]) -> str:
    """Returns the report for a program: `status`, and `findings` in the order of the text."""
    plain = [{**asdict(each), "level": each.level.word} for each in findings]
    return json.dumps({"status": worst(findings).word, "findings": plain}, ensure_ascii=False)


def _lines(each: Finding) -> list[str]:
    first = f"{each.level.word:<4}  {each.check:<{CHECK_WIDTH}}"
    indent = " " * len(first)
    # Text from the broker, the database or a stranger may carry control characters.
    found = wrap(visible(each.what), WIDTH, initial_indent=first, subsequent_indent=indent)
    # A command stays in one line, to be copied.
    return [*found, f"{indent}→ {visible(each.do)}"] if each.do else found


def _summary(findings: Sequence[Finding]) -> str:
    counts = {level: sum(each.level is level for each in findings) for level in Level}
    if worst(findings) is Level.OK:
        return f"all is well: {counts[Level.OK]} findings"
    return f"{counts[Level.FAIL]} to mend, {counts[Level.WARN]} to look at, {counts[Level.OK]} well"
