"""The HTTP face that every service has: probes and metrics, open; everything else guarded."""

from fastapi import FastAPI, Response
from fastapi.responses import JSONResponse
from prometheus_client import (
    CONTENT_TYPE_LATEST,
    REGISTRY,
    disable_created_metrics,
    generate_latest,
)

from shared.http import problems
from shared.runtime.health import Health

disable_created_metrics()  # type: ignore[no-untyped-call] # prometheus-client is partly typed


def create_app(title: str, health: Health) -> FastAPI:
    """An application with `/livez`, `/readyz`, `/startupz` and `/metrics`."""
    app = FastAPI(title=title, docs_url=None, redoc_url=None)
    problems.install(app)

    @app.get("/livez", include_in_schema=False)
    async def livez() -> Response:
        stalled = health.stalled()
        return JSONResponse({"stalled": stalled}, status_code=503 if stalled else 200)

    @app.get("/readyz", include_in_schema=False)
    async def readyz() -> Response:
        missing = await health.missing()
        return JSONResponse({"missing": missing}, status_code=503 if missing else 200)

    @app.get("/startupz", include_in_schema=False)
    async def startupz() -> Response:
        return JSONResponse({"started": health.started}, 200 if health.started else 503)

    @app.get("/metrics", include_in_schema=False)
    async def metrics() -> Response:
        return Response(generate_latest(REGISTRY), media_type=CONTENT_TYPE_LATEST)

    return app
