"""The health check of a container: what it asks, and the exit status of each answer."""

from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from deploy.local.waiting import free_port
from shared.runtime import probe
from tests.serving import Silent, serving

VARIABLE = "EBBWATCH_INGEST_PORT"


@contextmanager
def service(status: int, body: bytes) -> Iterator[int]:
    """Run a service that answers its readiness so; yields its port."""

    class Handler(Silent):
        def do_GET(self) -> None:
            self.send_response(status if self.path == "/readyz" else 404)
            self.end_headers()
            self.wfile.write(body)

    with serving(Handler) as port:
        yield port


@pytest.mark.parametrize(("status", "expected"), [(200, 0), (503, 1), (404, 1)])
def test_the_answer_decides_the_exit_status(
    status: int,
    expected: int,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    with service(status, b'{"missing":{}}') as port:
        monkeypatch.setenv(VARIABLE, str(port))
        assert probe.main([VARIABLE]) == expected
    assert capsys.readouterr().out == '{"missing":{}}\n'


def test_a_service_that_does_not_answer_is_not_ready(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv(VARIABLE, str(free_port()))
    assert probe.main([VARIABLE]) == 1
    assert "refused" in capsys.readouterr().out


@pytest.mark.parametrize("port", ["", "eight", "-1", None])
def test_without_a_port_the_usage_is_shown(
    port: str | None, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.delenv(VARIABLE, raising=False)
    if port is not None:
        monkeypatch.setenv(VARIABLE, port)
    assert probe.main([VARIABLE]) == 2
    assert "EBBWATCH_INGEST_PORT=8081" in capsys.readouterr().err
