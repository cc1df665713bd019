"""HTTP API of tokens: list, create, rotate and revoke those that may no more than oneself."""

from datetime import datetime, timedelta
from typing import Annotated, Final

from fastapi import Depends, FastAPI, HTTPException, Path
from pydantic import BaseModel, ConfigDict, Field, StrictBool

from shared.contracts.events import ID_LENGTH_MAX
from shared.http.access import NAME_CHARS_MAX, Tokens, held_by, states_of
from shared.http.declared import audits
from shared.http.fields import Instant, Whole
from shared.http.holder import Holder
from shared.http.scopes import SCOPES, reach
from shared.kernel.errors import Invalid
from shared.runtime.clock import Clock

TOKENS: Final = "/v1/tokens"
OWNERS_MAX: Final = 1_000
"""Owners to whom one token is limited: the largest team."""
OVERLAP_HOURS_MAX: Final = 24 * 30

TokenId = Annotated[int, Path(ge=1, le=2**63 - 1)]
OwnerId = Annotated[str, Field(min_length=1, max_length=ID_LENGTH_MAX)]


class NewToken(BaseModel):
    """The token to create."""

    model_config = ConfigDict(extra="forbid")

    name: str = Field(min_length=1, max_length=NAME_CHARS_MAX)
    scopes: list[str] = Field(min_length=1, max_length=len(SCOPES))
    owner_ids: list[OwnerId] | None = Field(None, min_length=1, max_length=OWNERS_MAX)
    """It sees only their customers and tasks; null: those of all."""
    expires_at: Instant | None = None
    is_person: StrictBool = False
    """It is one person's own, not a system's."""


class Rotate(BaseModel):
    """How long the old token stays valid."""

    model_config = ConfigDict(extra="forbid")

    overlap_hours: Annotated[Whole, Field(ge=0, le=OVERLAP_HOURS_MAX)] = 24


class TokenView(BaseModel):
    """A token, without what it is checked by."""

    model_config = ConfigDict(extra="ignore")

    id: int
    name: str
    scopes: list[str]
    owner_ids: list[str] | None
    is_person: bool
    created_at: datetime
    expires_at: datetime | None
    revoked_at: datetime | None
    last_used_at: datetime | None
    """Within an hour."""


class TokenList(BaseModel):
    """Every token, oldest first."""

    items: list[TokenView]


class MadeToken(BaseModel):
    """A new token. It is in this answer and is not shown again."""

    token: str
    signing_secret: str | None
    """Signs for whom it acts; only with the scope `on_behalf`."""


def add_token_routes(app: FastAPI, tokens: Tokens, schema: str, clock: Clock) -> None:
    """Add `/v1/tokens`."""
    writer = held_by(tokens, "tokens:write")
    by_name, by_id = states_of(schema)

    async def made(token: str) -> MadeToken:
        return MadeToken(token=token, signing_secret=await tokens.signing_secret(token))

    async def lesser(token_id: int, holder: Holder, *, ends: bool) -> None:
        """Refuse a token that may more than the holder, or one's own where it `ends` now."""
        if ends and token_id == holder.token_id:
            raise HTTPException(409, "it is the token that you use: end it with another")
        every = await tokens.list_all()
        row = next((each for each in every if each["id"] == token_id), None)
        if row is None or row["revoked_at"] is not None:
            raise HTTPException(404, f"no token {token_id} is valid")
        _check(row["scopes"], holder)

    @app.get(TOKENS, dependencies=[Depends(writer)], tags=["access"])
    async def list_tokens() -> TokenList:
        """List every token, oldest first, without the secret."""
        return TokenList(items=[TokenView(**row) for row in await tokens.list_all()])

    @app.post(TOKENS, status_code=201, tags=["access"])
    @audits("kept", by_name)
    async def create(body: NewToken, holder: Annotated[Holder, Depends(writer)]) -> MadeToken:
        """Create a token that may no more than the one that creates it, and ends no later."""
        _check(body.scopes, holder)
        if body.expires_at is not None and body.expires_at <= clock.now():
            raise Invalid("expires_at", "lies in the future")
        ends = [each for each in (body.expires_at, holder.expires_at) if each is not None]
        return await made(
            await tokens.create(
                body.name,
                body.scopes,
                owner_ids=body.owner_ids,
                expires_at=min(ends, default=None),
                is_person=body.is_person,
            )
        )

    @app.post(f"{TOKENS}/{{token_id}}/rotate", status_code=201, tags=["access"])
    @audits("kept", by_id)
    async def rotate(
        token_id: TokenId, body: Rotate, holder: Annotated[Holder, Depends(writer)]
    ) -> MadeToken:
        """Make a new token in place of one, which stays valid for a while."""
        await lesser(token_id, holder, ends=body.overlap_hours == 0)
        overlap = timedelta(hours=body.overlap_hours)
        token = await tokens.rotate(token_id, overlap, ends=holder.expires_at)
        if token is None:
            raise HTTPException(404, f"no token {token_id} is valid")
        return await made(token)

    @app.delete(f"{TOKENS}/{{token_id}}", status_code=204, tags=["access"])
    @audits("kept", by_id)
    async def revoke(token_id: TokenId, holder: Annotated[Holder, Depends(writer)]) -> None:
        """End a token now."""
        await lesser(token_id, holder, ends=True)
        await tokens.revoke(token_id)


def _check(scopes: list[str], holder: Holder) -> None:
    """Refuse what the holder may not do itself."""
    if more := sorted(set(scopes) - reach(holder.scopes)):
        raise HTTPException(403, f"you may not give or take what you lack: {', '.join(more)}")
