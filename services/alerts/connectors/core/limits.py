"""Limits of each vendor's rate, as the bounds of an endpoint.

An endpoint keeps to its vendor's limits without any setting. A bucket with rate r and burst b
admits at most b + r·t messages in any t seconds.
"""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Final

from services.alerts.delivery.core.endpoint import Endpoint, Kind
from shared.kernel.errors import Invalid


@dataclass(frozen=True, slots=True)
class Limit:
    """The highest bounds that an endpoint of a kind may have."""

    rate_per_s: float
    burst: int
    concurrency: int


LIMITS: Final[Mapping[Kind, Limit]] = {
    # 10 calls at once for an organisation's app; a message is two or three, one after another.
    "zoho": Limit(rate_per_s=10.0, burst=10, concurrency=5),
    # 100 calls in 20 s per interface: 20 + 4 · 20.
    "fxiaoke": Limit(rate_per_s=4.0, burst=20, concurrency=4),
    # 20 messages a minute per bot: 2 + 0.3 · 60.
    "wecom_bot": Limit(rate_per_s=0.3, burst=2, concurrency=1),
    # 10,000 calls a minute per company; other applications of the company have their share.
    "wecom_app": Limit(rate_per_s=50.0, burst=100, concurrency=8),
}

MEMBER_RATE_PER_S: Final = 16 / 60
MEMBER_BURST: Final = 14
"""WeCom shows a member 30 messages a minute and 1,000 an hour, and silently drops further ones: 14
+ 16 in a minute, 14 + 960 in an hour."""


def within(endpoint: Endpoint) -> Endpoint:
    """Return the endpoint with its vendor's limits where it has none.

    Raises Invalid where it exceeds them, except for requests at once, which are cut to the limit:
    they change no outcome.
    """
    limit = LIMITS.get(endpoint.kind)
    if limit is None:
        return endpoint
    if endpoint.rate_per_s is None:
        rate, burst = limit.rate_per_s, limit.burst
    else:
        rate, burst = endpoint.rate_per_s, endpoint.burst
    if rate > limit.rate_per_s:
        raise Invalid("rate_per_s", f"{endpoint.kind} takes at most {limit.rate_per_s:g}")
    if burst > limit.burst:
        raise Invalid("burst", f"{endpoint.kind} takes at most {limit.burst}")
    at_once = min(endpoint.concurrency_max, limit.concurrency)
    return replace(endpoint, rate_per_s=rate, burst=burst, concurrency_max=at_once)
