"""Fields that a type does not know: refused or reported, and never ignored silently."""

import json
from typing import Any

import pytest

from services.ingest.core.accept import accepted
from services.ingest.core.rates import RateTable
from services.ingest.core.unknown import REPORTED_MAX, UnknownFields
from shared.contracts import events as types
from shared.kernel.errors import Invalid
from tests.unit.ingest.events import ARRIVED_MS, encoded, event, purchase

RATES = RateTable("USD")


def told(value: bytes, mode: UnknownFields) -> list[str]:
    """Return the notes on an event that passes."""
    return [str(note) for note in accepted(value, (), ARRIVED_MS, RATES, mode).notes]


ADDED = purchase(amount="1", items=[{"sku": "a", "price": "2"}], loyalty_card="x")
TYPO = purchase(ammount="1")
BESIDE = purchase(amount="1", amounts="2")
"""A name close to a known one that is present too: the sender's own field."""


@pytest.mark.parametrize(
    ("mode", "value", "refused"),
    [
        ("note", ADDED, None),
        ("note", TYPO, None),
        ("typos", ADDED, None),
        ("typos", BESIDE, None),
        ("typos", TYPO, "data.ammount"),
        ("refuse", ADDED, "data.items[0].price"),
        ("refuse", TYPO, "data.ammount"),
        ("refuse", BESIDE, "data.amounts"),
    ],
)
def test_unknown_fields_are_refused_or_noted_by_setting(
    mode: UnknownFields, value: bytes, refused: str | None
) -> None:
    """The event is refused with the field, or accepted with a note of each."""
    if refused is None:
        assert told(value, mode)
        return
    with pytest.raises(Invalid) as wrong:
        told(value, mode)
    assert wrong.value.field == refused


def test_a_note_has_the_path_and_the_likely_name() -> None:
    """Each note has the path, and the name that may be meant."""
    assert told(ADDED, "note") == ["data.items[0].price: unknown", "data.loyalty_card: unknown"]
    assert told(TYPO, "note") == ["data.ammount: unknown; is `amount` meant?"]


@pytest.mark.parametrize("kind", types.DATA_BY_TYPE)
def test_known_fields_are_never_noted(kind: str) -> None:
    """Known fields of every type, nested ones too, are not reported."""
    samples: dict[str, dict[str, Any]] = {
        types.INTERACTION: {"kind": "page_viewed"},
        types.FEEDBACK: {"kind": "survey", "score": 9},
        types.CONTRACT: {"kind": "ended"},
        types.LOYALTY: {"kind": "points_expiring", "points": 5, "expires_on": "2026-12-31"},
        types.PROFILE: {"owner": {"id": "o", "name": "n"}, "contacts": [{"email": "e"}]},
        types.PURCHASE: {"amount": "1", "items": [{"sku": "a", "category": "b", "quantity": 1}]},
        types.REFUND: {"amount": "1"},
        types.IDENTITY: {"ids": ["a"], "primary": "a", "device": True},
    }
    assert told(encoded(type=kind, data=samples[kind]), "refuse") == []


def test_a_free_map_takes_any_key() -> None:
    """`attributes` and `consent` are the source's own."""
    data = {"attributes": {"nmae": "x"}, "consent": {"emial": True}}
    assert told(encoded(type=types.PROFILE, data=data), "refuse") == []


def test_the_number_of_notes_is_bounded() -> None:
    """A whole order in `data` gives one note, not a thousand."""
    assert len(told(purchase(**{f"x{n:03}": n for n in range(500)}), "note")) == REPORTED_MAX


def test_extensions_of_the_envelope_are_nobodys_business() -> None:
    """CloudEvents allows extensions on purpose."""
    assert told(json.dumps(event(traceid="x", partitionkey="y")).encode(), "refuse") == []


def test_a_time_that_was_pulled_back_is_noted() -> None:
    """So a clock that goes wrong is found."""
    (note,) = told(encoded(time="2026-03-01T09:10:00Z"), "typos")
    assert note.startswith("time: ")
    assert told(encoded(time="2026-03-01T09:04:00Z"), "typos") == []
