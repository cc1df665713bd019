"""The page of all metrics is generated, and a difference fails the check."""

import tomllib
from pathlib import Path

import pytest

from deploy.metrics import PAGE, generate, main
from shared.runtime.version import VERSION


def test_the_page_is_what_the_services_declare() -> None:
    """Every service has the metrics of all, and its own, with their labels."""
    page = generate()
    for service in ("ingest", "scoring", "alerts"):
        assert (
            f"| `ebbwatch_{service}_lag_seconds` | gauge | `topic`, `partition` | seconds |" in page
        )
    assert "| `ebbwatch_alerts_delivery_attempts_total` | counter | `endpoint`, `outcome` |" in page
    assert "ebbwatch_ingest_outbox_messages" not in page


def test_drift_is_found_and_mended(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """A missing or edited page fails; the command writes it."""
    page = tmp_path / "metrics.md"
    assert main(["--check"], page) == 1
    assert "run `python -m deploy.metrics`" in capsys.readouterr().err
    assert main([], page) == 0
    assert main(["--check"], page) == 0
    page.write_text(page.read_text("utf-8").replace("seconds", "minutes", 1), "utf-8")
    assert main(["--check"], page) == 1
    assert PAGE.name == page.name


def test_the_release_is_that_of_the_project() -> None:
    """`build_info` shows the version of `pyproject.toml`."""
    project = tomllib.loads((PAGE.parents[1] / "pyproject.toml").read_text("utf-8"))
    assert project["project"]["version"] == VERSION
