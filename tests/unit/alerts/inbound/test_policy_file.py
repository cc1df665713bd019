"""A policy's file: YAML that would be misread is refused, with its position."""

from pathlib import Path

import pytest
import yaml

from services.alerts.inbound.policy_file import _Strict, read_policy
from services.alerts.settings import POLICY_FILE
from shared.kernel.errors import Invalid

DEFAULT = POLICY_FILE.read_text("utf-8")
FIRST = DEFAULT.splitlines()[
    next(n for n, line in enumerate(DEFAULT.splitlines()) if line[:1].isalpha())
]
CARE = """
care:
  - {name: new_year, playbook: any, DAY, title: {en: A happy new year, zh-CN: 新年快乐}}
"""


def policy(tmp_path: Path, text: str) -> Path:
    """Return a file with this text."""
    path = tmp_path / "policy.yaml"
    path.write_text(text, encoding="utf-8")
    return path


def test_our_own_is_read() -> None:
    """The default policy, as it is shipped, is read."""
    read_policy(POLICY_FILE)


@pytest.mark.parametrize(
    ("text", "why"),
    [
        (f"{DEFAULT}\n{FIRST}\n", "is there twice"),
        ("a: 1\n b: 2\n", "line 2"),
        ("1: a\n", "`1` is no text"),
        ("yes: a\n", "`yes` is no text"),
        ("[1, 2]: a\n", "is no text"),
        ("!!python/object:os.system {}\n", "line 1"),
        ("\x00", "is not YAML"),
        ("[" * 3_000, "is not"),
        ("a: 2026-02-30\n", "is not YAML"),
    ],
)
def test_what_is_not_meant_is_refused(tmp_path: Path, text: str, why: str) -> None:
    """The error names the file, the position and the cause."""
    with pytest.raises(Invalid) as wrong:
        read_policy(policy(tmp_path, text))
    assert wrong.value.field == str(tmp_path / "policy.yaml")
    assert why in wrong.value.reason


@pytest.mark.parametrize("key", ["on", "On", "'on'", '"on"'])
def test_on_is_a_word(key: str) -> None:
    """`on` is a key, as the documentation writes it."""
    assert yaml.load(f"{{{key}: 01-01}}", _Strict) == {"on": "01-01"}  # noqa: S506


@pytest.mark.parametrize("day", ["02-30", "04-31", "02-31", "11-31"])
def test_a_day_of_no_year(tmp_path: Path, day: str) -> None:
    """A day that exists in no year would silently never come."""
    text = CARE.replace("DAY", f"on: {day}")
    with pytest.raises(Invalid, match=r"care\[0\]\.on: .*no day of any year"):
        read_policy(policy(tmp_path, text))


def test_the_29th_of_february_is_a_day(tmp_path: Path) -> None:
    """The day exists in some years. What else is missing in this document is not checked here."""
    with pytest.raises(Invalid) as wrong:
        read_policy(policy(tmp_path, CARE.replace("DAY", "on: 02-29")))
    assert "no day" not in wrong.value.reason
