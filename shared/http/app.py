"""The HTTP application of every service: probes and metrics are open, all else needs a token."""

from typing import Annotated, Any

from fastapi import FastAPI, Header, Response
from fastapi.responses import JSONResponse
from prometheus_client import REGISTRY, disable_created_metrics
from prometheus_client.exposition import choose_encoder
from starlette.types import ASGIApp, Receive, Scope, Send

from shared.http import problems
from shared.http.borders import PROBES, ROUTES, Borders, Limits
from shared.http.described import described
from shared.http.measured import Measured
from shared.observability.service_metrics import ServiceMetrics
from shared.runtime.health import Health
from shared.runtime.settings import HttpSettings
from shared.runtime.version import VERSION

disable_created_metrics()  # type: ignore[no-untyped-call] # prometheus-client is partly typed

METRICS = "/metrics"
OPENAPI = "/openapi.json"

INSTANCE = "Ebbwatch-Instance"
"""Header of the probes' answers that names the answering process (`EBBWATCH_INSTANCE`)."""
SERVICE = "Ebbwatch-Service"
"""Header of the probes' answers that names the service: a stranger on its port sends none."""


class App(FastAPI):
    """FastAPI behind `Borders`: every request passes them before a route or an error handler."""

    def __init__(self, title: str, limits: Limits, metrics: ServiceMetrics | None) -> None:
        # A redirect to a path without its last slash would go to any host that the sender named.
        super().__init__(
            title=title, version=VERSION, docs_url=None, redoc_url=None, redirect_slashes=False
        )
        borders = Borders(super().__call__, limits)
        self._measured = None if metrics is None else Measured(borders, metrics)
        self._outermost: ASGIApp = self._measured or borders

    def measure(self) -> None:
        """Create the series of all routes; call it once they are added."""
        if self._measured is not None:
            self._measured.begin(self.routes)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Handle one request."""
        scope[ROUTES] = self.routes
        await self._outermost(scope, receive, send)

    def openapi(self) -> dict[str, Any]:
        """Return the OpenAPI document with the answers that every route may give."""
        if self.openapi_schema is None:
            self.openapi_schema = described(super().openapi(), self.routes)
        return self.openapi_schema


def limits_of(http: HttpSettings, **special: Any) -> Limits:
    """Returns a service's limits, with open paths from its settings; `special` as for `Limits`."""
    opened = {METRICS: http.metrics_open, OPENAPI: http.openapi_open}
    special["open"] = (*special.get("open", ()), *(path for path, yes in opened.items() if yes))
    return Limits(**special)


def create_app(
    title: str,
    health: Health,
    limits: Limits | None = None,
    instance: str = "",
    metrics: ServiceMetrics | None = None,
) -> App:
    """Creates an application with `/livez`, `/readyz`, `/startupz` and `/metrics`.

    `title` is "Ebbwatch " and the service's name. The name is sent with the probes' answers, and so
    is `instance`: a supervisor recognises the process it started.
    `metrics`: where requests are counted; None: nowhere.
    """
    app = App(title, limits or Limits(), metrics)
    problems.install(app)
    headers = {SERVICE: title.rpartition(" ")[2]} | ({INSTANCE: instance} if instance else {})

    async def livez() -> Response:
        stalled = health.stalled()
        return JSONResponse({"stalled": stalled}, 503 if stalled else 200, headers)

    async def readyz() -> Response:
        missing, notes = await health.missing(), await health.notes()
        content = {"missing": missing} | ({"notes": notes} if notes else {})
        return JSONResponse(content, 503 if missing else 200, headers)

    async def startupz() -> Response:
        return JSONResponse({"started": health.started}, 200 if health.started else 503, headers)

    for path, probe in zip(sorted(PROBES), (livez, readyz, startupz), strict=True):
        app.add_api_route(path, probe, include_in_schema=False)

    @app.get(METRICS, include_in_schema=False)
    async def scrape(accept: Annotated[str, Header()] = "") -> Response:
        encode, media = choose_encoder(accept)
        return Response(encode(REGISTRY), headers={"Content-Type": media})

    return app
