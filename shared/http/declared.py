"""What routes declare of themselves: the scopes that open them, and how they are audited.

A declaration is kept on the function, so it is read wherever the route is: by the audit, by the
OpenAPI document, and by the tests that walk all routes.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any, Final, Literal, TypeVar

from fastapi.dependencies.models import Dependant

from shared.http.scopes import Scope
from shared.postgres.audit import State

Function = TypeVar("Function", bound=Callable[..., Any])

Content = Literal["kept", "personal", "events", "reads", "signed"]
"""`kept`: the entry has the content, without secrets. `personal`: the content is about a customer
and is left out of the append-only table. `events`: no entry, since events are counted, kept as
history and, where refused, as dead letters. `reads`: no entry, since nothing changes. `signed`: no
entry, since a system reports something, with a signature in place of a token."""

CUSTOMER: Final = "customer_id"
"""Usual name of the path's value, or of the content's field, that is a customer."""

_SCOPES: Final = "__ebbwatch_scopes__"
_AUDIT: Final = "__ebbwatch_audit__"


@dataclass(frozen=True, slots=True, kw_only=True)
class Declared:
    """How requests to a route are audited."""

    content: Content
    state: State | None = None
    """What is changed, read before and after."""
    customer: str = CUSTOMER

    @property
    def has_entry(self) -> bool:
        """Whether a request gets an entry."""
        return self.content in {"kept", "personal"}


UNDECLARED: Final = Declared(content="personal")
"""What applies to a route that declares nothing: the tests refuse it."""


def audits(
    content: Content, state: State | None = None, customer: str = CUSTOMER
) -> Callable[[Function], Function]:
    """Returns a decorator of a route's function, below the one that adds the route."""

    def declare(function: Function) -> Function:
        setattr(function, _AUDIT, Declared(content=content, state=state, customer=customer))
        return function

    return declare


def declared(function: Any) -> Declared | None:
    """Returns what a route's function declares about the audit."""
    found: Declared | None = getattr(function, _AUDIT, None)
    return found


def admits(function: Function, scopes: tuple[Scope, ...]) -> Function:
    """Notes on a dependency which scopes it admits; none: any valid token."""
    setattr(function, _SCOPES, scopes)
    return function


def admitted(dependant: Dependant) -> tuple[Scope, ...] | None:
    """Returns the scopes, any of which opens a route; None where it needs no token."""
    return next(_admitted(dependant), None)


def _admitted(dependant: Dependant) -> Iterator[tuple[Scope, ...]]:
    found = getattr(dependant.call, _SCOPES, None)
    if found is not None:
        yield found
    for inner in dependant.dependencies:
        yield from _admitted(inner)
