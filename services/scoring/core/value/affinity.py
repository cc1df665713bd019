"""Needs shown by a customer's purchases, through the operator's mapping from categories to needs.

The sixteen counters of the state's category sketch are read by a mapping that may change at any
time, since the state does not contain it. No favourite category can be named: a counter is shared
by all categories that hash to it (decision 12 in docs/decisions).

A need is stated where the customer buys its categories clearly more than the base does:

    n     purchases with a category, of which k in the buckets of the need's categories
    base  mean share of these buckets over the living customers of the base
    low   lower end of the one-sided 95 % interval of k / n (Wilson 1927, J. Am. Stat. Ass. 22)
    need  n >= purchases_min  and  low / (1 - low) >= odds * base / (1 - base)

Odds instead of shares make one factor sensible for a category of 1 % and for one of 60 %.
"""

from collections.abc import Mapping
from typing import Annotated, Final

import msgspec
import numpy as np
from msgspec import Meta
from numpy.typing import NDArray

from services.scoring.core.features.decode import category_of
from services.scoring.core.features.state import CATEGORY_BUCKETS
from shared.kernel.arrays import Flags, Floats
from shared.kernel.errors import Invalid

Counts = NDArray[np.uint32]

Word = Annotated[str, Meta(pattern=r"^[a-z][a-z0-9_]{0,39}$(?!\n)")]
Categories = Annotated[
    list[Annotated[str, Meta(min_length=1, max_length=200)]], Meta(min_length=1, max_length=100)
]
NEEDS_MAX: Final = 16
"""Mapped needs: more than the sketch's buckets would be indistinguishable."""
BUCKETS_MAX: Final = CATEGORY_BUCKETS // 2
"""Buckets of one need. Beyond this, more than half of all other categories would count as well."""
Z: Final = 1.6449
"""Normal quantile of the one-sided 95 % interval."""


class Affinity(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The categories that show each need, and how clearly they must."""

    categories: Annotated[dict[Word, Categories], Meta(max_length=NEEDS_MAX)] = {}
    """Categories by need, as the source writes them. Empty: categories show no need."""
    odds: Annotated[float, Meta(ge=1, le=100)] = 2.0
    """Least odds relative to the base's. A doubling is obvious; less is taste."""
    purchases_min: Annotated[int, Meta(ge=1, le=1_000)] = 10
    """Purchases with a category; with fewer, a share is an accident."""


def buckets(affinity: Affinity) -> dict[str, list[int]]:
    """Return the indices into the sketch by need, ascending."""
    return {
        need: sorted({category_of(one) % CATEGORY_BUCKETS for one in categories})
        for need, categories in affinity.categories.items()
    }


def check(affinity: Affinity) -> None:
    """Raise Invalid where the sketch cannot distinguish the mapping's categories."""
    owner: dict[int, tuple[str, str]] = {}
    for need, categories in affinity.categories.items():
        field = f"affinity.categories.{need}"
        for category in categories:
            at = category_of(category) % CATEGORY_BUCKETS
            other, its = owner.setdefault(at, (need, category))
            if other != need and its != category:
                raise Invalid(
                    field,
                    f"{category!r} shares a counter with {its!r} of {other}: customers of the one "
                    "would count as customers of the other; leave one of them out",
                )
    for need, taken in buckets(affinity).items():
        if len(taken) > BUCKETS_MAX:
            raise Invalid(
                f"affinity.categories.{need}",
                f"takes {len(taken)} of {CATEGORY_BUCKETS} counters, at most {BUCKETS_MAX}: name "
                "fewer, or coarser, categories",
            )


def shares(counts: Counts) -> Floats:
    """Return the mean share of each bucket over customers with a category.

    float64[CATEGORY_BUCKETS]; NaN without such customers. Every customer has equal weight, however
    much they buy.
    """
    total = counts.sum(axis=1, dtype=np.float64)
    some = total > 0
    if not some.any():
        return np.full(CATEGORY_BUCKETS, np.nan)
    return np.asarray((counts[some] / total[some, None]).mean(axis=0))


def lower(hits: Floats, of: Floats) -> Floats:
    """Return Wilson's lower bound of hits / of; NaN where `of` is 0.

    >>> lower(np.array([5.0, 0.0]), np.array([10.0, 10.0])).round(4)
    array([0.2693, 0.    ])
    """
    with np.errstate(invalid="ignore", divide="ignore"):
        share, z2 = hits / of, Z * Z
        spread = Z * np.sqrt(share * (1 - share) / of + z2 / (4 * of * of))
        found = (share + z2 / (2 * of) - spread) / (1 + z2 / of)
    return np.maximum(found, 0.0)


def needs_of(counts: Counts, base: Floats | None, affinity: Affinity) -> Mapping[str, Flags]:
    """Return bool[n] by mapped need, from uint32[n, CATEGORY_BUCKETS]; empty without a base."""
    if base is None or not affinity.categories or np.isnan(base).any():
        return {}
    total = counts.sum(axis=1, dtype=np.float64)
    enough = total >= affinity.purchases_min
    found = {}
    for need, at in buckets(affinity).items():
        low = lower(counts[:, at].sum(axis=1, dtype=np.float64), total)
        usual = float(base[at].sum())
        # low / (1 - low) >= odds * usual / (1 - usual), without dividing by 0.
        found[need] = enough & (low > 0) & (low * (1 - usual) >= affinity.odds * usual * (1 - low))
    return found
