"""Counts, times and traces every request by its route's template, so that no label holds an id."""

from collections.abc import Iterable
from typing import Final

from starlette.routing import BaseRoute, Route
from starlette.types import ASGIApp, Receive, Scope, Send

from shared.contracts.dead_letter import Headers
from shared.contracts.headers import TRACEPARENT, TRACESTATE
from shared.http.answered import Answered
from shared.http.route_of import route_of
from shared.observability import messaging
from shared.observability.exemplars import exemplar
from shared.observability.service_metrics import ServiceMetrics
from shared.observability.tracing import requested
from shared.runtime.clock import SystemClock

UNMATCHED: Final = "unmatched"
OTHER: Final = "other"

METHODS: Final = frozenset({"DELETE", "GET", "HEAD", "OPTIONS", "PATCH", "POST", "PUT"})
"""Methods that are labels; a sender can name anything."""

OUTCOMES: Final = ("500", "503")
"""Statuses that every route has from the first scrape, beside that of success: a rate over a
missing series is undefined."""


UNTRACED: Final = frozenset({"/livez", "/readyz", "/startupz", "/metrics", UNMATCHED})
"""Routes without a span: probes and scrapes ask every few seconds, strangers at any time."""


class Measured:
    """ASGI middleware around all others."""

    def __init__(self, app: ASGIApp, metrics: ServiceMetrics) -> None:
        self._app = app
        self._metrics = metrics
        self._clock = SystemClock()

    def begin(self, routes: Iterable[BaseRoute]) -> None:
        """Create the series of these routes."""
        for route in routes:
            if isinstance(route, Route):
                for method in (route.methods or set()) - {"HEAD"}:
                    success = str(getattr(route, "status_code", None) or 200)
                    self._metrics.http_seconds.labels(route.path, method)
                    for status in (success, *OUTCOMES):
                        self._metrics.http_requests.labels(route.path, method, status)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Handle and count one request."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        method = scope["method"] if scope["method"] in METHODS else OTHER
        began, answer = self._clock.monotonic(), Answered(send, "500")
        with requested(method, _trace(scope)) as span:
            try:
                await self._app(scope, receive, answer)
            finally:
                route = _template(scope)
                self._metrics.http_requests.labels(route, method, answer.status).inc()
                self._metrics.http_seconds.labels(route, method).observe(
                    self._clock.monotonic() - began, exemplar()
                )
                span.update_name(f"{method} {route}")
                span.set_attribute(messaging.ROUTE, route)
                span.set_attribute(messaging.STATUS, int(answer.status))
            if route not in UNTRACED:
                span.end()


def _trace(scope: Scope) -> Headers:
    """Returns a request's headers that hold its trace context, not yet checked."""
    names = {TRACEPARENT.encode(): TRACEPARENT, TRACESTATE.encode(): TRACESTATE}
    return tuple((names[name], value) for name, value in scope["headers"] if name in names)


def _template(scope: Scope) -> str:
    """Returns the route's template, also of a request that was refused before its route."""
    taken = scope.get("route") or route_of(scope)[0]
    return str(getattr(taken, "path", UNMATCHED))
