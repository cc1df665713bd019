"""Finds the route that takes a request, before the application does."""

from collections.abc import Sequence
from typing import Any

from starlette.routing import BaseRoute, Match, Route
from starlette.types import Scope

from shared.http.borders import ROUTES


def route_of(scope: Scope) -> tuple[str | None, dict[str, Any]]:
    """Returns the path's template and values; None where no route takes the request."""
    routes: Sequence[BaseRoute] = scope[ROUTES]
    for route in routes:
        match, found = route.matches(scope)
        if match is Match.FULL and isinstance(route, Route):
            return route.path, dict(found.get("path_params", {}))
    return None, {}
