"""Interactions by kind: classes of words, memories that fade, old states, training as serving."""

from datetime import UTC, datetime
from itertools import pairwise

import numpy as np
import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

from services.scoring.core.features.compute import feature_index, features
from services.scoring.core.features.decode import columns_of, kind_of
from services.scoring.core.features.events import DAY_S, EventColumns, Kind
from services.scoring.core.features.fold import fold
from services.scoring.core.features.interaction_kinds import CLASSES, class_of
from services.scoring.core.features.registry import FEATURES, KINDS
from services.scoring.core.features.state import (
    INTERACTION_CLASSES,
    MASK_BYTES,
    cell,
    empty,
    from_bytes,
    to_bytes,
)
from services.scoring.training.data.event_table import batch_of_frame, from_columns
from shared.contracts import events as types
from shared.contracts.activity import Activity, ActivityData
from shared.kernel.arrays import Floats
from tests.unit.scoring.core.feature_rows import seen_at
from tests.unit.scoring.core.histories import columns, generated, purchases, together


def _acts(*events: tuple[float, str]) -> EventColumns:
    """Return one customer's interactions: day since 1970, kind."""
    return columns(
        time=np.array([day * DAY_S for day, _ in events]),
        kind=np.full(len(events), Kind.INTERACTION),
        channel=[class_of(word) for _, word in events],
    )


def _value(name: str, day: float, events: EventColumns) -> float:
    return float(seen_at(day, together(purchases(0), events))[0, feature_index[name]])


def test_usual_words_have_a_class_of_their_own_however_they_are_written() -> None:
    for name, words in {
        "views": ("page_viewed", "Product Viewed", "view-item", "ｐａｇｅ＿ｖｉｅｗ", "浏览"),
        "carts": ("add_to_cart", "Product Added", "加购"),
        "favourites": ("Product Added to Wishlist", "favorite", "收藏"),
        "logins": ("login", "Signed In", "session_start", "登录"),
        "contacts": ("contact", "support.ticket", "Ticket Opened", "咨询"),
    }.items():
        assert {CLASSES[class_of(word) - 1] for word in words} == {name}


@given(st.text(min_size=1, max_size=80))
def test_every_other_word_falls_into_one_of_the_bounded_classes(word: str) -> None:
    assert 1 <= class_of(word) <= INTERACTION_CLASSES == len(CLASSES)
    assert class_of(word) == class_of(f" {word}\t")


def test_words_of_a_company_spread_over_the_other_classes() -> None:
    found = [class_of(f"own_kind_{number}") for number in range(300)]
    counts = np.bincount(found, minlength=INTERACTION_CLASSES + 1)
    assert counts[:6].sum() == 0
    assert counts[6:].min() > 60


def test_each_class_fades_by_itself() -> None:
    events = _acts((100, "login"), (130, "login"), (130, "page_viewed"))
    assert _value("logins_decayed_30", 130, events) == pytest.approx(1.5)
    assert _value("views_decayed_30", 160, events) == pytest.approx(0.5)
    assert _value("carts_decayed_30", 160, events) == 0
    assert np.isnan(_value("carts_trend_30_90", 160, events))
    long = 1 + 2 ** (-30 / 90)
    assert _value("logins_trend_30_90", 130, events) == pytest.approx(1.5 / 30 / (long / 90))


def test_a_renamed_kind_begins_in_its_new_class_and_fades_from_the_old_one() -> None:
    before = [(float(day), "newsletter_opened") for day in range(60)]
    after = [(float(day), "mail_read") for day in range(60, 120)]
    old, new = CLASSES[class_of("newsletter_opened") - 1], CLASSES[class_of("mail_read") - 1]
    assert old != new
    events = _acts(*before, *after)
    values = [_value(f"{old}_decayed_30", day, events) for day in (120, 150, 400)]
    assert values[0] == pytest.approx(_value(f"{old}_decayed_30", 120, _acts(*before)))
    assert all(late < early for early, late in pairwise(values))
    assert _value(f"{new}_decayed_30", 119, events) > 20
    assert _value("interactions", 120, events) == 120


def test_a_state_that_was_stored_before_kinds_is_read_as_it_was() -> None:
    """Same bytes, same other features, and no interactions by kind yet."""
    events = generated()
    n = int(events.row.max()) + 1
    states = fold(empty(n), events)
    older = states.copy()
    for field in ("kinds_decayed", "kinds_counted", "kinds_since"):
        older[field] = empty(1)[field]
    first = cell("kinds_decayed")
    stored = to_bytes(older)
    for row in stored:
        mask = np.unpackbits(np.frombuffer(row[:MASK_BYTES], np.uint8), bitorder="little")
        assert not mask[first:].any()
        assert len(row) == MASK_BYTES + 8 * int(mask[:first].sum())
    now = np.full(n, float(events.time.max()))
    x, whole = features(from_bytes(stored), now), features(states, now)
    old = len(FEATURES) - len(KINDS)
    np.testing.assert_array_equal(x[:, :old], whole[:, :old])
    assert np.isnan(x[:, old:]).all()
    assert np.nansum(whole[:, old:]) > 0


def test_where_older_interactions_have_no_kind_the_newer_count_once_they_have_faded() -> None:
    """A login of before the upgrade, one after it: never "no carts" where nothing is known."""
    older = columns(time=[90 * DAY_S], kind=[Kind.INTERACTION])
    events = together(older, _acts((100, "login"), (250, "login")))
    assert np.isnan(_value("logins_decayed_30", 279.9, events))
    assert _value("logins_decayed_30", 280, events) == pytest.approx(0.5 + 2**-6)
    assert _value("carts_decayed_30", 280, events) == 0
    assert np.isnan(_value("carts_decayed_30", 280, older))


WORDS = ("product_viewed", "add_to_cart", "login", "support_ticket", "unsubscribed", "quiz",
         "coupon_redeemed", "campaign_received")  # fmt: skip


def _stream(n: int) -> list[Activity]:
    return [
        Activity(
            specversion="1.0", id=f"e{at}", source="shop", subject="c", type=types.INTERACTION,
            time=datetime.fromtimestamp(1.6e9 + at * 40_000, UTC),
            data=ActivityData(kind=WORDS[at % len(WORDS)], channel="online"),
        )
        for at in range(n)
    ]  # fmt: skip


def test_training_reads_the_same_numbers_as_serving() -> None:
    """A file of events, stored events and the stream give one X, bit for bit."""
    stream = _stream(100)
    kinds = [kind_of(event) for event in stream]
    served = columns_of(stream, kinds, [0] * len(stream))
    frame = pl.DataFrame(
        {
            "event_id": [event.id for event in stream],
            "customer_id": "c",
            "event_type": [event.data.kind for event in stream],
            "ts": [event.time.replace(tzinfo=None) for event in stream],
        }
    )
    learned = from_columns([batch_of_frame(frame)]).events
    now = np.array([1.6e9 + 5e6])
    x: list[Floats] = [features(fold(empty(1), events), now) for events in (served, learned)]
    np.testing.assert_array_equal(x[0], x[1])
    assert (x[0][0, [feature_index[f"{name}_decayed_30"] for name in CLASSES[:2]]] > 1).all()
    halves = fold(fold(empty(1), served.select(np.arange(50, 100))), served.select(np.arange(50)))
    np.testing.assert_allclose(features(halves, now), x[0], rtol=1e-9)
