"""Scoring's HTTP API: customers with state, features, assessments and reasons.

Errors are problem documents. Every route requires a token with `customers:read`. Lists are read
page by page: pass `next` of one page as `cursor` of the next.
"""

from collections.abc import Awaitable, Callable, Sequence
from dataclasses import asdict
from datetime import datetime
from typing import Annotated, Any

import msgspec
import numpy as np
from fastapi import Depends, FastAPI, HTTPException, Query
from numpy.typing import NDArray
from pydantic import BaseModel, Field

from services.scoring.core.features.compute import features
from services.scoring.core.features.registry import FEATURES
from services.scoring.core.features.state import FEATURE_SET, from_bytes
from services.scoring.core.risk.horizons import unpack
from services.scoring.core.risk.state_summary import Value, summary
from services.scoring.inbound.http.value import CustomerId, signs_of
from services.scoring.store.history import After, CustomerFilter, HistoryReader, Order, Place
from services.scoring.store.identity_queries import CustomerIdRow, IdentityQueries
from shared.contracts import risk
from shared.contracts.events import ID_LENGTH_MAX, Profile
from shared.contracts.risk import Band, Method
from shared.http.access import Tokens, held_by
from shared.http.holder import Holder
from shared.http.paging import (
    Cursor,
    Limit,
    decoded,
    invalid_cursor,
    number,
    of_cursor,
    page_of,
    serial,
)

MADE = {"band", "horizons"}
"""Fields of an assessment that are returned in another form than stored."""

OwnerId = Annotated[str | None, Query(min_length=1, max_length=ID_LENGTH_MAX)]


class RiskReasonView(BaseModel):
    """Reason of an assessment: its code, its share of the score, and its numbers."""

    code: str
    impact: float
    facts: dict[str, float]


class PublishedView(BaseModel):
    """Assessment of a customer last published to the risk topic."""

    revision: int
    assessed_at: datetime
    value_at_risk: float
    currency: str
    reasons: list[RiskReasonView]


class WithinView(BaseModel):
    """Probability of no purchase within one horizon."""

    days: int
    probability: float


class Assessment(BaseModel):
    """Current assessment; published only where something material changed (see `told`)."""

    revision: int
    assessed_at: datetime
    probability: float = Field(description="Of no purchase within `horizon_days`")
    horizon_days: int
    horizons: list[WithinView] = Field(
        description="The same over several horizons, shortest first; empty in what is older"
    )
    band: Band
    method: Method
    model_version: str
    feature_set: int
    leading_reason: str | None = Field(description="The most urgent of `signs`")
    signs: list[str] = Field(description="Signs of leaving as they were last published")


class IdView(BaseModel):
    """An id of a customer (docs/identity.md)."""

    id: str
    since: datetime | None = Field(description="None for a customer's only id")
    contact: bool = Field(description="A person at the account that the customer is")
    events: int = Field(description="Events that came with this id")


class CustomerView(BaseModel):
    """All that scoring stores of a customer. Times are UTC."""

    customer_id: str
    ids: list[IdView] = Field(description="All ids of the customer, the primary one first")
    state: dict[str, Value] | None = Field(description="None while it is being rebuilt")
    features: dict[str, float | None] | None = Field(
        description="Of this state, at the time of the assessment or of a later event"
    )
    assessment: Assessment | None = Field(description="None for a prospect")
    told: PublishedView | None
    profile: dict[str, Any] | None
    not_profiled_since: datetime | None = Field(
        description="Not assessed from then on, at the customer's wish"
    )


class HistoryPage(BaseModel):
    """Risk messages as published, newest first; each has the id that it was published for."""

    items: list[dict[str, Any]]
    next: str | None


class CustomerRow(BaseModel):
    """Customer in a list, as last published to the risk topic."""

    customer_id: str
    owner_id: str | None
    band: Band
    probability: float
    value_at_risk: float
    assessed_at: datetime
    leading_reason: str | None = Field(description="The most urgent of `signs`")
    signs: list[str]


class CustomerPage(BaseModel):
    """Page of customers in the requested order."""

    items: list[CustomerRow]
    next: str | None
    not_profiled: int = Field(
        description="Ids of customers who are not assessed at their own wish, and not listed"
    )


def add_routes(
    app: FastAPI, history: HistoryReader, identity: IdentityQueries, tokens: Tokens
) -> None:
    """Adds `/v1/customers` and `/v1/customers/...`, which a token may see in part, by owner."""
    reader = held_by(tokens, "customers:read", by_owner=True)

    Primary = Annotated[str, Depends(_visible(history, identity, reader))]  # noqa: N806 (a type)

    @app.get("/v1/customers")
    async def customers(
        holder: Annotated[Holder, Depends(reader)],
        band: Band | None = None,
        owner: OwnerId = None,
        order_by: Order = "value_at_risk",
        cursor: Cursor = None,
        limit: Limit = 50,
    ) -> CustomerPage:
        """Lists customers with a published assessment, greatest value at risk first.

        Or by customer id. A customer with a value that changes between two pages may be listed
        twice or not at all."""
        bands = None if band is None else risk.BANDS.index(band)
        chosen = CustomerFilter(bands, _owners(owner, holder), order_by)
        after = None if cursor is None else _after(cursor, order_by)
        rows = await history.customers(chosen, after, limit + 1)
        shown, cut = page_of(
            rows, limit, lambda last: f"{last['value_at_risk']!r} {last['customer_id']}"
        )
        left_out = await history.not_profiled(chosen.owner_ids)
        return CustomerPage(items=list(map(_row, shown)), next=cut, not_profiled=left_out)

    # The longer path comes first, since an id may contain slashes.
    @app.get("/v1/customers/{customer_id:path}/history")
    async def published(primary: Primary, cursor: Cursor = None, limit: Limit = 50) -> HistoryPage:
        """Lists the published risk messages of a customer with their reasons, newest first.

        Those of all ids of the customer; each has the id that it was published for."""
        before = None if cursor is None else _place(cursor)
        ids = [one.id for one in await identity.ids(primary)]
        found = await history.published(ids, before, limit + 1)
        shown, cut = page_of(found, limit, lambda last: _key(last[0]))
        items = [msgspec.json.decode(message) for _, message in shown]
        return HistoryPage(items=items, next=cut)

    @app.get("/v1/customers/{customer_id:path}")
    async def customer(customer_id: CustomerId, primary: Primary) -> CustomerView:
        """Returns state, features by name, current and last published assessment, and profile.

        Any id of the customer will do; `customer_id` is the primary one."""
        row = await history.customer(primary)
        if row is None:
            raise HTTPException(404, f"no customer {customer_id!r} has been seen")
        refused = await history.refused_since(primary)
        return _customer(row, await identity.ids(primary), refused)


def _visible(
    history: HistoryReader,
    identity: IdentityQueries,
    reader: Callable[..., Awaitable[Holder]],
) -> Callable[..., Awaitable[str]]:
    """Returns a dependency of routes about one customer: its value is the primary id."""

    async def visible(customer_id: CustomerId, holder: Annotated[Holder, Depends(reader)]) -> str:
        """Returns the primary id; 404 unless the holder may see the customer."""
        primary = await identity.primary(customer_id)
        if holder.owners is not None and await history.owner(primary) not in holder.owners:
            raise HTTPException(404, f"no customer {customer_id!r} has been seen")
        return primary

    return visible


def _owners(wanted: str | None, holder: Holder) -> Sequence[str] | None:
    """Returns the owners of the customers to list; None: all owners."""
    if holder.owners is None:
        return None if wanted is None else [wanted]
    return sorted(holder.owners & {wanted} if wanted is not None else holder.owners)


def _customer(
    row: dict[str, Any], ids: Sequence[CustomerIdRow], refused: datetime | None
) -> CustomerView:
    readable = row["state_feature_set"] == FEATURE_SET
    state = from_bytes([row["state"]]) if readable else None
    return CustomerView(
        customer_id=row["customer_id"],
        ids=[IdView(**asdict(one)) for one in ids],
        state=None if state is None else summary(state),
        features=_features(state, row["assessed_at"]),
        assessment=_assessment(row),
        told=None if row["message"] is None or refused else _published(row["message"]),
        not_profiled_since=refused,
        profile=None if row["profile"] is None else _profile(row["profile"]),
    )


def _assessment(row: dict[str, Any]) -> Assessment | None:
    if row["assessed_at"] is None:
        return None
    return Assessment(
        band=risk.BANDS[row["band"]],
        **signs_of(row["published_signs"]),
        horizons=[
            WithinView(days=days, probability=p) for days, p in unpack(row["horizons"]).items()
        ],
        **{name: row[name] for name in Assessment.model_fields if name in row.keys() - MADE},
    )


def _published(message: bytes) -> PublishedView:
    return PublishedView.model_validate(risk.DECODER.decode(message), from_attributes=True)


def _row(row: dict[str, Any]) -> CustomerRow:
    found = {"band": risk.BANDS[row["band"]], **signs_of(row["signs"])}
    return CustomerRow.model_validate(row | found)


def _features(
    state: NDArray[np.void] | None, assessed_at: datetime | None
) -> dict[str, float | None] | None:
    if state is None or assessed_at is None:
        return None
    # In a replay, and during an import, events are folded before the next assessment.
    at = np.maximum(state["ref"], assessed_at.timestamp())
    return {
        feature.name: None if np.isnan(value) else float(value)
        for feature, value in zip(FEATURES, features(state, at)[0], strict=True)
    }


def _profile(packed: bytes) -> Any:
    return msgspec.to_builtins(msgspec.json.decode(packed, type=Profile))


def _key(place: Place) -> str:
    return f"{place.assessed_at.isoformat()} {place.revision} {place.customer_id}"


def _place(cursor: str) -> Place:
    """Reads the cursor of a page of the history; Invalid for one that is none."""
    at, _, rest = decoded(cursor).partition(" ")
    revision, _, customer = rest.partition(" ")
    try:
        when = datetime.fromisoformat(at)
    except ValueError as error:
        raise invalid_cursor() from error
    if when.tzinfo is None or not customer or "\0" in customer:
        raise invalid_cursor()
    return Place(when, customer, serial(revision))


def _after(cursor: str, order: Order) -> After:
    value, customer = of_cursor(cursor, number)
    return After(value if order == "value_at_risk" else 0.0, customer)
