"""Sending spans: off by default, and whatever the receiver does, nothing waits for it."""

import subprocess
import sys
import threading
from collections.abc import Iterator

import pytest
from pydantic import SecretStr, ValidationError

from shared.kernel.errors import Invalid
from shared.observability import otlp_sdk, tracing
from shared.observability.otlp import TracingSettings, exporting
from shared.observability.otlp_sdk import QUEUE_SPANS_MAX
from tests.fakes.otlp import otlp_receiver
from tests.fakes.spans import parent
from tests.unit.shared.test_tracing import Seen

LIMIT_S = 60.0
"""Longest wait for what another thread does; far above what is needed."""


@pytest.fixture(autouse=True)
def sending_ends() -> Iterator[None]:
    """Wait for the sending threads: Hypothesis refuses strategies while they draw random waits."""
    before = set(threading.enumerate())
    yield
    for thread in set(threading.enumerate()) - before:
        thread.join(LIMIT_S)
        assert not thread.is_alive(), thread.name


@pytest.fixture
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let each request end soon, so that the thread gives up what waits in its queue."""
    monkeypatch.setattr(otlp_sdk, "EXPORT_S_MAX", 0.2)


def batch(number: int) -> None:
    """Process one batch."""
    with tracing.processing("activity", [Seen(number, parent(number + 1))]) as span:
        span.end()


def test_the_services_do_not_load_the_sdk() -> None:
    mains = ", ".join(
        f"services.{name}.{module}"
        for name in ("ingest", "scoring", "alerts")
        for module in ("__main__", "main")
    )
    code = f"import sys, {mains}; print('opentelemetry.sdk' in sys.modules)"
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=LIMIT_S
    )
    assert done.stdout.strip() == "False"


def test_without_an_endpoint_nothing_is_recorded() -> None:
    with exporting("test", TracingSettings()):
        span = tracing.begun("activity", [Seen(0)])
        assert not span.is_recording()


def test_spans_arrive_with_the_service_and_the_headers() -> None:
    with otlp_receiver() as receiver:
        settings = TracingSettings(
            exporter_otlp_endpoint=receiver.url + "/",
            exporter_otlp_headers=SecretStr("authorization=Bearer a=b, x-team=retention"),
        )
        with exporting("test", settings):
            batch(4)
    [headers], [span] = receiver.headers, receiver.spans
    assert (headers[""], headers["authorization"]) == ("/v1/traces", "Bearer a=b")
    assert headers["x-team"] == "retention"
    assert (span.service, span.name) == ("ebbwatch-test", "process activity")
    assert span.concerns(f"{5:032x}")


@pytest.mark.usefixtures("impatient")
def test_a_receiver_that_never_answers_delays_nothing() -> None:
    """More batches than the queue holds end, and so does the process, while it holds a request."""
    with otlp_receiver(answers=False) as receiver:
        settings = TracingSettings(exporter_otlp_endpoint=receiver.url)
        with exporting("test", settings):
            batch(0)
            assert receiver.began.wait(LIMIT_S)
            for number in range(2 * QUEUE_SPANS_MAX):
                batch(number)
        assert not receiver.answering.is_set()
        assert len(receiver.spans) < QUEUE_SPANS_MAX


@pytest.mark.usefixtures("impatient")
def test_a_receiver_that_is_gone_delays_nothing(caplog: pytest.LogCaptureFixture) -> None:
    with otlp_receiver() as receiver:
        url = receiver.url
    with exporting("test", TracingSettings(exporter_otlp_endpoint=url)):
        for number in range(2 * QUEUE_SPANS_MAX):
            batch(number)
    assert "Queue full" not in caplog.text


def test_an_empty_variable_is_none(monkeypatch: pytest.MonkeyPatch) -> None:
    """As Compose sets it where the person did not."""
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_ENDPOINT", "")
    assert TracingSettings().exporter_otlp_endpoint is None
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_ENDPOINT", "http://collector:4318")
    assert TracingSettings().exporter_otlp_endpoint == "http://collector:4318"


@pytest.mark.parametrize("endpoint", ["collector:4318", "ftp://collector", "http://"])
def test_an_endpoint_is_a_url(endpoint: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_ENDPOINT", endpoint)
    with pytest.raises(ValidationError, match="OTEL_EXPORTER_OTLP_ENDPOINT"):
        TracingSettings()


def test_headers_are_pairs() -> None:
    with pytest.raises(Invalid, match="OTEL_EXPORTER_OTLP_HEADERS") as wrong:
        TracingSettings(exporter_otlp_headers=SecretStr("secret-token")).headers()
    assert "secret-token" not in str(wrong.value)
