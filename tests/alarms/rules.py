"""Reads the alarm rules as they are shipped, and shortens their times for a run of minutes."""

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import yaml

from deploy.local.stack import ROOT

FOLDER: Final = ROOT / "deploy/prometheus"
RULES: Final = sorted((FOLDER / "rules").glob("*.yml"))
CASES: Final = sorted((FOLDER / "tests").glob("*.yml"))

FACTOR: Final = 60
"""By which the live run divides every time of the rules: a minute becomes a second."""

SECONDS: Final = {"s": 1, "m": 60, "h": 3_600, "d": 86_400}
_NUMBER: Final = r"(?P<number>\d+)(?P<unit>[smhd])"
DURATION: Final = re.compile(
    rf"(?P<before>^ *(?:for|group_wait|group_interval|repeat_interval): |\[|\boffset ){_NUMBER}"
    r"(?P<after>$|\]|\b)",
    re.MULTILINE,
)
"""A time before an alarm fires or a notification is sent, a window, an offset."""
THRESHOLD: Final = re.compile(r"(?P<number>[\d.]+)(?P<after> # s)$", re.MULTILINE)
"""A number that the comment `# s` marks as a time in seconds that is waited for."""


@dataclass(frozen=True, slots=True)
class Rule:
    """One rule of a file: an alarm, or a recorded series."""

    name: str
    expr: str
    alarm: bool
    hold: str
    labels: Mapping[str, str]
    annotations: Mapping[str, str]
    file: str


def rules() -> list[Rule]:
    """Return every rule in the order of the files."""
    return [rule for path in RULES for rule in _of(path)]


def alarms() -> list[Rule]:
    """Return every alarm."""
    return [rule for rule in rules() if rule.alarm]


def _of(path: Path) -> Iterator[Rule]:
    for group in yaml.safe_load(path.read_text())["groups"]:
        for rule in group["rules"]:
            yield Rule(
                name=rule.get("alert") or rule["record"],
                expr=rule["expr"],
                alarm="alert" in rule,
                hold=rule.get("for", ""),
                labels=rule.get("labels", {}),
                annotations=rule.get("annotations", {}),
                file=path.name,
            )


def cases() -> list[dict[str, Any]]:
    """Return every case of `promtool test rules`."""
    return [case for path in CASES for case in yaml.safe_load(path.read_text())["tests"]]


def shortened(text: str, factor: int = FACTOR) -> str:
    """Divide every time in a file of rules or of Alertmanager by `factor`; change nothing else.

    >>> shortened("for: 5m"), shortened("rate(x[3d] offset 1h)"), shortened("x > 120 # s")
    ('for: 5000ms', 'rate(x[4320000ms] offset 60000ms)', 'x > 2.0 # s')
    """

    def duration(found: re.Match[str]) -> str:
        milliseconds = int(found["number"]) * SECONDS[found["unit"]] * 1_000 // factor
        return f"{found['before']}{milliseconds}ms{found['after']}"

    def threshold(found: re.Match[str]) -> str:
        return f"{float(found['number']) / factor}{found['after']}"

    return THRESHOLD.sub(threshold, DURATION.sub(duration, text))
