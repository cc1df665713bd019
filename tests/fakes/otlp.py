"""An OTLP receiver on loopback, over HTTP, that keeps the spans it is sent."""

import contextlib
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field

from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import (
    ExportTraceServiceRequest,
    ExportTraceServiceResponse,
)

from deploy.local.waiting import LOOPBACK
from tests.serving import Silent, serving


@dataclass(frozen=True, slots=True)
class ReceivedSpan:
    """A span as it arrived; ids are hexadecimal."""

    service: str
    name: str
    trace_id: str
    span_id: str
    parent_id: str
    links: tuple[str, ...]
    """The trace of each link."""
    attributes: dict[str, str]

    def concerns(self, trace_id: str) -> bool:
        """Return whether it is part of a trace or linked to it."""
        return trace_id in (self.trace_id, *self.links)


@dataclass(slots=True)
class OtlpReceiver:
    """What arrived. While `answering` is not set, requests are held without an answer."""

    url: str = ""
    answering: threading.Event = field(default_factory=threading.Event)
    began: threading.Event = field(default_factory=threading.Event)
    """Set once a request has arrived."""
    headers: list[dict[str, str]] = field(default_factory=list)
    bodies: list[bytes] = field(default_factory=list)
    spans: list[ReceivedSpan] = field(default_factory=list)

    def take(self, headers: dict[str, str], body: bytes) -> None:
        """Keep a request."""
        self.began.set()
        self.headers.append(headers)
        self.bodies.append(body)
        self.spans += _spans(body)


@contextmanager
def otlp_receiver(*, answers: bool = True) -> Iterator[OtlpReceiver]:
    """Run a receiver on a free port; at the end what it holds is let go."""
    receiver = OtlpReceiver()
    if answers:
        receiver.answering.set()

    class Handler(Silent):
        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["content-length"]))
            receiver.take({n.lower(): v for n, v in self.headers.items()} | {"": self.path}, body)
            receiver.answering.wait()
            answer = ExportTraceServiceResponse().SerializeToString()
            with contextlib.suppress(ConnectionError):  # the sender may no longer wait
                self.send_response(200)
                self.send_header("content-type", "application/x-protobuf")
                self.send_header("content-length", str(len(answer)))
                self.end_headers()
                self.wfile.write(answer)

    with serving(Handler) as port:
        receiver.url = f"http://{LOOPBACK}:{port}"
        try:
            yield receiver
        finally:
            receiver.answering.set()


def _spans(body: bytes) -> Iterator[ReceivedSpan]:
    for resource in ExportTraceServiceRequest.FromString(body).resource_spans:
        about = {each.key: each.value.string_value for each in resource.resource.attributes}
        for scope in resource.scope_spans:
            for span in scope.spans:
                said = span.attributes
                yield ReceivedSpan(
                    about["service.name"],
                    span.name,
                    span.trace_id.hex(),
                    span.span_id.hex(),
                    span.parent_span_id.hex(),
                    tuple(link.trace_id.hex() for link in span.links),
                    {a.key: str(a.value.string_value or a.value.int_value) for a in said},
                )
