"""Makes one attempt through any connector: find first where needed, renew a token once.

It defines the order of a connector's steps and the bound of an attempt as a whole, and confines a
fault of ours to this one attempt. When the next attempt is made is decided elsewhere.
"""

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, replace
from datetime import datetime

import structlog

from services.alerts.delivery.core.endpoint import Endpoint
from services.alerts.delivery.core.retry import Answer
from services.alerts.delivery.ports import (
    Connector,
    Connectors,
    Leased,
)

STEPS_S = 0.5
"""Seconds by which all steps of an attempt together may exceed one request: enough for a single
request to reach its own bound first, and to report it."""


log = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True)
class AttemptResult:
    """The result of an attempt, and whether the next one must search before it creates."""

    answer: Answer
    uncertain: bool
    fault: bool = False
    """The attempt met a fault of ours, of any kind."""


async def attempt(
    connectors: Connectors, endpoint: Endpoint, delivery: Leased, at: datetime, timeout_s: float
) -> AttemptResult:
    """Make one attempt at `at` (UTC); `timeout_s` is the bound of a request.

    Never raises: a fault that this message or this endpoint causes becomes its answer, and all
    others are still sent.
    """
    try:
        return await _steps(connectors.of(endpoint), delivery, at, timeout_s)
    except Exception as fault:
        log.exception("attempt met a fault", endpoint=endpoint.id, delivery=delivery.id)
        why = f"a fault of ours, see the log: {type(fault).__name__}"
        return AttemptResult(Answer("ambiguous", error=why), uncertain=True, fault=True)


async def _steps(
    connector: Connector, delivery: Leased, at: datetime, timeout_s: float
) -> AttemptResult:
    uncertain = delivery.uncertain
    try:
        async with asyncio.timeout(timeout_s + STEPS_S):
            if delivery.uncertain:
                found = await _with_token(connector, at, lambda: connector.find(delivery, at))
                if found is not None:
                    return AttemptResult(found, uncertain=found.result != "ok")
            uncertain = True  # until the answer shows otherwise
            answer = await _with_token(connector, at, lambda: connector.send(delivery, at))
    except TimeoutError:
        late = Answer("ambiguous", error=f"not done within {timeout_s:g} s", throttled=True)
        return AttemptResult(late, uncertain)
    assert answer is not None  # noqa: S101 (send always answers)
    return AttemptResult(answer, uncertain=answer.result == "ambiguous")


async def _with_token(
    connector: Connector, at: datetime, step: Callable[[], Awaitable[Answer | None]]
) -> Answer | None:
    """Run a step; if the token has ended, renew the token and run the step again.

    Once only: if a new token is refused at once, the cause is another one.
    """
    first = await step()
    if first is None or first.result != "refresh_token":
        return first
    if (trouble := await connector.refresh(at)) is not None:
        return trouble
    again = await step()
    if again is None or again.result != "refresh_token":
        return again
    return replace(again, result="retry", error=f"a fresh token was refused: {again.error}")
