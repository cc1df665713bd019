"""Finds the route that takes a request, before the application does."""

from collections.abc import Sequence
from typing import Any

from starlette.routing import BaseRoute, Match, Route
from starlette.types import Scope

from shared.http.borders import ROUTES


def route_of(scope: Scope) -> tuple[Route | None, dict[str, Any]]:
    """Returns the route and the path's values; None where no route takes the request."""
    routes: Sequence[BaseRoute] = scope[ROUTES]
    for route in routes:
        match, found = route.matches(scope)
        if match is Match.FULL:
            if not isinstance(route, Route):
                # Such as an included router: what is inside would change things unseen.
                raise TypeError(f"add the route itself to the application, not {route!r:.80}")
            return route, dict(found.get("path_params", {}))
    return None, {}
