"""Any argument of a command is either refused by name or can be stored."""

import argparse
import ast
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TypeVar

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from shared.kernel.errors import Invalid
from shared.runtime.arguments import (
    COUNT_MAX,
    DAYS_MAX,
    SERIAL_MAX,
    count,
    days,
    instant,
    look_at,
    number,
    serial,
)

T = TypeVar("T")
ROOT = Path(__file__).parents[3]
TEXTS = st.one_of(
    st.text(),
    st.text("0123456789+-.eE_ ", max_size=30),
    st.integers().map(str),
    st.floats().map(str),
    st.datetimes(timezones=st.timezones()).map(datetime.isoformat),
)


@given(TEXTS)
@example("9" * 5_000)
@example("²")
@example("0001-01-01T00:00:00+14:00")
@example("9999-12-31T23:59:59-14:00")
@example("nan")
@example("1e999")
def test_what_is_taken_can_be_kept(text: str) -> None:
    """Numbers fit their columns, and a hundred years can be added to or subtracted from a time."""
    for read, most in ((count, COUNT_MAX), (serial, SERIAL_MAX), (days, DAYS_MAX)):
        found = _tried(read, text)
        assert found is None or 0 <= found <= most
    decimal = _tried(number, text)
    assert decimal is None or abs(decimal) < float("inf")
    at = _tried(instant, text)
    assert at is None or (at.tzinfo is UTC and at + timedelta(days=1) > at)


def _tried(read: Callable[[str], T], text: str) -> T | None:
    try:
        return read(text)
    except argparse.ArgumentTypeError as refused:
        assert str(refused)
        return None


def test_good_ones_are_taken() -> None:
    """Accepts ordinary arguments."""
    assert (count("0"), serial(str(SERIAL_MAX)), days("28"), number("-0.5")) == (
        *(0, SERIAL_MAX, 28),
        -0.5,
    )
    assert instant("2026-03-01T09:00:00+08:00") == datetime(2026, 3, 1, 1, tzinfo=UTC)
    assert instant("2026-03-01") == datetime(2026, 3, 1, tzinfo=UTC)


@pytest.mark.parametrize("text", ["a\udcffb", "\0", "\ud800"])
def test_a_text_that_cannot_be_kept_names_its_argument(text: str) -> None:
    """Bytes that are not UTF-8 arrive as halves of surrogate pairs."""
    for value in (text, ["fine", text], Path(text)):
        with pytest.raises(Invalid, match=r"^owner: "):
            look_at(argparse.Namespace(limit=5, owner=value))
    look_at(argparse.Namespace(limit=5, owner="客户", names=["a"], file=Path("x"), command=len))


COMMANDS = sorted(
    path
    for folder in ("services", "shared/runtime")
    for path in (ROOT / folder).rglob("*.py")
    if "add_argument" in path.read_text("utf-8")
)


@pytest.mark.parametrize("path", COMMANDS, ids=lambda path: path.relative_to(ROOT).as_posix())
def test_commands_take_checked_types(path: Path) -> None:
    """Python's own types accept numbers that no column can hold."""
    found = [
        node.lineno
        for node in ast.walk(ast.parse(path.read_text("utf-8")))
        if isinstance(node, ast.keyword)
        and node.arg == "type"
        and isinstance(node.value, ast.Name)
        and node.value.id in {"int", "float", "datetime"}
    ]
    assert found == []
