"""Everything that scoring stores of one customer, in the words of an answer to that person."""

from typing import Any, Final

import numpy as np
from sqlalchemy.ext.asyncio import AsyncEngine

from services.scoring.core.features.compute import features
from services.scoring.core.features.registry import FEATURES
from services.scoring.core.features.state import FEATURE_SET, from_bytes
from services.scoring.core.risk.horizons import unpack
from services.scoring.core.risk.state_summary import summary
from services.scoring.core.signs.detectors import codes_of
from services.scoring.store import identity_tables, value_tables
from services.scoring.store.export_fields import FIELDS
from shared.contracts.risk import BANDS
from shared.postgres.export import CustomerExport, Row, customer_tables, readable

_METADATA: Final = {value_tables.standing.metadata, identity_tables.member.metadata}
"""One: each module adds its tables to it when it is imported."""

MEANINGS: Final = {
    "profile": "Who the customer is, as the newest profile says",
    "event": "What the customer did or was sent, as it was recorded (`payload`), with the id that "
    "it came with (`original_customer_id`)",
    "member": "The customer's ids, and what came with each",
    "identity_statement": "Why these ids are one customer: what was stated, and by which system",
    "event_key": "The identifiers of these events, by which a repetition is recognised",
    "member_key": "The same of events that another of the customer's ids had sent before",
    "customer_state": "The behaviour of the customer in numbers, and how likely a purchase is",
    "assessment_history": "Assessments that were published, with their reasons (`message`)",
    "standing": "The customer's grade, tier, lifecycle, segments and value at present",
    "standing_change": "When the grade, the tier, the lifecycle or a segment changed",
    "segment_member": "The customer's segments, and since when",
    "grade_override": "Grades that a person set, with the reason",
    "absence": "An absence that was announced",
    "treatment": "Retention tasks about the customer, and what came of them",
    "profiling": "Whether the customer refused to be assessed, or allowed it, and when",
    "roll_call": "Weekly samples by which the model's forecasts are judged",
    "shadow_score": "What a model in trial and the one in use said",
    "timer": "When the customer is looked at next",
}
"""What each table holds. A table that is not named is exported under its own name."""

_IDS: Final = """
SELECT $1::text UNION SELECT o.customer_id FROM scoring.member m
  JOIN scoring.member o USING (primary_id) WHERE m.customer_id = $1 AND m.account IS NULL
"""
"""A contact is a person: what the account and its other contacts did is not theirs."""

_CONDITIONS: Final = {
    "event": "customer_id = ANY($1::text[]) OR original_customer_id = ANY($1::text[])",
    "identity_statement": "ids && $1::text[]",
}

_OMITTED: Final = frozenset({"partition", "content_hash", "grouped", "sequence", "rules_revision"})


def export_of(engine: AsyncEngine, currency: str) -> CustomerExport:
    """Return the export of scoring; `currency`: the reporting currency."""
    (metadata,) = _METADATA
    return CustomerExport(
        engine=engine,
        tables=customer_tables(metadata, MEANINGS),
        meanings=MEANINGS,
        fields=FIELDS,
        currency=currency,
        omitted=_OMITTED,
        ids=_IDS,
        conditions=_CONDITIONS,
        readers={
            "state": lambda row: _state(row["state"], row),
            "own_state": lambda row: _state(row["own_state"], row),
            "features": _features,
            "horizons": lambda row: unpack(row["horizons"]),
            "band": lambda row: _band(row["band"]),
            "published_band": lambda row: _band(row["published_band"]),
            "published_signs": lambda row: codes_of(row["published_signs"] or 0),
            "frozen": lambda row: _unfrozen(readable(row["frozen"])),
        },
    )


def _band(place: int | None) -> str | None:
    return None if place is None else BANDS[place]


def _state(packed: bytes, row: Row) -> Any:
    """Returns the contents of a state; one of an older feature set as it is stored."""
    if row["feature_set"] != FEATURE_SET:
        return readable(packed)
    state = from_bytes([packed])
    found: dict[str, Any] = dict(summary(state))
    assessed_at = row.get("assessed_at")
    if assessed_at is not None:
        at = np.maximum(state["ref"], assessed_at.timestamp())
        found["features"] = _named(features(state, at)[0].tolist())
    return found


def _features(row: Row) -> dict[str, float | None]:
    """Returns stored features by name: an older feature set has the first of them."""
    return _named(np.frombuffer(row["features"], "<f8").tolist())


def _named(values: list[float]) -> dict[str, float | None]:
    names = [feature.name for feature in FEATURES]
    return {n: None if np.isnan(v) else v for n, v in zip(names, values, strict=False)}


def _unfrozen(rows: dict[str, Any]) -> dict[str, Any]:
    """Returns rows as PostgreSQL keeps them in JSON, where bytes are hexadecimal."""
    if (profile := rows.get("profile")) is not None:
        profile["profile"] = readable(bytes.fromhex(profile["profile"].removeprefix("\\x")))
    return rows
