"""Errors over HTTP: RFC 9457 problem details, always naming what to mend."""

from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse, Response
from starlette.exceptions import HTTPException

from shared.kernel.errors import Invalid, Transient

PROBLEM_JSON = "application/problem+json"


def problem(
    status: int, title: str, detail: str, headers: dict[str, str] | None = None
) -> Response:
    """A problem document."""
    return JSONResponse(
        {"type": "about:blank", "title": title, "status": status, "detail": detail},
        status_code=status,
        media_type=PROBLEM_JSON,
        headers=headers,
    )


def install(app: FastAPI) -> None:
    """Turn our errors, FastAPI's and the router's (no such path) into problem documents."""

    @app.exception_handler(Invalid)
    async def _invalid(_: Request, error: Invalid) -> Response:
        return problem(422, "Invalid input", f"{error.field}: {error.reason}")

    @app.exception_handler(Transient)
    async def _transient(_: Request, error: Transient) -> Response:
        # The text may name hosts: it goes to the log of the loop that met it, not outside.
        del error
        return problem(503, "Temporarily unavailable", "try again shortly", {"Retry-After": "5"})

    @app.exception_handler(RequestValidationError)
    async def _validation(_: Request, error: RequestValidationError) -> Response:
        first = error.errors()[0]
        place = ".".join(str(part) for part in first["loc"])
        return problem(422, "Invalid input", f"{place}: {first['msg']}")

    @app.exception_handler(HTTPException)
    async def _http(_: Request, error: HTTPException) -> Response:
        headers = dict(error.headers) if error.headers else None
        return problem(error.status_code, "Request refused", str(error.detail), headers)

    @app.exception_handler(Exception)
    async def _bug(_: Request, error: Exception) -> Response:
        del error  # goes on to the server, which logs it
        return problem(500, "Internal error", "a fault of this service; its log says more")
