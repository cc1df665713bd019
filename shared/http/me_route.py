"""HTTP API that shows who one is, and what one may."""

from collections.abc import Awaitable, Callable
from datetime import datetime
from typing import Annotated

from fastapi import Depends, FastAPI
from pydantic import BaseModel

from shared.http.access import Tokens, held_by
from shared.http.holder import Holder, Kind

OwnersOf = Callable[[Holder], Awaitable[frozenset[str] | None]]
"""Returns the owners whose rows a holder sees in this service; None: all."""


class PersonView(BaseModel):
    """The person for whom the token acts."""

    id: str
    roles: list[str]


class MeView(BaseModel):
    """Who sends the request, and what they may."""

    token: str
    """The token's name."""
    kind: Kind
    """`service` or `person`: whose token it is; `on_behalf`: it acts for a person."""
    person: PersonView | None
    scopes: list[str]
    """On behalf of a person: what both may. `admin` includes all but `on_behalf`."""
    owner_ids: list[str] | None
    """Account owners whose rows are seen here, as of now; null: those of all."""
    expires_at: datetime | None
    """Of the token; null: never."""


async def _named(holder: Holder) -> frozenset[str] | None:
    return holder.owners


def add_me_route(app: FastAPI, tokens: Tokens, owners_of: OwnersOf = _named) -> None:
    """Add `GET /v1/me`."""

    @app.get("/v1/me", tags=["access"])
    async def me(holder: Annotated[Holder, Depends(held_by(tokens, by_owner=True))]) -> MeView:
        """Return who one is to this service, and what one may."""
        person, owners = holder.person, await owners_of(holder)
        return MeView(
            token=holder.name,
            kind=holder.kind,
            person=None if person is None else PersonView(id=person.id, roles=[*person.roles]),
            scopes=sorted(holder.scopes),
            owner_ids=None if owners is None else sorted(owners),
            expires_at=holder.expires_at,
        )
