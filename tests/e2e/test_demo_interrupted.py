"""Ctrl-C during `python -m deploy.demo`, at different steps."""

import os
import signal
import subprocess
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest

from deploy.local.stack import ROOT
from tests.e2e.test_demo import command

pytestmark = pytest.mark.timeout(300)


@pytest.fixture
def running(folder: Path, environ: dict[str, str]) -> Iterator[subprocess.Popen[str]]:
    """Runs the demo in a session of its own, as a terminal does."""
    demo = subprocess.Popen(
        command(folder, "--households", "30"),
        cwd=ROOT,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        env=environ | {"PYTHONUNBUFFERED": "1"},
        start_new_session=True,
    )
    yield demo
    demo.kill()
    demo.wait()
    assert demo.stdout is not None
    demo.stdout.close()


def runs(process: psutil.Process) -> bool:
    """Returns whether it runs; a zombie (ended, not yet reaped by init) does not."""
    try:
        return process.is_running() and process.status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False


@pytest.mark.parametrize("stage", ["Start Kafka", "Train", "Replay"])
def test_ctrl_c_leaves_no_process(running: subprocess.Popen[str], stage: str) -> None:
    assert running.stdout is not None
    for line in running.stdout:
        if line.startswith(f"→ {stage}"):
            break
    else:
        pytest.fail(f"the demo ended before the step {stage!r}")
    children = psutil.Process(running.pid).children(recursive=True)
    os.killpg(running.pid, signal.SIGINT)
    output = running.stdout.read()
    assert running.wait(timeout=60) == 130, output
    assert children or stage == "Start Kafka"
    assert not [child for child in children if runs(child)]
