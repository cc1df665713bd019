"""The cores of HTTP: bodies, Segment's calls, sources, and how much a sender may send."""

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as some

from services.ingest.core import segment
from services.ingest.core.accept import accepted
from services.ingest.core.bodies import EVENTS_MAX, binary_mode, split
from services.ingest.core.http_sources import read_sources
from services.ingest.core.mapping.apply import Context, map_value
from services.ingest.core.rates import RateTable
from services.ingest.core.sender_rates import SENDERS_MAX, SenderRates, TooMany
from services.ingest.inbound.mapping_files import read_mapping
from shared.kernel.errors import Invalid
from tests.unit.ingest.events import ARRIVED_MS, encoded, event

ARRIVED = "2026-03-01T09:00:00Z"
RATES = RateTable("USD")
SEGMENT = read_mapping("segment")[1]


class TestBodies:
    """One, an array, lines, or binary mode."""

    def test_lines(self) -> None:
        """Blank lines count for nothing; the last one may end or not."""
        line = encoded()
        assert split(b"\n".join([line, b"", b"  ", line]), "lines") == [line, line]
        assert split(line + b"\r\n", "lines") == [line]
        assert split(b"", "lines") == []

    @pytest.mark.parametrize("form", ["json", "lines"])
    def test_so_many_events_and_no_more(self, form: Any) -> None:
        """The bound is the same in every form."""
        many = [b"{}"] * (EVENTS_MAX + 1)
        joined = b"\n".join([*many, b""]) if form == "lines" else b"[%b]" % b",".join(many)
        with pytest.raises(Invalid, match="1,000"):
            split(joined, form)

    def test_binary_mode_becomes_kafkas(self) -> None:
        """The attributes are in headers, percent-encoded where HTTP cannot carry them."""
        headers = [("host", "x"), ("ce-subject", "%E5%AE%A2%E6%88%B7 7"), ("ce-specversion", "1.0")]
        headers += [(f"ce-{name}", value) for name, value in event().items() if name in HEADERS]
        found = binary_mode(headers, "application/json; charset=utf-8")
        assert found[0] == ("content-type", b"application/json; charset=utf-8")
        made, _ = accepted(json.dumps(event()["data"]).encode(), found, ARRIVED_MS, RATES)
        assert (made.subject, made.id, made.data.amount) == ("客户 7", "basket-1", 12.5)

    def test_utf_8_that_is_not_escaped_is_read_too(self) -> None:
        """Many clients write it so; a lone percent sign is itself."""
        raw = "客户".encode().decode("latin-1")
        assert binary_mode([("ce-subject", raw)], None)[1] == ("ce_subject", "客户".encode())
        assert binary_mode([("ce-id", "100%")], None)[1] == ("ce_id", b"100%")

    def test_what_is_not_utf_8_names_the_attribute(self) -> None:
        for text in ("%ff", "\xff"):
            with pytest.raises(Invalid, match=r"id: .*ce-id"):
                binary_mode([("ce-id", text)], None)


HEADERS = ("id", "source", "type", "time")


class TestSegmentsCalls:
    """What Segment's own server adds to a call."""

    def test_a_batch(self) -> None:
        """Each call gets what the batch says once; what it says itself stays."""
        body = {
            "sentAt": "2026-03-01T08:59:00Z", "writeKey": "k", "context": {"app": 1, "ip": "x"},
            "batch": [{"type": "track", "event": "A", "messageId": "m", "context": {"ip": "y"}},
                      {"type": "page", "sentAt": "other", "receivedAt": "r"}],
        }  # fmt: skip
        first, second = map(
            json.loads, segment.calls("batch", json.dumps(body).encode(), ARRIVED_MS)
        )
        assert first == {
            "type": "track", "event": "A", "messageId": "m", "sentAt": "2026-03-01T08:59:00Z",
            "receivedAt": ARRIVED, "context": {"app": 1, "ip": "y"},
        }  # fmt: skip
        assert (second["sentAt"], second["receivedAt"]) == ("other", "r")
        assert second["messageId"].startswith("api-")

    @pytest.mark.parametrize("call", segment.CALLS)
    def test_the_path_says_the_kind(self, call: str) -> None:
        (found,) = segment.calls(call, b'{"type": "other", "userId": "u"}', ARRIVED_MS)
        assert json.loads(found)["type"] == call

    def test_ids_of_calls_without_one(self) -> None:
        """Two equal calls of a batch are two; another request makes other ids."""
        body = b'{"batch": [{"event": "A"}, {"event": "A"}]}'
        made = [json.loads(x)["messageId"] for x in segment.calls("batch", body, ARRIVED_MS)]
        later = [json.loads(x)["messageId"] for x in segment.calls("batch", body, ARRIVED_MS + 1)]
        assert len({*made, *later}) == 4

    @pytest.mark.parametrize(
        "body",
        [b"", b"{", b"[]", b"{}", b'{"batch": {}}', b'{"batch": 1}', b"[" * 50_000, b'"\xff"',
         b'{"batch": [], "context": 1}', b'{"batch": [1,]}', b'{"batch":' + b"[" * 50_000],
    )  # fmt: skip
    def test_what_is_no_batch(self, body: bytes) -> None:
        with pytest.raises(Invalid, match="body"):
            segment.calls("batch", body, ARRIVED_MS)

    @given(some.binary(max_size=100))
    def test_no_body_is_an_error_of_ours(self, body: bytes) -> None:
        """Law: any body becomes calls or is Invalid, and any call is mapped or refused."""
        for path in ("track", "batch"):
            try:
                found = segment.calls(path, body, ARRIVED_MS)
            except Invalid:
                continue
            for call in found:
                map_value(SEGMENT, call, Context(ARRIVED_MS, RATES))

    @pytest.mark.parametrize(
        ("call", "reason"),
        [(b"1", "JSON object"), (b'{"a": 1, "a": 2}', "twice"), (b'{"event": "\\u0000"}', "NUL")],
    )
    def test_a_call_that_cannot_be_read_is_refused_by_the_mapping(
        self, call: bytes, reason: str
    ) -> None:
        """So one reason comes from one place."""
        (found,) = segment.calls("batch", b'{"batch": [%b]}' % call, ARRIVED_MS)
        refusals = map_value(SEGMENT, found, Context(ARRIVED_MS, RATES)).refusals
        assert refusals
        assert found == call, reason


class TestSources:
    """The setting with the vendors' secrets."""

    def test_sources(self) -> None:
        text = '{"shop-eu": {"signature": "shopify", "secrets": ["0123456789abcdef"]}}'
        (source,) = read_sources(text).values()
        assert (source.signature, source.mapping) == ("shopify", None)
        assert "0123456789abcdef" not in repr(source)
        assert read_sources(" ") == {}

    @pytest.mark.parametrize(
        ("text", "place"),
        [
            ("{", "not JSON"), ("[]", "object"), ('{"a": 1}', "object"),
            ('{"a": {"signature": "shopify"}}', "secrets"),
            ('{"a": {"signature": "x", "secrets": ["0123456789abcdef"]}}', "signature"),
            ('{"a": {"signature": "stripe", "secrets": ["short"]}}', "16"),
            ('{"a": {"signature": "stripe", "secrets": ["%s", "%s", "%s"]}}' % (("x" * 16,) * 3),
             "length <= 2"),
            ('{"A b": {"signature": "stripe", "secrets": ["0123456789abcdef"]}}', "'A b'"),
            ('{"a": {"signature": "stripe", "secrets": ["0123456789abcdef"], "m": 1}}', "m"),
        ],
    )  # fmt: skip
    def test_mistakes(self, text: str, place: str) -> None:
        """The message names the place and never holds a secret."""
        with pytest.raises(Invalid, match=place) as found:
            read_sources(text)
        assert "0123456789abcdef" not in str(found.value)

    def test_so_many_and_no_more(self) -> None:
        one = {"signature": "stripe", "secrets": ["0123456789abcdef"]}
        with pytest.raises(Invalid, match="at most 50"):
            read_sources(json.dumps({f"s{n}": one for n in range(51)}))


class TestSenderRates:
    """How many events each may send in a minute."""

    def test_each_sender_has_an_allowance_of_its_own(self) -> None:
        rates = SenderRates(60)
        rates.admit("a", 60, 0.0)
        with pytest.raises(TooMany) as full:
            rates.admit("a", 30, 0.0)
        assert full.value.wait_s == 30
        rates.admit("b", 60, 0.0)
        rates.admit("a", 30, 30.0)

    def test_the_number_of_senders_is_bounded(self) -> None:
        """The one that has sent nothing for longest is forgotten."""
        rates = SenderRates(10)
        for n in range(SENDERS_MAX + 1):
            rates.admit(f"{n}", 10, 0.0)
        rates.admit("0", 10, 0.0)
        with pytest.raises(TooMany):
            rates.admit(f"{SENDERS_MAX}", 10, 0.0)
