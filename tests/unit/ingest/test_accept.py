"""The result of accepting events."""

import json
from datetime import UTC, date, datetime, timedelta

import pytest

from services.ingest.core.rates import RateTable
from services.ingest.core.times import AHEAD_LIMIT, AHEAD_MAX, TIME_MIN
from shared.contracts import events as types
from shared.contracts.activity import ENCODER, Activity, ActivityData
from shared.kernel.errors import Invalid
from tests.unit.ingest.events import ARRIVED_MS, accept, binary_headers, encoded, event, purchase

ARRIVED = datetime.fromtimestamp(ARRIVED_MS / 1000, UTC)
RATES = RateTable.parse("USD", "currency,from,rate\nEUR,2026-01-01,1.2\nEUR,2020-01-01,1.1\n")


def _accept(value: bytes) -> Activity:
    return accept(value, (), ARRIVED_MS, RATES)


def test_every_field_of_a_purchase_has_its_place() -> None:
    """Every field has its place in the canonical event."""
    items = [{"category": "PRODUCE"}, {"category": "MEAT"}, {"category": "MEAT"}, {"sku": "1"}]
    got = _accept(purchase(amount="12.50", cost="8", channel="online", order_id="o-1", items=items))
    assert (got.id, got.source, got.type) == ("basket-1", "shop/till", types.PURCHASE)
    assert got.time == datetime(2026, 3, 1, 8, 30, tzinfo=UTC)
    assert (got.subject, got.receivedms, got.backfill) == ("household-7", ARRIVED_MS, None)
    data = got.data
    assert (data.amount, data.cost, data.original_amount, data.currency) == (
        12.5,
        8.0,
        "12.50",
        "USD",
    )
    assert (data.channel, data.order_id, data.category, data.items) == ("online", "o-1", "MEAT", 4)


def _loyalty(**data: object) -> Activity:
    return _accept(encoded(type=types.LOYALTY, data=data))


def test_every_field_of_a_loyalty_event_has_its_place() -> None:
    """All but the referred customer, of which nothing is kept."""
    report = _loyalty(kind="points_expiring", points=1200, balance=3000.5, expires_on="2026-12-31")
    assert (report.data.points, report.data.balance) == (1200.0, 3000.5)
    assert report.data.expires_on == date(2026, 12, 31)
    level = _loyalty(kind="level_lowered", level="silver", level_before="gold").data
    assert (level.level, level.level_before) == ("silver", "gold")
    referral = _loyalty(kind="referral", referred="household-8")
    assert referral.data == ActivityData(kind="referral")
    assert b"household-8" not in ENCODER.encode(referral)
    assert str(_loyalty(kind="points_spent", points=-0.0, balance=-0.0).data.points) == "0.0"


@pytest.mark.parametrize(
    ("data", "field"),
    [
        ({"kind": "points_lost", "points": 1}, "data.kind"),
        ({"kind": "points_earned"}, "data.points"),
        ({"kind": "points_earned", "points": -1}, "data.points"),
        ({"kind": "points_earned", "points": 1e300}, "data.points"),
        ({"kind": "points_earned", "points": "12"}, "data.points"),
        ({"kind": "points_expiring", "points": 5}, "data.expires_on"),
        ({"kind": "points_earned", "points": 5, "expires_on": "2026-12-31"}, "data.expires_on"),
        (
            {"kind": "points_expiring", "points": 5, "expires_on": "2026-12-31T00:00:00Z"},
            "data.expires_on",
        ),
        ({"kind": "points_spent", "points": 5, "balance": -2e12}, "data.balance"),
        ({"kind": "referral", "referred": "household-7"}, "data.referred"),
        ({"kind": "level_raised", "level": "x" * 201}, "data.level"),
    ],
)
def test_a_loyalty_event_that_cannot_be_meant_is_refused(
    data: dict[str, object], field: str
) -> None:
    """The error names the field."""
    with pytest.raises(Invalid) as refused:
        _loyalty(**data)
    assert refused.value.field == field


def test_amounts_are_optional() -> None:
    """Some sources have no amounts; then a currency without a rate does not matter."""
    data = _accept(purchase(currency="XAU")).data
    assert (data.amount, data.original_amount, data.currency) == (None, None, "XAU")
    assert _accept(purchase()).data.currency is None


@pytest.mark.parametrize(
    ("time", "amount"),
    [
        ("2026-02-01T00:00:00Z", 12.0),
        ("2021-06-01T00:00:00Z", 11.0),
        ("2020-01-01T00:00:00Z", 11.0),
    ],
)
def test_the_rate_of_the_event_day(time: str, amount: float) -> None:
    """A rate holds from its day until the next one of its currency."""
    value = encoded(time=time, data={"amount": "10", "currency": "EUR"})
    assert _accept(value).data.amount == pytest.approx(amount)


def test_before_the_first_rate() -> None:
    """No rate is guessed."""
    value = encoded(time="2019-12-31T23:59:59Z", data={"amount": "10", "currency": "EUR"})
    with pytest.raises(Invalid, match=r"data.currency: .*begins on 2020-01-01"):
        _accept(value)


@pytest.mark.parametrize("sent", ["10.00", "-10.00"])
def test_a_refund_is_positive(sent: str) -> None:
    """The source may have used either sign; its own value is kept."""
    data = _accept(encoded(type=types.REFUND, data={"amount": sent, "currency": "EUR"})).data
    assert data.amount == pytest.approx(12.0)
    assert data.original_amount == sent


def test_a_zero_has_no_sign() -> None:
    """ "-0.00" is an ordinary zero."""
    assert str(_accept(purchase(amount="-0.00")).data.amount) == "0.0"


def test_times_at_their_bounds() -> None:
    """Late events are accepted, events minutes ahead are clamped, and later ones are refused.

    The clamp is arrival + 5 min. Offsets become UTC.
    """
    ahead = ARRIVED + AHEAD_MAX
    for sent, kept in (
        (TIME_MIN, TIME_MIN),
        (ARRIVED - timedelta(days=365), ARRIVED - timedelta(days=365)),
        (ahead, ahead),
        (ahead + timedelta(seconds=1), ahead),
        (ARRIVED + AHEAD_LIMIT, ahead),
    ):
        assert _accept(encoded(time=sent.isoformat())).time == kept
    for sent in (TIME_MIN - timedelta(seconds=1), ARRIVED + AHEAD_LIMIT + timedelta(seconds=1)):
        with pytest.raises(Invalid, match=r"^time: "):
            _accept(encoded(time=sent.isoformat()))
    shifted = _accept(encoded(time="2026-03-01T16:30:00+08:00")).time
    assert (shifted, shifted.utcoffset()) == (
        datetime(2026, 3, 1, 8, 30, tzinfo=UTC),
        timedelta(0),
    )


def test_binary_mode_is_the_same_event() -> None:
    """Attributes are in headers and the value is the data: the result is the same."""
    data = event()["data"]
    headers = (*binary_headers(), ("content-type", b"application/json; charset=utf-8"))
    assert accept(json.dumps(data).encode(), headers, ARRIVED_MS, RATES) == _accept(encoded())


def test_structured_mode_by_its_content_type() -> None:
    """Then `ce_*` headers belong to another program."""
    headers = (("content-type", b"application/cloudevents+json; charset=UTF-8"), ("ce_id", b"x"))
    assert accept(encoded(), headers, ARRIVED_MS, RATES).id == "basket-1"


def test_the_import_of_a_backfill() -> None:
    """Its header becomes an attribute; the content hash does not include it."""
    live = _accept(encoded())
    old = accept(encoded(), (("ebbwatch-backfill", "进口-7".encode()),), ARRIVED_MS, RATES)
    assert (old.backfill, old.contenthash) == ("进口-7", live.contenthash)


@pytest.mark.parametrize("kind", sorted(types.CONTROL_TYPES))
def test_control_events_have_no_customer(kind: str) -> None:
    """A customer or data on a control event is not passed on."""
    got = _accept(encoded(type=kind))
    assert (got.type, got.subject, got.data.amount) == (kind, "", None)


def test_profile_and_feedback_and_interaction() -> None:
    """They pass unchanged."""
    sent = {"kind": "account", "owner": {"id": "o1"}, "birthday": "1980-02-29", "language": "zh-CN"}
    profile = _accept(encoded(type=types.PROFILE, data=sent)).data.profile
    assert profile is not None and profile.owner is not None
    assert (profile.kind, profile.owner.id, str(profile.birthday)) == (
        "account",
        "o1",
        "1980-02-29",
    )
    said = {"kind": "survey", "score": 3, "text": "慢", "channel": "wecom", "case_id": "c"}
    feedback = _accept(encoded(type=types.FEEDBACK, data=said)).data
    assert (feedback.kind, feedback.score, feedback.text) == ("survey", 3.0, "慢")
    gone = {"kind": "ended", "contract_id": "k-7", "reason": "too expensive"}
    contract = _accept(encoded(type=types.CONTRACT, data=gone)).data
    assert (contract.kind, contract.contract_id, contract.text) == ("ended", "k-7", "too expensive")
    done = {"kind": "coupon_redeemed", "campaign_id": "26", "category": "MEAT"}
    interaction = _accept(encoded(type=types.INTERACTION, data=done)).data
    assert (interaction.kind, interaction.campaign_id) == ("coupon_redeemed", "26")


class TestContentHash:
    """The same id with other content must show; the same content in another spelling must not."""

    def test_spelling_does_not_matter(self) -> None:
        first = _accept(encoded()).contenthash
        respelled = json.dumps(event(time="2026-03-01T09:30:00+01:00"), indent=2, sort_keys=True)
        escaped = respelled.replace("household", r"\u0068ousehold")
        assert (
            first
            == _accept(respelled.encode()).contenthash
            == _accept(escaped.encode()).contenthash
        )
        assert len(bytes.fromhex(first)) == 16

    @pytest.mark.parametrize(
        "changes",
        [
            {"subject": "household-8"},
            {"time": "2026-03-01T08:30:01Z"},
            {"data": {"amount": "12.51", "currency": "USD"}},
            {"data": {"amount": "12.50", "currency": "USD", "note": "not ours, but said"}},
            {"type": types.REFUND},
        ],
    )
    def test_different_content_has_another_hash(self, changes: dict[str, object]) -> None:
        assert _accept(encoded(**changes)).contenthash != _accept(encoded()).contenthash

    def test_arrival_does_not(self) -> None:
        """A clamped time depends on the arrival, the hash does not.

        So a duplicate of an event from the future stays a duplicate.
        """
        value = encoded(time="2026-03-01T09:12:00Z")
        early, late = (accept(value, (), ms, RATES) for ms in (ARRIVED_MS, ARRIVED_MS + 60_000))
        assert early.time != late.time
        assert early.contenthash == late.contenthash
