"""The health check of a container: what it asks, and the exit status of each answer."""

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, HTTPServer

import pytest

from deploy.local.waiting import free_port
from shared.runtime import probe

VARIABLE = "EBBWATCH_INGEST_PORT"


@contextmanager
def service(status: int, body: bytes) -> Iterator[HTTPServer]:
    """Run a service that answers its readiness so."""

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(status if self.path == "/readyz" else 404)
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, format: str, *args: object) -> None:  # noqa: A002 (inherited)
            pass

    server = HTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        yield server
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


@pytest.mark.parametrize(("status", "expected"), [(200, 0), (503, 1), (404, 1)])
def test_the_answer_decides_the_exit_status(
    status: int,
    expected: int,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    with service(status, b'{"missing":{}}') as running:
        monkeypatch.setenv(VARIABLE, str(running.server_port))
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
