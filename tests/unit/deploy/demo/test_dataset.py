"""The demo's history: what becomes an event, and that the real panel is complete."""

from collections import Counter
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import msgspec
import polars as pl
import pytest

from deploy.demo.dataset import BACKFILL_END, OWNERS, PanelHistory, load
from deploy.local.stack import ROOT
from shared.contracts.events import (
    DATA_BY_TYPE,
    INTERACTION,
    PROFILE,
    PURCHASE,
    Interaction,
    Profile,
)

SHARED_DATA = ROOT.parent / "shared" / "data" / "completejourney"
"""The evaluation sets, which lie beside a working copy where they are available."""


def at(day: int, hour: int = 0, month: int = 3) -> datetime:
    return datetime(2017, month, day, hour)  # noqa: DTZ001 (as the publisher's files have it)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Provide two households; one of them appears only in the table of transactions."""
    columns = ["household_id", "basket_id", "product_id", "quantity", "sales_value"]
    lines = pl.DataFrame(
        [
            (7, 102, 1, 1, 2.5, at(5, 9)),
            (7, 101, 1, 2, 1.1, at(4, 9)),
            (7, 101, 2, 1, 2.2, at(4, 9)),
            (9, 103, 3, 1, 0.0, at(5, 8)),
        ],
        schema=[*columns, "transaction_timestamp"],
        orient="row",
    )
    lines.write_parquet(tmp_path / "transactions.parquet")
    pl.DataFrame({"product_id": [1, 2], "department": ["GROCERY", "MEAT"]}).write_parquet(
        tmp_path / "products.parquet"
    )
    pl.DataFrame({"campaign_id": [5], "household_id": [7]}).write_parquet(
        tmp_path / "campaigns.parquet"
    )
    pl.DataFrame(
        {"campaign_id": [5], "campaign_type": ["Type A"], "start_date": [at(1)]}
    ).write_parquet(tmp_path / "campaign_descriptions.parquet")
    pl.DataFrame(
        {
            "household_id": [7, 9],
            "coupon_upc": [55, 56],
            "campaign_id": [5, 5],
            "redemption_date": [at(4), at(5)],
        }
    ).write_parquet(tmp_path / "coupon_redemptions.parquet")
    pl.DataFrame(
        {
            "household_id": [7],
            "age": ["65+"],
            "home_ownership": pl.Series([None], dtype=pl.String),
            "household_size": ["2"],
        }
    ).write_parquet(tmp_path / "demographics.parquet")
    return tmp_path


def decoded(history: PanelHistory) -> list[dict[str, Any]]:
    return [msgspec.json.decode(event.body) for event in history.stream()]


def test_a_basket_is_one_purchase_with_its_lines_and_its_sum(folder: Path) -> None:
    events = {event["id"]: event for event in decoded(load(folder=folder))}
    assert events["basket-101"] == {
        "specversion": "1.0",
        "id": "basket-101",
        "source": "/completejourney",
        "type": PURCHASE,
        "subject": "household-7",
        "time": "2017-03-04T09:00:00Z",
        "data": {
            "amount": "3.30",
            "currency": "USD",
            "channel": "offline",
            "order_id": "101",
            "items": [
                {"sku": "1", "category": "GROCERY", "quantity": 2.0},
                {"sku": "2", "category": "MEAT", "quantity": 1.0},
            ],
        },
    }
    assert events["basket-103"]["data"]["amount"] == "0.00"
    assert events["basket-103"]["data"]["items"] == [{"sku": "3", "quantity": 1.0}]


def test_mailings_and_coupons_are_interactions(folder: Path) -> None:
    found = [event for event in decoded(load(folder=folder)) if event["type"] == INTERACTION]
    assert [(e["id"], e["time"], e["data"]["kind"]) for e in found] == [
        ("campaign-5-7", "2017-03-01T00:00:00Z", "campaign_received"),
        ("coupon-5-55-7-2017-03-04", "2017-03-04T00:00:00Z", "coupon_redeemed"),
        ("coupon-5-56-9-2017-03-05", "2017-03-05T00:00:00Z", "coupon_redeemed"),
    ]


def test_every_household_has_a_profile_at_the_very_start(folder: Path) -> None:
    events = decoded(load(folder=folder))
    first = events[:2]
    assert [event["type"] for event in first] == [PROFILE, PROFILE]
    assert {event["time"] for event in first} == {"2017-03-01T00:00:00Z"}
    known, unknown = first
    assert known["data"]["size"] == "2"
    assert known["data"]["attributes"] == {"age": "65+"}
    assert "attributes" not in unknown["data"]
    assert all(event["data"]["owner"]["id"].startswith("owner-") for event in first)


def test_events_come_in_time_order_and_are_counted(folder: Path) -> None:
    history = load(folder=folder)
    times = [event.time for event in history.stream()]
    assert times == sorted(times)
    assert history.events == len(times) == 8


def test_a_history_is_cut_at_an_instant_without_loss(folder: Path) -> None:
    history = load(folder=folder)
    cut = datetime(2017, 3, 5, tzinfo=UTC)
    before, after = list(history.until(cut).stream()), list(history.since(cut).stream())
    assert before + after == list(history.stream())
    assert [event.time < cut for event in before + after] == [True] * 5 + [False] * 3


def test_a_part_of_the_households_brings_only_their_events(folder: Path) -> None:
    subjects = {event["subject"] for event in decoded(load(1, folder=folder))}
    assert subjects == {"household-7"}


@pytest.mark.public_sets
def test_the_panel_is_complete_and_every_event_fits_the_contracts() -> None:
    history = load()
    kinds: Counter[str] = Counter()
    owners: Counter[str] = Counter()
    identities = set()
    decoders = {
        kind: msgspec.json.Decoder(data, strict=True) for kind, data in DATA_BY_TYPE.items()
    }

    class Raw(msgspec.Struct):
        id: str
        type: str
        data: msgspec.Raw

    envelope = msgspec.json.Decoder(Raw)
    for dated in history.stream():
        raw = envelope.decode(dated.body)
        data = decoders[raw.type].decode(raw.data)
        identities.add(raw.id)
        kinds[data.kind if isinstance(data, Interaction) else raw.type] += 1
        if isinstance(data, Profile):
            assert data.owner is not None
            owners[data.owner.id] += 1
    assert kinds == {
        PROFILE: 2_469,
        PURCHASE: 155_848,
        "campaign_received": 6_589,
        "coupon_redeemed": 2_102,
    }
    assert len(identities) == history.events == 167_008
    assert len(owners) == OWNERS
    assert min(owners.values()) > 150
    assert history.until(BACKFILL_END).events == 124_573


if SHARED_DATA.exists():

    def test_the_panel_agrees_with_the_set_that_models_are_evaluated_on() -> None:
        ours = load().purchases.group_by("household_id").agg(pl.len(), pl.col("amount").sum())
        theirs = (
            pl.scan_parquet(SHARED_DATA / "events.parquet")
            .filter(event_type="purchase")
            .group_by(pl.col("customer_id").cast(pl.String).alias("customer_id"))
            .agg(pl.len(), pl.col("amount").sum())
            .collect()
        )
        both = ours.with_columns(pl.col("household_id").cast(pl.String)).join(
            theirs, left_on="household_id", right_on="customer_id"
        )
        assert len(both) == len(theirs) == 2_469
        assert (both["len"] == both["len_right"]).all()
        assert both.filter((pl.col("amount") - pl.col("amount_right")).abs() > 0.01).is_empty()
