"""The main job on a small scale: `python -m deploy.demo` with a part of the households."""

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from deploy.demo.dataset import BACKFILL_END, load
from deploy.local.stack import ROOT, LocalStack

HOUSEHOLDS = 200
DEMO_S_MAX = 280
"""It takes 40-60 s on two cores; most of it is training."""

pytestmark = pytest.mark.timeout(300)


def command(folder: Path, *more: str) -> list[str]:
    places = ["--data", str(folder), "--output", str(folder / "demo.json")]
    return [sys.executable, "-m", "deploy.demo", *places, *more]


@pytest.fixture(scope="module")
def demo(folder: Path, environ: dict[str, str]) -> dict[str, Any]:
    """Runs the demo once; returns its figures."""
    done = subprocess.run(
        command(folder, "--households", str(HOUSEHOLDS)),
        cwd=ROOT,
        env=environ,
        capture_output=True,
        text=True,
        timeout=DEMO_S_MAX,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    found: dict[str, Any] = json.loads((folder / "demo.json").read_text())
    return found | {"shown": done.stdout, "logs": folder / "logs"}


def test_every_event_of_the_panel_is_accepted(demo: dict[str, Any]) -> None:
    history = load(HOUSEHOLDS)
    assert demo["events"]["accepted"] == history.events
    assert demo["events"]["backfilled"] == history.until(BACKFILL_END).events
    assert demo["events"]["dead_lettered"] == demo["events"]["lost"] == 0


def test_the_past_raises_no_task_and_the_live_part_does(demo: dict[str, Any]) -> None:
    """Invariant 9: a backfill is silent."""
    assert demo["tasks"]["told_during_backfill"] == 0
    assert demo["tasks"]["raised"] > 0


def test_every_task_reaches_the_crm_with_a_signature_that_it_verifies(
    demo: dict[str, Any],
) -> None:
    assert demo["deliveries"]["signature_failures"] == 0
    tasks = demo["tasks"]
    assert demo["deliveries"]["ok"] == tasks["raised"] + tasks["updated"] + tasks["closed"]
    assert demo["latency_s"]["p50"] > 0


def test_the_tokens_and_the_figures_are_shown(demo: dict[str, Any]) -> None:
    assert demo["shown"].count("token ebw_") == 3
    assert "Were they noticed in time?" in demo["shown"]


def test_who_stops_is_noticed_in_time(demo: dict[str, Any]) -> None:
    """The targets of the whole panel, on a part of it."""
    warning = demo["warning"]
    assert warning["lapses"] > 0
    assert warning["recall"] >= 0.8
    assert warning["value_recall"] >= 0.8
    assert warning["precision_in_time"] > warning["rule"]["precision_in_time"]


def test_no_secret_is_in_a_log(demo: dict[str, Any]) -> None:
    logs = "".join(path.read_text() for path in Path(demo["logs"]).glob("*.log"))
    assert "whsec_" not in logs
    assert "ebw_" not in logs


def test_a_broker_that_is_in_use_is_left_alone(
    demo: dict[str, Any], folder: Path, environ: dict[str, str]
) -> None:
    with LocalStack(folder, environ=environ) as stack:  # not wiped: the records are still there
        done = subprocess.run(
            command(folder / "second"),
            cwd=ROOT,
            env=environ | stack.environment() | {"BROKER": ""},  # the one named, not one of its own
            capture_output=True,
            text=True,
            timeout=DEMO_S_MAX,
            check=False,
        )
    assert demo["events"]["accepted"]
    assert done.returncode == 1
    assert "unset KAFKA_BOOTSTRAP_SERVERS" in done.stdout
