"""The progress display on an output where lines cannot be redrawn."""

import io

import pytest
from rich.console import Console

from deploy.demo import progress
from deploy.demo.progress import step


@pytest.fixture
def console() -> Console:
    return Console(file=io.StringIO(), width=200)


def shown(console: Console) -> list[str]:
    assert isinstance(console.file, io.StringIO)
    return console.file.getvalue().splitlines()


def test_a_step_shows_its_begin_and_its_result(console: Console) -> None:
    with step(console, "Load") as current:
        current.note = "12 events"
    begun, done = shown(console)
    assert begun == "→ Load …"
    assert done.startswith("✓ Load (")
    assert done.endswith("12 events")


def test_a_step_that_fails_is_marked_and_the_error_goes_on(console: Console) -> None:
    with pytest.raises(KeyError), step(console, "Load"):
        raise KeyError
    assert shown(console)[-1].startswith("✗ Load (")


def test_a_long_step_shows_its_progress(console: Console, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(progress, "PLAIN_INTERVAL_S", 0.0)
    with step(console, "Load", 2_000) as current:
        current.reached(1_500)
    assert shown(console)[1] == "  1,500 of 2,000"


def test_on_a_terminal_the_bar_is_gone_when_the_step_is_done() -> None:
    screen = Console(file=io.StringIO(), width=200, force_terminal=True)
    with step(screen, "Load", 2_000) as current:
        current.reached(1_500)
    assert "✓" in shown(screen)[-1]
