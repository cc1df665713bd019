"""The value policy: the operator's cuts, weights and margins, kept in a table and not in code.

It has one validated shape. A change is a new version; the next assessment of each customer uses
it without a redeployment. This module computes nothing.
"""

from typing import Annotated, Any, Final

import msgspec
from msgspec import Meta

from services.scoring.core.risk.btyd import Model
from services.scoring.core.value import affinity as affinities
from shared.kernel.errors import Invalid

Share = Annotated[float, Meta(gt=0, le=1)]
Weight = Annotated[float, Meta(ge=0, le=10)]
Days = Annotated[float, Meta(ge=1, le=3_650)]


class Cut(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Where a group begins: the best `share` of the base, or a fixed value `at_least`."""

    share: Share | None = None
    at_least: float | None = None


class GradeWeights(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Weights of the parts of a grade; a part that is not known of a customer weighs nothing."""

    amount: Weight = 0.35
    frequency: Weight = 0.25
    stability: Weight = 0.15
    preference: Weight = 0.05
    engagement: Weight = 0.05
    feedback: Weight = 0.15


class Advocacy(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """How much each full point of advocacy adds to (or takes from) a customer's value."""

    recommendation: Annotated[float, Meta(ge=0, le=1)] = 0.1
    loyalty: Annotated[float, Meta(ge=0, le=1)] = 0.1
    influence: Annotated[float, Meta(ge=0, le=1)] = 0.1
    referral: Annotated[float, Meta(ge=0, le=1)] = 0.5
    """Share of a referred customer's value that counts for who brought them."""


class ValuePolicy(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The whole policy; each default is explained in docs/segmentation.md."""

    horizon_days: Annotated[int, Meta(ge=7, le=3_650)] = 365
    """Horizon of the lifetime value: a year, the time for which budgets are made."""
    model: Model = "mbg"
    """In `bg` a customer with one purchase is alive for certain."""
    high: Cut = Cut(share=0.2)
    """By value; Pareto's fifth."""
    mid: Cut = Cut(share=0.5)
    """By value, `high` included."""
    vip: Cut = Cut(share=0.1)
    """By the grade score (0-1)."""
    potential: Cut = Cut(share=0.3)
    """By value, for customers who are not VIPs."""
    weights: GradeWeights = GradeWeights()
    advocacy: Advocacy = Advocacy()
    margin: Annotated[float, Meta(ge=0, lt=1)] = 0.1
    """A group is left only below (1 - margin) of its cut, so that customers do not flap."""
    new_days: Days = 91.0
    won_back_days: Days = 91.0
    affinity: affinities.Affinity = affinities.Affinity()
    """The categories that show each need."""


def check(policy: ValuePolicy) -> ValuePolicy:
    """Return the policy itself; raises Invalid where its parts contradict each other."""
    for name in ("high", "mid", "vip", "potential"):
        cut: Cut = getattr(policy, name)
        if (cut.share is None) == (cut.at_least is None):
            raise Invalid(name, "give either `share` or `at_least`")
    high, mid = policy.high, policy.mid
    if high.share is not None and mid.share is not None and mid.share < high.share:
        raise Invalid("mid.share", "counts `high` in, so it is not smaller than high.share")
    if high.at_least is not None and mid.at_least is not None and mid.at_least > high.at_least:
        raise Invalid("mid.at_least", "lies above high.at_least")
    if sum(msgspec.structs.astuple(policy.weights)) <= 0:
        raise Invalid("weights", "at least one must be above 0")
    affinities.check(policy.affinity)
    return policy


RETIRED: Final = frozenset(
    {"dormant_gaps", "churned_gaps", "dormant_days_min", "churned_days_min", "churned_days_max"}
)
"""Fields of stored policies from before the lapse length decided the behaviour states."""


def stored(data: bytes | str) -> ValuePolicy:
    """Read a policy that any version of this service has stored."""
    fields = msgspec.json.decode(data, type=dict[str, Any])
    kept = {name: value for name, value in fields.items() if name not in RETIRED}
    return parse(msgspec.json.encode(kept))


def parse(data: bytes | str) -> ValuePolicy:
    """Read a policy from JSON; raises Invalid naming the field."""
    try:
        return check(msgspec.json.decode(data, type=ValuePolicy))
    except msgspec.ValidationError as error:
        reason, _, path = str(error).partition(" - at ")
        # msgspec reports a wrong key as "`key` in `$.place`".
        raise Invalid(path[path.find("$") :].strip("`$.") or "policy", reason) from error
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise Invalid("policy", str(error)) from error
