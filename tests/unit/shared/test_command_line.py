"""The command line of a service: the event loop of a command, and the output of its failure."""

import asyncio
import json
import logging
from collections.abc import Callable, Coroutine
from pathlib import Path
from typing import Any
from unittest import mock

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


async def without_polars() -> int:
    """Import what a serving image does not carry."""
    raise ModuleNotFoundError("No module named 'polars'", name="polars")


def test_what_serving_does_not_carry_is_named(capsys: pytest.CaptureFixture[str]) -> None:
    """The message says where the command can be run."""
    assert main(spec(without_polars), argv=["run"]) == 1
    shown = capsys.readouterr().err
    assert shown.startswith("polars is not installed here.")
    assert "image `import` or `training`" in shown


@pytest.mark.parametrize(
    ("argv", "added"),
    [
        (["run"], False),
        (["--log-level", "WARNING", "run"], False),
        (["own", "run"], True),
        (["--log-level=INFO", "own", "run"], True),
    ],
)
def test_a_services_own_commands_are_added_only_where_they_may_be_asked_for(
    argv: list[str], added: bool
) -> None:
    """What they need takes seconds to import."""
    called = []

    async def done(_: Any = None) -> int:
        return 0

    def add_commands(commands: Any) -> None:
        called.append(True)
        own = commands.add_parser("own")
        own.add_argument("word")
        own.set_defaults(command=done)

    with mock.patch.object(command_line, "is_audited", return_value=False):
        assert main(spec(done), add_commands, argv) == 0
    assert bool(called) is added


def test_help_names_a_services_own_commands(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        main(spec(broken), lambda commands: commands.add_parser("own", help="mine"), ["--help"])
    assert "own" in capsys.readouterr().out
