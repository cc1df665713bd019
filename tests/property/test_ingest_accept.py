"""Ingest's `accept` against arbitrary input."""

import json
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any
from unittest import mock

import msgspec
from hypothesis import example, given
from hypothesis import strategies as st

from services.ingest.core import ordinary
from services.ingest.core.dead_letters import read
from services.ingest.core.rates import RateTable
from services.ingest.core.times import AHEAD_LIMIT, AHEAD_MAX, TIME_MIN
from shared.contracts import events as types
from shared.contracts.activity import DECODER, ENCODER, Activity
from shared.contracts.dead_letter import DeadLetter, Headers, Origin
from shared.kernel.errors import Invalid
from tests.unit.ingest.events import ARRIVED_MS, accept, encoded, event

RATES = RateTable.parse("USD", "currency,from,rate\nEUR,1990-01-01,1.25\n")
ARRIVED = datetime.fromtimestamp(ARRIVED_MS / 1000, UTC)

JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8),
    lambda inner: (
        st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=3)
    ),
    max_leaves=12,
)
TEXT = st.text(st.characters(exclude_characters="\0", exclude_categories=["Cs"]))
IDS = st.text(
    st.characters(exclude_characters="\0", exclude_categories=["Cs"]), min_size=1, max_size=256
)


def _short(text: str) -> bool:
    return len(text.encode()) <= types.ID_BYTES_MAX


CUSTOMERS = IDS.filter(_short).map(lambda text: f"c{text}"[:256]).filter(_short)
RARE = st.text(st.characters(min_codepoint=0x20000, max_codepoint=0x2A6DF), max_size=256)
NAMES = ("content-type", "ce_id", "ce_time", "ebbwatch-backfill", "traceparent", "x")
CONTENTS: tuple[Any, ...] = (b"application/json", b"application/cloudevents+json", None)
"""Kafka's headers may be null, in spite of our types."""
HEADERS: st.SearchStrategy[Headers] = st.lists(
    st.tuples(st.sampled_from(NAMES), st.binary(max_size=12) | st.sampled_from(CONTENTS)),
    max_size=4,
).map(tuple)
ATTRIBUTES = [*event(), "datacontenttype", "data_base64"]
FIELDS = sorted({f.name for t in types.DATA_BY_TYPE.values() for f in msgspec.structs.fields(t)})
TYPES = [*types.DATA_BY_TYPE, *types.CONTROL_TYPES]


def _carefully(value: bytes | None, headers: Headers) -> Activity:
    """Returns the result of `accept` without its fast path."""
    with mock.patch.object(ordinary, "decode", return_value=None):
        return accept(value, headers, ARRIVED_MS, RATES)


def _only_invalid(value: bytes | None, headers: Headers) -> Activity | None:
    """Returns the result, the same with and without the fast path; only Invalid may be raised."""
    try:
        got = accept(value, headers, ARRIVED_MS, RATES)
    except Invalid as first:
        try:
            _carefully(value, headers)
        except Invalid as second:
            assert (first.field, first.reason) == (second.field, second.reason)
            assert first.field
            assert first.reason
            return None
        raise AssertionError("refused once, accepted once") from first
    assert ENCODER.encode(_carefully(value, headers)) == ENCODER.encode(got)
    return got


def _stands(got: Activity) -> None:
    """Checks the guarantees of every accepted event to its readers."""
    assert DECODER.decode(ENCODER.encode(got)) == got
    assert TIME_MIN <= got.time <= ARRIVED + AHEAD_MAX
    assert (got.subject == "") == (got.type in types.CONTROL_TYPES)
    assert got.data.amount is None or 0 <= got.data.amount < float("inf")
    assert b"\\u0000" not in ENCODER.encode(got)


@given(st.none() | st.binary(max_size=200), HEADERS)
@example(b'{"a":' * 10_000, ())
@example(b"1" * 5_000, ())
def test_any_bytes_are_accepted_or_invalid(value: bytes | None, headers: Headers) -> None:
    """Raises only Invalid, with the same result twice."""
    _only_invalid(value, headers)


@given(JSON, HEADERS)
def test_any_json_is_accepted_or_invalid(document: Any, headers: Headers) -> None:
    """Any shape, NaN and lone surrogates included."""
    _only_invalid(json.dumps(document).encode(), headers)


@given(st.dictionaries(st.sampled_from(ATTRIBUTES), JSON, max_size=3))
def test_an_event_with_anything_in_its_attributes(changes: dict[str, Any]) -> None:
    """Refused, or an event with all guarantees."""
    if (got := _only_invalid(json.dumps(event() | changes).encode(), ())) is not None:
        _stands(got)


@given(
    st.sampled_from(TYPES),
    st.dictionaries(st.sampled_from(FIELDS), JSON, max_size=4),
    st.dictionaries(st.text(max_size=5), JSON, max_size=2),
)
def test_an_event_with_anything_in_its_data(
    kind: str, data: dict[str, Any], unknown: dict[str, Any]
) -> None:
    """As above, for every type."""
    if (got := _only_invalid(encoded(type=kind, data=unknown | data), ())) is not None:
        _stands(got)


@given(st.binary(min_size=1, max_size=4), st.integers(min_value=0))
def test_damaged_in_transit(piece: bytes, at: int) -> None:
    """A good event with some bytes overwritten."""
    value = encoded()
    at %= len(value)
    if (got := _only_invalid(value[:at] + piece + value[at + len(piece) :], ())) is not None:
        _stands(got)


MONEY = st.decimals(min_value=0, max_value=Decimal("999999999999999.999"), places=3).map(str)
TIMES = st.datetimes(
    TIME_MIN.replace(tzinfo=None),
    (ARRIVED + AHEAD_LIMIT).replace(tzinfo=None),
    timezones=st.sampled_from([UTC]),
)


@given(
    IDS.filter(_short),
    IDS.filter(_short),
    CUSTOMERS,
    TIMES,
    MONEY,
    st.sampled_from([None, "USD", "EUR"]),
)
def test_valid_purchases_pass_whole(
    event_id: str, source: str, customer: str, time: datetime, amount: str, currency: str | None
) -> None:
    """Ids in any script, any believable time, any amount: they are passed on unchanged."""
    data = {"amount": amount} | ({} if currency is None else {"currency": currency})
    value = encoded(id=event_id, source=source, subject=customer, time=time.isoformat(), data=data)
    got = accept(value, (), ARRIVED_MS, RATES)
    _stands(got)
    assert (got.id, got.source, got.subject) == (event_id, source, customer)
    assert got.time == min(time, ARRIVED + AHEAD_MAX)
    assert (got.data.original_amount, got.data.currency) == (amount, currency or "USD")
    rate = 1.25 if currency == "EUR" else 1.0
    assert got.data.amount == float(amount) * rate


@given(RARE, RARE, RARE, st.sampled_from(TYPES))
@example("\U00020000" * 256, "\U00020000" * 256, "\U00020000" * 256, types.PURCHASE)
def test_what_is_accepted_fits_an_index(
    event_id: str, source: str, customer: str, kind: str
) -> None:
    """For any number of bytes per character."""
    got = _only_invalid(encoded(id=event_id, source=source, subject=customer, type=kind), ())
    if got is not None:
        assert types.key_fault(got.subject, got.source, got.id) is None
        assert all(_short(text) for text in (got.subject, got.source, got.id))


QUANTITIES = st.integers(0, 10**7) | st.floats(0, 1e7) | st.sampled_from([-0.0, None, "1", True])
WORDS = st.text(st.characters(exclude_categories=["Cs", "Cc"]), min_size=1, max_size=5)
ITEMS = st.fixed_dictionaries(
    {}, optional={"sku": WORDS, "category": WORDS, "quantity": QUANTITIES}
)
PURCHASES = st.fixed_dictionaries(
    {},
    optional={
        "amount": MONEY,
        "currency": st.sampled_from(["USD", "EUR", "GBP", None]),
        "cost": MONEY,
        "channel": WORDS,
        "order_id": WORDS,
        "items": st.lists(ITEMS, max_size=4),
    },
)
PARTS = st.sampled_from(['"', '": 1, "', '"sku": "1", ', '"amount": "1", ', "{}, ", "null", "\\"])


@given(PURCHASES, st.booleans(), PARTS, st.none() | st.integers(min_value=0))
def test_the_shortcut_changes_nothing(
    data: dict[str, Any], ascii_only: bool, part: str, at: int | None
) -> None:
    """A purchase that the fast path handles, whole or with a piece of JSON inserted anywhere."""
    text = json.dumps(event(data=data), ensure_ascii=ascii_only)
    if at is not None:
        at %= len(text)
        text = text[:at] + part + text[at:]
    _only_invalid(text.encode(), ())


@given(st.dictionaries(TEXT, JSON, min_size=1, max_size=4), st.integers(min_value=0))
def test_a_duplicate_key_is_never_missed(data: dict[str, Any], at: int) -> None:
    """Other content of the object never hides it, at any depth."""
    document = {"outer": [data]}
    try:
        text = json.dumps(document, allow_nan=False, ensure_ascii=at % 2 == 0)
        text.encode()
    except (ValueError, UnicodeEncodeError):
        return  # NaN and lone surrogates are refused on their own
    key = list(data)[at % len(data)]
    start = '{"outer": [{'
    twice = text.replace(start, f"{start}{json.dumps(key)}: 1, ")
    value = encoded(data="@").replace(b'"@"', twice.encode())
    try:
        accept(value, (), ARRIVED_MS, RATES)
    except Invalid as refused:
        reported = (
            "twice" in refused.reason or "NUL" in refused.reason or "not JSON" in refused.reason
        )
        assert reported, refused
    else:
        raise AssertionError("accepted")


@given(st.dictionaries(TEXT, JSON, max_size=4))
def test_spelling_does_not_change_the_content(extra: dict[str, Any]) -> None:
    """Key order, white space and escapes are not content."""
    shown = event(data={"amount": "1", **{f"x{k}": v for k, v in extra.items()}})
    one = json.dumps(shown).encode()
    other = json.dumps(
        {k: shown[k] for k in reversed(shown)}, indent=1, sort_keys=True, ensure_ascii=False
    ).encode("utf-8", "surrogatepass")
    first, second = _only_invalid(one, ()), _only_invalid(other, ())
    assert (first is None) == (second is None)
    if first is not None and second is not None:
        assert first.contenthash == second.contenthash


@given(
    st.none() | st.binary(max_size=20),
    st.none() | st.binary(max_size=20),
    HEADERS,
    st.builds(Origin, st.just("raw"), st.integers(0, 9), st.integers(0, 2**40)),
    TEXT,
)
def test_dead_letters_keep_everything(
    key: bytes | None, value: bytes | None, headers: Headers, origin: Origin, reason: str
) -> None:
    """A refused record can be rebuilt from its dead letter."""
    letter = DeadLetter(key, value, headers, origin, "ingest", "data.amount", reason[:400])
    assert read(key, value, letter.to_headers(), ("dead", 0, 0)).letter == letter


@given(st.none() | st.binary(max_size=20), st.lists(st.tuples(st.text(), st.binary())).map(tuple))
def test_any_record_is_a_dead_letter_of_some_kind(value: bytes | None, headers: Headers) -> None:
    """The index never fails on any record."""
    got = read(None, value, headers, ("dead", 0, 7)).letter
    assert got.value == value
    assert "\0" not in got.stage + got.field + got.reason + got.origin.topic


@given(st.timedeltas(timedelta(0), timedelta(days=365)))
def test_late_events_keep_their_time(late: timedelta) -> None:
    """Lateness is not a fault."""
    time = ARRIVED - late
    assert accept(encoded(time=time.isoformat()), (), ARRIVED_MS, RATES).time == time
