"""One attempt through any connector: look first where that is needed, renew a token once.

What it is for: the order of a connector's steps, the bound of an attempt as a whole, and the end of
a fault of ours: it is this one attempt's. It never decides when the next attempt is.
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
"""How much longer than one request all steps of an attempt together may take: enough for a
single request to run into its own bound first, and to say so."""


log = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True)
class AttemptResult:
    """What an attempt came to, and whether the next one must look before it creates."""

    answer: Answer
    uncertain: bool
    fault: bool = False
    """It met a fault of ours, of whatever kind."""


async def attempt(
    connectors: Connectors, endpoint: Endpoint, message: Leased, at: datetime, timeout_s: float
) -> AttemptResult:
    """One attempt at `at` (UTC); `timeout_s` is the bound of a request.

    Never raises: a fault that this message or this endpoint brings out is its answer, and all
    others are sent.
    """
    try:
        return await _steps(connectors.of(endpoint), message, at, timeout_s)
    except Exception as fault:
        log.exception("attempt met a fault", endpoint=endpoint.id, delivery=message.id)
        why = f"a fault of ours, see the log: {type(fault).__name__}"
        return AttemptResult(Answer("ambiguous", error=why), uncertain=True, fault=True)


async def _steps(
    connector: Connector, message: Leased, at: datetime, timeout_s: float
) -> AttemptResult:
    uncertain = message.uncertain
    try:
        async with asyncio.timeout(timeout_s + STEPS_S):
            if message.uncertain:
                found = await _with_token(connector, at, lambda: connector.find(message, at))
                if found is not None:
                    return AttemptResult(found, uncertain=found.result != "ok")
            uncertain = True  # until the answer says otherwise
            answer = await _with_token(connector, at, lambda: connector.send(message, at))
    except TimeoutError:
        late = Answer("ambiguous", error=f"not done within {timeout_s:g} s", throttled=True)
        return AttemptResult(late, uncertain)
    assert answer is not None  # noqa: S101 (send always answers)
    return AttemptResult(answer, uncertain=answer.result == "ambiguous")


async def _with_token(
    connector: Connector, at: datetime, step: Callable[[], Awaitable[Answer | None]]
) -> Answer | None:
    """A step and, where it says that the token has ended, a new token and the step again.

    Once only: a token that is refused as soon as it is made is trouble of another kind.
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
