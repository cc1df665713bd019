"""Scopes: what a token, or a person by a role, may do."""

from collections.abc import Iterable, Mapping
from typing import Final, Literal, get_args

Scope = Literal[
    "events:write",
    "customers:read",
    "customers:erase",
    "customers:export",
    "tasks:write",
    "dead-letters:read",
    "dead-letters:write",
    "audit:read",
    "policy:write",
    "segments:write",
    "endpoints:write",
    "data:write",
    "tokens:write",
    "admin",
    "on_behalf",
]
SCOPES: Final[tuple[str, ...]] = get_args(Scope)

ADMIN: Final = "admin"
ON_BEHALF: Final = "on_behalf"
"""Admits to no route: it lets a token name the person for whom it acts."""

ROLES: Final[Mapping[str, frozenset[str]]] = {
    "owner": frozenset({"customers:read", "tasks:write"}),
    "manager": frozenset({"customers:read", "tasks:write"}),
    "operator": frozenset({"customers:read", "policy:write", "segments:write"}),
    "steward": frozenset({
        "customers:read", "customers:erase", "customers:export", "data:write",
        "dead-letters:read", "dead-letters:write",
    }),
    "admin": frozenset({ADMIN}),
}  # fmt: skip
"""What each role of a person may. A manager sees the customers of more owners, and does the same
with them."""


def reach(scopes: Iterable[str]) -> frozenset[str]:
    """Returns everything that scopes allow: `admin` is the union of all but `on_behalf`.

    >>> "policy:write" in reach(["admin"]), "on_behalf" in reach(["admin"])
    (True, False)
    """
    given = frozenset(scopes)
    return given | (frozenset(SCOPES) - {ON_BEHALF}) if ADMIN in given else given
