"""Settings, labels and foreign dead letters."""

import pytest
from pydantic import ValidationError

from services.ingest import metrics
from services.ingest.core.dead_letters import OFFSET_MAX, read
from services.ingest.settings import IngestSettings
from shared.contracts.dead_letter import DeadLetter, Headers, Origin
from tests.unit.ingest.events import BAD

PLACE = ("ebbwatch.dead-letter", 1, 5)


def test_topics_separated_by_commas(monkeypatch: pytest.MonkeyPatch) -> None:
    """An environment variable can hold them; an empty list is an error."""
    monkeypatch.setenv("EBBWATCH_INGEST_RAW_TOPICS", "shop.raw,crm.raw")
    assert IngestSettings().raw_topics == ("shop.raw", "crm.raw")
    monkeypatch.setenv("EBBWATCH_INGEST_RAW_TOPICS", "")
    with pytest.raises(ValidationError):
        IngestSettings()


def test_labels_are_of_a_bounded_set() -> None:
    """Known fields are labels; names that a sender makes up are not."""
    assert metrics.field_label("data.amount") == "data.amount"
    assert metrics.field_label("data.items[17].sku") == "data.items"
    assert metrics.field_label("data.consent[...]") == "data.consent"
    assert metrics.field_label("value") == "value"
    assert metrics.field_label("data.\\u0000") == "other"
    others = [bad.field for bad in BAD if metrics.field_label(bad.field) == "other"]
    assert others == ["data.ammount", "data.Amount", "data.a\\u0000b"], "the sender's own keys"
    assert (metrics.stage_label("scoring"), metrics.stage_label("x")) == ("scoring", "other")


def _facts(**changes: bytes) -> Headers:
    facts = {"stage": b"scoring", "field": b"id", "reason": b"why", "origin": b"activity/0/7"}
    return tuple((f"ebbwatch-{name}", value) for name, value in (facts | changes).items())


def test_our_dead_letter_is_read_from_its_headers() -> None:
    """Facts come from headers; the original headers lose their prefix."""
    kept: Headers = (("ebbwatch-original-h", b"v"),)
    got = read(b"k", b"v", _facts() + kept, PLACE).letter
    assert got == DeadLetter(
        b"k", b"v", (("h", b"v"),), Origin("activity", 0, 7), "scoring", "id", "why"
    )


@pytest.mark.parametrize(
    "headers",
    [
        (),
        _facts(origin=b"nowhere"),
        _facts(origin=b"a/b/c"),
        _facts(origin=b"activity/-1/7"),
        _facts(origin=b"activity/0/%d" % (OFFSET_MAX + 1)),
        _facts(reason=b"\xff"),
        _facts(arrived=b"soon"),
        _facts(arrived=b"-1"),
        _facts(arrived=b"9" * 19),
    ],
)
def test_a_foreign_record_is_marked_and_kept_whole(headers: Headers) -> None:
    """It is marked as foreign, under its own position, whole."""
    got = read(None, b"v", headers, PLACE).letter
    assert (got.stage, got.field, got.origin) == ("unknown", "headers", Origin(*PLACE))
    assert (got.value, got.original_headers) == (b"v", headers)


def test_stored_texts_are_storable() -> None:
    """The texts have no NUL and a bounded length."""
    got = read(None, None, _facts(reason=b"a\0b", field=b"x" * 10_000), PLACE).letter
    assert (got.reason, len(got.field)) == ("a\ufffdb", 2_000)
