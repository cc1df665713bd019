"""Sends spans to an OTLP receiver, over HTTP, where one is set; off by default.

A thread of its own sends them. A receiver that is slow or gone costs spans, never a batch: nothing
waits for it, and what does not fit the queue is dropped.
"""

import os
import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Final

from pydantic import Field, SecretStr
from pydantic_settings import SettingsConfigDict

from shared.kernel.errors import Invalid
from shared.observability import tracing
from shared.runtime.settings import Settings
from shared.runtime.version import VERSION

CLOSE_S: Final = 1.0
"""How long the last spans may take at the end of a process, which has 10 s in all."""


class TracingSettings(Settings):
    """Read from OpenTelemetry's own variables, `OTEL_*`; a secret may come from the folder."""

    model_config = SettingsConfigDict(env_prefix="OTEL_", env_ignore_empty=True)

    exporter_otlp_endpoint: str | None = Field(
        None, pattern=r"^https?://[^\s/]+", validation_alias="OTEL_EXPORTER_OTLP_ENDPOINT"
    )
    """Base URL of an OTLP receiver, HTTP with protobuf, as `http://127.0.0.1:4318`; `/v1/traces` is
    added. None: no span is recorded."""
    exporter_otlp_headers: SecretStr | None = None
    """Headers of each request, `name=value,…`: a receiver's token."""
    traces_sampler_arg: float = Field(1.0, ge=0, le=1, validation_alias="OTEL_TRACES_SAMPLER_ARG")
    """Share of new traces that are recorded. Where a sender has decided, its decision counts."""

    def headers(self) -> dict[str, str]:
        """Return the headers by name; raises Invalid."""
        text = self.exporter_otlp_headers
        pairs = [] if text is None else [p for p in text.get_secret_value().split(",") if p.strip()]
        if not all("=" in pair for pair in pairs):
            raise Invalid("OTEL_EXPORTER_OTLP_HEADERS", "must be `name=value`, separated by commas")
        split = (pair.split("=", 1) for pair in pairs)
        return {name.strip(): value.strip() for name, value in split}


@contextmanager
def exporting(service: str, settings: TracingSettings) -> Iterator[None]:
    """Record the spans of a service within the block, and send them, where an endpoint is set."""
    if settings.exporter_otlp_endpoint is None:
        yield
        return
    # Loaded here, so that the SDK costs nothing where it is not used.
    from shared.observability.otlp_sdk import provider_of  # noqa: PLC0415

    about = {
        "service.name": f"ebbwatch-{service}",
        "service.version": VERSION,
        "service.instance.id": f"{socket.gethostname()}/{os.getpid()}",
    }
    provider = provider_of(
        f"{settings.exporter_otlp_endpoint.rstrip('/')}/v1/traces",
        settings.headers(),
        about,
        settings.traces_sampler_arg,
    )
    try:
        with tracing.recorded_by(provider.get_tracer("ebbwatch", VERSION)):
            yield
    finally:
        # The SDK waits up to 30 s for its thread; a receiver that is gone may not cost that.
        closing = threading.Thread(target=provider.shutdown, name="otlp-close", daemon=True)
        closing.start()
        closing.join(CLOSE_S)
