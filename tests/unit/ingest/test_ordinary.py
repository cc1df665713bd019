"""The fast path for ordinary events: what it accepts, and that it follows the contract."""

import json
from datetime import UTC, datetime
from typing import Any

import msgspec
import pytest

from services.ingest.core import ordinary
from services.ingest.core.ordinary import QUANTITY_MAX, decode
from services.ingest.core.rates import RateTable
from shared.contracts import events as types
from tests.unit.ingest.events import ARRIVED_MS, accept, encoded, event, purchase

ITEM = {"sku": "1", "category": "MEAT", "quantity": 2}
BASKET = {"order_id": "o-1", "items": [ITEM], "currency": "USD", "amount": "12.50"}
VISIT = {"kind": "page_viewed", "channel": "online", "category": "MEAT", "campaign_id": "26"}


def test_an_ordinary_event_keeps_its_values() -> None:
    """Values are unchanged; data is canonical: sorted, and without white space."""
    found = decode(encoded(data=BASKET, datacontenttype="application/json"))
    assert found is not None
    event, canonical = found
    assert (event.type, event.id, event.subject) == (types.PURCHASE, "basket-1", "household-7")
    assert event.time == datetime(2026, 3, 1, 8, 30, tzinfo=UTC)
    assert canonical == json.dumps(BASKET, sort_keys=True, separators=(",", ":")).encode()


@pytest.mark.parametrize(
    "value",
    [
        purchase(),
        purchase(items=[{}, ITEM]),
        purchase(items=[ITEM | {"quantity": QUANTITY_MAX}, ITEM | {"quantity": 0.5}]),
        json.dumps(event(subject="客户-7"), ensure_ascii=False).encode(),
        encoded(type=types.INTERACTION, data=VISIT),
        json.dumps(event(data=BASKET), indent=2, sort_keys=True).encode(),
    ],
)
def test_the_order_of_names_and_white_space_do_not_matter(value: bytes) -> None:
    """The order of the names and the white space do not matter."""
    assert decode(value) is not None


@pytest.mark.parametrize(
    "value",
    [
        encoded(type=types.REFUND),
        encoded(type=types.TICK, data={}),
        encoded(subject=None),
        encoded(traceparent="x"),
        encoded(datacontenttype="text/json"),
        encoded(subject="客户-7"),
        encoded().replace(b'"id"', b'"id": "0", "id"'),
        purchase(note="not ours"),
        purchase(items=[]),
        purchase(order_id=None),
        purchase(items=[ITEM | {"sku": None}]),
        purchase(items=[ITEM | {"quantity": QUANTITY_MAX + 1}]),
        purchase(items=[ITEM | {"quantity": 1e16}]),
        purchase(items=["@"]).replace(b'"@"', b'{"quantity": 1, "quantity": 2}'),
        b"\xff" + encoded(),
        encoded() + b"{}",
    ],
)
def test_unusual_events_are_left_to_the_general_reader(value: bytes) -> None:
    """It leaves other types, unknown names, nulls, escapes, repeated names and large numbers.

    It leaves invalid JSON, too.
    """
    assert decode(value) is None


@pytest.mark.parametrize(
    ("shape", "contract"),
    [
        (ordinary.OrdinaryItem, types.Item),
        (ordinary.OrdinaryPurchase, types.Purchase),
        (ordinary.OrdinaryInteraction, types.Interaction),
    ],
)
def test_the_shapes_are_those_of_the_contract(
    shape: type[msgspec.Struct], contract: type[msgspec.Struct]
) -> None:
    """A field, a limit or a pattern that changes there has to change here."""

    def fields(of: type[msgspec.Struct]) -> dict[str, Any]:
        found: dict[str, Any] = {}
        for field in msgspec.structs.fields(of):
            schema = msgspec.json.schema(field.type)
            one, *_ = schema.get("anyOf", [schema])
            kept = {k: v for k, v in one.items() if k not in {"$defs", "items", "type", "maximum"}}
            found[field.name] = (kept, field.required)
        return found

    assert fields(shape) == fields(contract)


@pytest.mark.parametrize(
    ("data", "stored"),
    [
        (event()["data"], "db48f00625f55286f412f4301ef98a9e"),
        (BASKET, "78509b1f7d8c6d854fd33fd67a4133d5"),
        (BASKET | {"note": None}, "c4ff7165a6e3e7f1d60a18def5a8a0c5"),
    ],
)
def test_hashes_stay_comparable_with_those_stored(data: dict[str, Any], stored: str) -> None:
    """Another hash of the same content would make an honest duplicate look like a conflict."""
    got = accept(encoded(data=data), (), ARRIVED_MS, RateTable("USD"))
    assert got.contenthash == stored
