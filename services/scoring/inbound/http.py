"""Scoring's HTTP API: what is known of a customer, and why.

Errors are problem documents. Every route wants a token with `customers:read`.
"""

from typing import Annotated, Any

import msgspec
import numpy as np
from fastapi import APIRouter, Depends, FastAPI, HTTPException, Path

from services.scoring.core.registry import FEATURES
from services.scoring.store.history import History
from shared.contracts import risk
from shared.contracts.events import ID_LENGTH_MAX, Profile
from shared.http.access import Tokens, require

CustomerId = Annotated[str, Path(min_length=1, max_length=ID_LENGTH_MAX, pattern="^[^\\x00]*$")]
"""Any id that ingest accepts; PostgreSQL takes no NUL in a text."""


def add_routes(app: FastAPI, history: History, tokens: Tokens) -> None:
    """Add `/v1/customers/...`."""
    router = APIRouter(
        prefix="/v1/customers", dependencies=[Depends(require(tokens, "customers:read"))]
    )

    # The longer path first: an id may contain slashes.
    @router.get("/{customer_id:path}/history")
    async def published(customer_id: CustomerId) -> dict[str, Any]:
        """What the risk topic was told, newest first, with the reasons."""
        return {"items": [msgspec.json.decode(m) for m in await history.published(customer_id)]}

    @router.get("/{customer_id:path}")
    async def customer(customer_id: CustomerId) -> dict[str, Any]:
        """Features by name, the current assessment and the profile."""
        row = await history.customer(customer_id)
        if row is None:
            raise HTTPException(404, f"no customer {customer_id!r} has been seen")
        return {
            "customer_id": customer_id,
            "assessment": _assessment(row),
            "features": _features(row["features"]),
            "profile": None if row["profile"] is None else _profile(row["profile"]),
        }

    app.include_router(router)


def _assessment(row: dict[str, Any]) -> dict[str, Any] | None:
    if row["revision"] is None:
        return None
    return {
        "revision": row["revision"],
        "assessed_at": row["assessed_at"],
        "probability": row["probability"],
        "band": risk.BANDS[row["band"]],
        "method": row["method"],
        "model_version": row["model_version"],
        "leading_reason": row["published_reason"],
    }


def _features(packed: bytes | None) -> dict[str, float | None] | None:
    if packed is None:
        return None
    values = np.frombuffer(packed, "<f8")
    return {
        feature.name: None if np.isnan(value) else float(value)
        for feature, value in zip(FEATURES, values, strict=True)
    }


def _profile(packed: bytes) -> Any:
    return msgspec.to_builtins(msgspec.json.decode(packed, type=Profile))
