"""Each record of the corpus becomes what is written beside it."""

import json
import re
from functools import cache
from pathlib import Path
from typing import Any

import pytest

from services.ingest.core.mapping.apply import EVENTS_MAX, Context, Mapped, map_value
from services.ingest.core.mapping.document import CompiledMapping, compile_mapping
from services.ingest.core.rates import RateTable
from shared.contracts.activity import ENCODER
from tests.unit.ingest.events import ARRIVED_MS
from tests.unit.ingest.mapping.corpus import Case, corpora

CASES = [case for corpus in corpora() for case in corpus.cases]
RATES = RateTable.parse(
    "USD",
    "currency,from,rate\n"
    + "".join(
        f"{code},1990-01-01,{rate}\n"
        for code, rate in (("EUR", 1.25), ("GBP", 1.5), ("JPY", 0.01), ("CNY", 0.125), ("KWD", 4))
    ),
)
UNCHECKED = ("specversion", "contenthash", "receivedms")
"""What belongs to the record's way and not to its content."""

CASES_MIN = 400
DIGEST = "(digest)"
"""Takes the place of an id that is made of a record's values."""


@cache
def _mapping(name: str) -> CompiledMapping:
    path = Path(f"services/ingest/mappings/{name}.yaml")
    return compile_mapping(path.read_text("utf-8"), path.name)


def _flat(event: dict[str, Any]) -> dict[str, Any]:
    """Return an event as the corpus writes it: without its envelope, its data beside the rest."""
    data: dict[str, Any] = event.pop("data", {})
    kept = {name: value for name, value in event.items() if name not in UNCHECKED}
    kept["type"] = kept["type"].removeprefix("io.ebbwatch.")
    return kept | data


@pytest.mark.parametrize("case", CASES, ids=str)
def test_record(case: Case) -> None:
    """A record becomes these events, is ignored by this rule, or is refused for this field."""
    value = json.dumps(case.record).encode()
    mapped = map_value(_mapping(case.mapping), value, Context(ARRIVED_MS, RATES))
    if isinstance(case.expected, dict) and "refused" in case.expected:
        assert [refusal.field for refusal in mapped.refusals] == [case.expected["refused"]]
        return
    assert mapped.refusals == ()
    if isinstance(case.expected, dict):
        assert mapped.ignored == case.expected["ignored"]
        assert mapped.events == ()
        return
    found = [_flat(json.loads(ENCODER.encode(e))) for e, _ in mapped.events]
    assert found == [_with_tolerance(event) for event in case.expected]


def _with_tolerance(expected: dict[str, Any]) -> dict[str, Any]:
    """Return an expected event with what is compared by its form or nearly.

    In the reporting currency an amount is a float; what was sent stays exact. An id that is
    made of a record's values cannot be written down by hand.
    """
    known = dict(expected)
    if "amount" in known:
        known["amount"] = pytest.approx(known["amount"], rel=1e-12)
    if known["id"] == DIGEST:
        known["id"] = _Digest()
    return known


class _Digest:
    """Equals each text that `digest` may return."""

    def __eq__(self, other: object) -> bool:
        return isinstance(other, str) and re.fullmatch(r"[a-z2-7]{24}", other) is not None

    __hash__ = None  # type: ignore[assignment]


def test_the_corpus_is_large_and_has_invalid_records() -> None:
    """Each shipped mapping has samples, and each corpus has refused ones."""
    shipped = {path.stem for path in Path("services/ingest/mappings").glob("*.yaml")}
    assert {case.mapping for case in CASES} == shipped
    refused = {c.mapping for c in CASES if isinstance(c.expected, dict) and "refused" in c.expected}
    assert refused == shipped
    assert len({str(case) for case in CASES}) == len(CASES) >= CASES_MIN


def _hashes(name: str, record: Any) -> dict[str, str]:
    mapped = map_value(_mapping(name), json.dumps(record).encode(), Context(ARRIVED_MS, RATES))
    return {event.id: event.contenthash for event, _ in mapped.events}


def test_a_later_version_of_an_order_is_the_same_event() -> None:
    """Scoring takes an event with a known id and content hash for a repetition.

    Everything that may change in a version is changed here; a refund is added and stays one.
    """
    (shop,) = [corpus.records for corpus in corpora() if corpus.mapping == "shopify"]
    first, later = shop["refunded order"] | {"refunds": []}, shop["refunded order"]
    changed = later | {"total_price": "140.00", "source_name": "web", "processed_at": None}
    known = _hashes("shopify", first)
    assert list(known) == ["order-5551002"]
    assert _hashes("shopify", changed)["order-5551002"] == known["order-5551002"]
    refund = "refund-929361462"
    assert _hashes("shopify", changed)[refund] == _hashes("shopify", later)[refund]
    assert refund not in known


def test_another_customer_or_content_is_another_event() -> None:
    """Without `once` the content counts; the customer always does."""
    (shop,) = [corpus.records for corpus in corpora() if corpus.mapping == "shopify"]
    order = shop["order"]
    other = _hashes("shopify", order | {"customer": {"id": 1}})
    assert other != _hashes("shopify", order)
    (calls,) = [corpus.records for corpus in corpora() if corpus.mapping == "segment"]
    view = calls["view"]
    renamed = _hashes("segment", view | {"event": "Product Clicked"})
    assert renamed.keys() == _hashes("segment", view).keys()
    assert renamed != _hashes("segment", view)


def test_resources_of_shopify_are_unwrapped() -> None:
    """What the REST API gives, and files made of it, is read like the records by themselves."""
    (corpus,) = [each for each in corpora() if each.mapping == "shopify"]
    context = Context(ARRIVED_MS, RATES)

    def mapped(record: Any) -> Mapped:
        return map_value(_mapping("shopify"), json.dumps(record).encode(), context)

    order, refunded = corpus.records["order"], corpus.records["refunded order"]
    alone = mapped(order).events + mapped(refunded).events
    assert mapped({"orders": [order, refunded]}) == Mapped(alone)
    assert mapped({"order": order}) == mapped(order)
    assert mapped({"customers": []}) == Mapped(ignored="no event")
    assert mapped({"orders": [order | {"test": True}]}) == Mapped(ignored="test order")
    other = mapped({"orders": [order, {"nothing": 1}]})
    assert other.events == mapped(order).events
    (refusal,) = other.refusals
    assert (refusal.field, refusal.reason[:30]) == ("match", "record 1: no rule of the mappi")
    short = {name: order[name] for name in ("id", "customer", "currency", "processed_at")}
    many = mapped({"orders": [short | {"line_items": [{}]}] * (EVENTS_MAX + 500)})
    assert len(many.events) == EVENTS_MAX
    assert [refusal.field for refusal in many.refusals] == ["value"]
    (wrong,) = mapped({"shop": [order]}).refusals
    assert wrong.field == "match"
