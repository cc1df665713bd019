"""Ctrl-C while a command's modules are imported: one line and the exit status, no traceback."""

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[3]


@pytest.mark.parametrize("service", ["ingest", "scoring", "alerts"])
def test_ctrl_c_while_modules_are_imported(service: str, tmp_path: Path) -> None:
    """A module that every service imports waits here, in the middle of the imports."""
    slow = "import time\nprint('importing', flush=True)\ntime.sleep(60)\n"
    (tmp_path / "structlog.py").write_text(slow)
    with subprocess.Popen(
        [sys.executable, "-m", f"services.{service}", "tokens", "list"],
        cwd=ROOT,
        env=os.environ | {"PYTHONPATH": str(tmp_path)},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    ) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "importing\n"
        process.send_signal(signal.SIGINT)
        _, said = process.communicate(timeout=30)
    assert (process.returncode, said) == (130, "interrupted\n")
