"""Completes the OpenAPI document: adds each route's scopes, and the refusals that all may answer.

One place for all routes of all services, so that a new route is documented by default.
"""

from collections.abc import Sequence
from typing import Any, Final

from fastapi.routing import APIRoute
from starlette.routing import BaseRoute

from shared.http.declared import admitted, declared
from shared.http.problems import PROBLEM_JSON
from shared.http.scopes import ADMIN

PROBLEM: Final[dict[str, Any]] = {
    "type": "object",
    "title": "Problem",
    "description": "RFC 9457: what is wrong and what to mend",
    "required": ["type", "title", "status", "detail"],
    "properties": {
        "type": {"type": "string"},
        "title": {"type": "string"},
        "status": {"type": "integer"},
        "detail": {"type": "string"},
    },
}

ACCESS: Final = (
    "Send `Authorization: Bearer <token>`. `x-scopes` of an operation are the scopes, any of which "
    "opens it; none listed: any valid token. A token with the scope `on_behalf` may name the "
    "person for whom it acts, with a signed header `Ebbwatch-On-Behalf-Of` (docs/security.md): "
    "the request may then do what both may."
)

REFUSALS: Final = {
    "400": "The request is not HTTP, or its body ended early",
    "401": "No valid token, or no genuine signature",
    "403": "The token lacks the scope, or may not act for a person",
    "404": "There is none of this name",
    "405": "The path does not take this method; `Allow` names those that it takes",
    "409": "It is not in a state for this, or was changed meanwhile",
    "422": "Invalid input; the detail names the field",
    "503": "Temporarily unavailable; `Retry-After` states when to try again",
}
OF_BODIES: Final = {
    "408": "The body came too slowly",
    "413": "The body is too large, or nested too deep",
    "415": "This Content-Type or Content-Encoding is not taken",
}
WITH_BODY: Final = frozenset({"post", "put", "patch", "delete"})
REFUSED: Final = "Refused"
"""Begin of the names under which the refusals are kept, once for all operations."""
GENERATED: Final = ("HTTPValidationError", "ValidationError")
"""FastAPI's own form of a 422, which is never sent."""


def described(document: dict[str, Any], routes: Sequence[BaseRoute] = ()) -> dict[str, Any]:
    """Completes every operation of the document, in place, and returns it."""
    document.setdefault("info", {}).setdefault("description", ACCESS)
    for route in routes:
        if isinstance(route, APIRoute) and route.include_in_schema:
            for method in route.methods or ():
                _declare(document["paths"][route.path_format][method.lower()], route)
    for operations in document.get("paths", {}).values():
        for method, operation in operations.items():
            if not isinstance(operation, dict):
                continue
            refusals = REFUSALS | (OF_BODIES if method in WITH_BODY else {})
            responses = operation.setdefault("responses", {})
            for status, text in refusals.items():
                responses[status] = _beside(responses.get(status, {}), status, text)
    components = document.setdefault("components", {})
    components["responses"] = {
        f"{REFUSED}{status}": _refusal(status, text)
        for status, text in (REFUSALS | OF_BODIES).items()
    }
    schemas = components.setdefault("schemas", {})
    for name in GENERATED:
        schemas.pop(name, None)
    schemas["Problem"] = PROBLEM
    return document


def _declare(operation: dict[str, Any], route: APIRoute) -> None:
    """Adds what a route declares: the scopes that open it, and how it is audited.

    `x-scopes` is missing where no token is needed, and empty where any will do; `x-audit` is
    missing where nothing is declared.
    """
    scopes, what = admitted(route.dependant), declared(route.endpoint)
    if what is not None:
        operation["x-audit"] = what.content
    if scopes is None:
        return
    operation["x-scopes"] = list(scopes)
    needed = " or ".join(f"`{scope}`" for scope in dict.fromkeys((*scopes, ADMIN)))
    line = f"Scope: {needed}." if scopes else "Any valid token."
    operation["description"] = f"{operation.get('description', '')}\n\n{line}".strip()


def _beside(own: dict[str, Any], status: str, text: str) -> dict[str, Any]:
    """Merges a refusal with a route's own answer of the same status; alone it is a reference."""
    content = {
        media: shown
        for media, shown in own.get("content", {}).items()
        if not any(name in str(shown) for name in GENERATED)
    }
    if not content:
        return {"$ref": f"#/components/responses/{REFUSED}{status}"}
    refusal = _refusal(status, text)
    described = f"{own.get('description', '')}. {refusal['description']}"
    return {
        **refusal,
        "description": described,
        "content": content | refusal["content"],
    }


def _refusal(status: str, text: str) -> dict[str, Any]:
    schema = {"$ref": "#/components/schemas/Problem"}
    found: dict[str, Any] = {"description": text, "content": {PROBLEM_JSON: {"schema": schema}}}
    named = {"405": "Allow", "503": "Retry-After", "401": "WWW-Authenticate"}.get(status)
    if named is not None:
        found["headers"] = {named: {"schema": {"type": "string"}}}
    return found
