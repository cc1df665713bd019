"""Discovers segments: k-means on scaled features, and a shallow tree that describes each cluster.

Finds groups that no existing rule describes, each with a rule that a person can read, change and
define as a segment (`segments define`). Runs offline, on a sample; defines no segment itself.

k is the one of 2-8 with the greatest mean silhouette (Rousseeuw 1987); the tree (depth 3) is
trained to find the clusters again, and its rules are CEL over the features. Precision and recall of
each rule are reported: a rule that does not find its cluster does not describe it.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray
from sklearn.cluster import KMeans
from sklearn.metrics import silhouette_score
from sklearn.preprocessing import StandardScaler
from sklearn.tree import DecisionTreeClassifier

from services.scoring.core.features.registry import column, feature_index
from shared.kernel.arrays import Floats

FEATURES: Final = ("recency_days", "purchase_days", "tenure_days", "gap_mean_days",
                   "order_value", "spent", "campaign_response", "complaints")  # fmt: skip
"""Features by which people recognise a customer: when, how often, for how long, how much, and what
makes them buy."""
SKEWED: Final = frozenset(FEATURES) - {"campaign_response"}
"""Features taken as log(1 + x), so that a wholesaler is not forty standard deviations from a
household."""
K_MAX: Final = 8
"""Most clusters: more groups are not served differently."""
SILHOUETTE_ROWS_MAX: Final = 3_000
"""Most rows for the silhouette, which compares all pairs."""
DEPTH: Final = 3
"""Depth of the tree: a description has at most three conditions."""
LEAF_SHARE_MIN: Final = 0.02
SEED: Final = 7
CUSTOMERS_MIN: Final = 100


@dataclass(frozen=True, slots=True)
class DiscoveredGroup:
    """A discovered group and the rule that describes it best."""

    customers: int
    share: float
    middle: dict[str, float]
    """Median of each feature in the group."""
    rule: str
    """The rule in CEL; empty where the tree has no leaf for the cluster."""
    precision: float
    """Share of the customers under the rule that are in the cluster."""
    recall: float
    """Share of the cluster that is under the rule."""


@dataclass(frozen=True, slots=True)
class Discovered:
    """What was found, the largest cluster first."""

    silhouette: dict[int, float]
    """Mean silhouette by k; the greatest was taken."""
    clusters: list[DiscoveredGroup]


def discover(x: Floats) -> Discovered:
    """Find groups among the buyers of X, float64[n, F]. Deterministic.

    Raises ValueError with fewer than `CUSTOMERS_MIN` buyers, or where all buyers are alike.
    """
    x = x[column(x, "purchases") > 0]
    if len(x) < CUSTOMERS_MIN:
        raise ValueError(f"{len(x)} buyers, at least {CUSTOMERS_MIN} are needed")
    plain = np.nan_to_num(x[:, [feature_index[name] for name in FEATURES]])
    varying = np.flatnonzero(plain.std(axis=0) > 0)
    if not len(varying):
        raise ValueError("all buyers are alike")
    plain, names = plain[:, varying], [FEATURES[at] for at in varying]
    logged = np.array([name in SKEWED for name in names])
    scaled = StandardScaler().fit_transform(
        np.where(logged, np.log1p(np.maximum(plain, 0.0)), plain)
    )
    silhouette: dict[int, float] = {}
    labels: dict[int, NDArray[np.int32]] = {}
    for k in range(2, K_MAX + 1):
        labels[k] = KMeans(k, n_init=4, random_state=SEED).fit_predict(scaled)
        silhouette[k] = float(
            silhouette_score(
                scaled, labels[k], sample_size=min(len(x), SILHOUETTE_ROWS_MAX), random_state=SEED
            )
        )
    best = max(silhouette, key=lambda k: silhouette[k])
    return Discovered(silhouette, _described(plain, names, labels[best], best))


def _described(
    plain: Floats, names: Sequence[str], label: NDArray[np.int32], k: int
) -> list[DiscoveredGroup]:
    tree = DecisionTreeClassifier(
        max_depth=DEPTH, min_samples_leaf=LEAF_SHARE_MIN, random_state=SEED
    ).fit(plain, label)
    leaf, found = tree.apply(plain), tree.predict(plain)
    paths = _paths(tree, names)
    clusters = []
    for cluster in range(k):
        inside = label == cluster
        under = found == cluster
        rules = [paths[at] for at in np.unique(leaf[under]).tolist()]
        clusters.append(
            DiscoveredGroup(
                customers=int(inside.sum()),
                share=float(inside.mean()),
                middle={name: float(np.median(plain[inside, at])) for at, name in enumerate(names)},
                rule=" || ".join(rules if len(rules) == 1 else (f"({one})" for one in rules)),
                precision=float(inside[under].mean()) if under.any() else 0.0,
                recall=float(under[inside].mean()),
            )
        )
    return sorted(clusters, key=lambda one: -one.customers)


def _paths(tree: DecisionTreeClassifier, names: Sequence[str]) -> dict[int, str]:
    """Return the CEL rule of each leaf by its number."""
    nodes = tree.tree_
    paths: dict[int, str] = {}

    def walk(at: int, conditions: tuple[str, ...]) -> None:
        if nodes.children_left[at] < 0:
            paths[at] = " && ".join(conditions) or "true"
            return
        name, bound = names[nodes.feature[at]], float(f"{nodes.threshold[at]:.6g}")
        low = f"{name} <= {bound!r}"
        # An undefined feature of a customer was 0 when the tree was grown.
        undefined = f"!({name} > {bound!r})" if bound >= 0 else low
        walk(int(nodes.children_left[at]), (*conditions, undefined))
        walk(int(nodes.children_right[at]), (*conditions, f"{name} > {bound!r}"))

    walk(0, ())
    return paths
