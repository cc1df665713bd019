"""Errors over HTTP: RFC 9457 problem details, with what to correct."""

from collections import defaultdict
from typing import Final

from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse, Response
from starlette.exceptions import HTTPException
from starlette.routing import Match

from shared.kernel.errors import Invalid, Transient

PROBLEM_JSON = "application/problem+json"

RETRY_AFTER_S: Final = 5
"""`Retry-After` of 429 and 503: about as long as a broker or a server takes to return."""

METHOD_NOT_ALLOWED: Final = 405


def problem(
    status: int, title: str, detail: str, headers: dict[str, str] | None = None
) -> Response:
    """Returns a problem document; 429 and 503 carry `Retry-After`."""
    if status in {429, 503}:
        headers = {"Retry-After": str(RETRY_AFTER_S)} | (headers or {})
    return JSONResponse(
        {"type": "about:blank", "title": title, "status": status, "detail": _whole(detail)},
        status_code=status,
        media_type=PROBLEM_JSON,
        headers=headers,
    )


def install(app: FastAPI) -> None:
    """Turn our errors, FastAPI's and the router's (no such path) into problem documents."""

    @app.exception_handler(Invalid)
    async def _invalid(_: Request, error: Invalid) -> Response:
        return problem(422, "Invalid input", str(error))

    @app.exception_handler(Transient)
    async def _transient(_: Request, error: Transient) -> Response:
        # The text may name hosts: it goes to the log of the loop that raised it, not outside.
        del error
        return problem(503, "Temporarily unavailable", "try again shortly")

    @app.exception_handler(RequestValidationError)
    async def _validation(_: Request, error: RequestValidationError) -> Response:
        first = error.errors()[0]
        place = ".".join(str(part) for part in first["loc"])
        return problem(422, "Invalid input", f"{place}: {first['msg']}")

    @app.exception_handler(HTTPException)
    async def _http(request: Request, error: HTTPException) -> Response:
        headers = dict(error.headers) if error.headers else {}
        if error.status_code == METHOD_NOT_ALLOWED:
            headers["Allow"] = ", ".join(_methods_of(app, request))
        return problem(error.status_code, "Request refused", str(error.detail), headers)

    @app.exception_handler(Exception)
    async def _bug(_: Request, error: Exception) -> Response:
        del error  # passed on to the server, which logs it
        return problem(500, "Internal error", "a fault of this service; its log has more")


def _methods_of(app: FastAPI, request: Request) -> list[str]:
    """Returns the methods of the path's first template: the router names those of one route."""
    routes = [r for r in app.router.routes if r.matches(request.scope)[0] is not Match.NONE]
    of_path: dict[str, set[str]] = defaultdict(set)
    for route in routes:
        of_path[getattr(route, "path", "")] |= getattr(route, "methods", None) or set()
    return sorted(next(iter(of_path.values()), ()))


def _whole(detail: str) -> str:
    return detail.encode("utf-8", "replace").decode()
