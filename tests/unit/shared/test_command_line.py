"""The command line of a service: the event loop of a command, and the output of its failure."""

import asyncio
import json
import logging
from collections.abc import Callable, Coroutine
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa
import structlog
import uvloop

from shared.http.access import token_table
from shared.kernel.errors import Invalid
from shared.observability.logging import configure_logging
from shared.runtime import command_line
from shared.runtime.command_line import ServiceSpec, main


def spec(run: Callable[[], Coroutine[Any, Any, int]]) -> ServiceSpec:
    """Provide a service with tables that no command uses."""
    table = token_table(sa.MetaData(schema="none"))
    return ServiceSpec("none", "none", Path("none"), table, run, {})


@pytest.fixture(autouse=True)
def unlogged(monkeypatch: pytest.MonkeyPatch) -> None:
    """Leave the logging as the test run has set it."""
    monkeypatch.setattr(command_line, "configure_logging", lambda *_: None)


QUOTED = "Key (x) exists\nDETAIL:  Key (id)=(ann\x1b[2J) exists."


async def broken() -> int:
    """Raise as a bug of our own code would, with a customer in the text."""
    raise RuntimeError(QUOTED)


async def refused() -> int:
    """Raise as a wrong setting does."""
    raise Invalid("port", "is taken")


def test_a_command_runs_on_libuv() -> None:
    """Its exit status is the process's; services spend much of their time in the event loop."""
    loops: list[asyncio.AbstractEventLoop] = []

    async def asked() -> int:
        loops.append(asyncio.get_running_loop())
        return 3

    assert main(spec(asked), argv=["run"]) == 3
    assert [type(loop) for loop in loops] == [uvloop.Loop]


def test_ctrl_c_ends_a_command_without_a_traceback(capsys: pytest.CaptureFixture[str]) -> None:
    """Its exit status is that of a shell's command that SIGINT ended."""

    async def interrupted() -> int:
        raise KeyboardInterrupt

    assert main(spec(interrupted), argv=["run"]) == 130
    assert capsys.readouterr().err == "interrupted\n"


def test_a_failure_is_one_line(capsys: pytest.CaptureFixture[str]) -> None:
    """The line names what is wrong, without a traceback."""
    assert main(spec(refused), argv=["run"]) == 1
    shown = capsys.readouterr().err
    assert shown.startswith("Invalid: port")
    assert len(shown.splitlines()) == 1


def test_a_bug_is_a_line_of_the_log_without_values(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """There is no traceback of Python, which would hide nothing."""
    root = logging.getLogger()
    before = root.handlers[:], root.level
    monkeypatch.setattr(command_line, "configure_logging", configure_logging)
    try:
        assert main(spec(broken), argv=["run"]) == 1
    finally:
        root.handlers[:], root.level = before
        structlog.reset_defaults()
        structlog.contextvars.clear_contextvars()
    (line,) = capsys.readouterr().err.splitlines()
    reported = json.loads(line)["exception"]
    assert "RuntimeError: Key (x) exists" in reported
    assert "DETAIL: (left out)" in reported
    assert "ann" not in line
