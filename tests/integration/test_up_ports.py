"""`make up` recognises its own processes among strangers on their ports, and names the setting."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from deploy.local import __main__ as local
from deploy.local import services
from deploy.local.process import StackError
from deploy.local.stack import ROOT
from deploy.local.waiting import free_port, until
from tests.serving import Silent, serving


class _Stranger(Silent):
    """A server that answers 200 to everything."""

    def do_GET(self) -> None:
        self.send_response(200)
        self.end_headers()


@pytest.fixture
def taken() -> Iterator[int]:
    """Provide a port that another program uses."""
    with serving(_Stranger) as port:
        yield port


def test_a_taken_port_is_reported_with_its_setting(taken: int, tmp_path: Path) -> None:
    """The error comes before the service starts."""
    environment = {"EBBWATCH_SCORING_PORT": str(taken)}
    process = services.server("scoring", environment, ROOT, tmp_path)
    with pytest.raises(StackError, match=f"port {taken}.*EBBWATCH_SCORING_PORT"):
        process.start()
    assert not process.running


def test_taken_ports_are_reported_before_anything_starts(
    taken: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """All of them are reported at once, each with its setting; no server is started."""
    for name in ("INGEST", "ALERTS"):
        monkeypatch.setenv(f"EBBWATCH_{name}_PORT", str(taken))
    monkeypatch.setenv("EBBWATCH_SCORING_PORT", str(free_port()))
    monkeypatch.setattr("sys.argv", ["local", "--data", str(tmp_path / "data"), "up"])
    assert local.main() == 1
    shown = capsys.readouterr().err
    assert shown.count(f"port {taken}") == 2
    assert "EBBWATCH_INGEST_PORT" in shown
    assert "EBBWATCH_ALERTS_PORT" in shown
    assert "EBBWATCH_SCORING_PORT" not in shown
    assert not (tmp_path / "data").exists()


def test_a_strangers_answer_is_not_ours(
    taken: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A program that took the port meanwhile answers 200 and is not taken for ours."""
    monkeypatch.setattr(services, "READY_S_MAX", 0.5)
    port = free_port()
    process = services.server("scoring", {"EBBWATCH_SCORING_PORT": str(port)}, ROOT, tmp_path)
    process.command = ["sleep", "60"]
    process.environment = {**process.environment, "EBBWATCH_SCORING_PORT": str(taken)}
    process.start()
    try:
        with pytest.raises(StackError, match="scoring does not get ready"):
            services.wait_ready(process)
    finally:
        process.stop()


def test_logs_are_private(tmp_path: Path) -> None:
    """The output of a server is private as well."""
    process = services.server(
        "ingest", {"EBBWATCH_INGEST_PORT": str(free_port())}, ROOT, tmp_path / "data"
    )
    process.command = ["sh", "-c", "echo x; touch written; sleep 60"]
    process.start()
    try:
        written = tmp_path / "data" / "written"
        assert until(written.exists, limit_s=10)
        for path in (process.log, written):
            assert path.stat().st_mode & 0o077 == 0, path
    finally:
        process.stop()
