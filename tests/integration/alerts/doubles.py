"""Test doubles for the parts that tests of the handlers leave out."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import timedelta

from sqlalchemy.ext.asyncio import AsyncEngine

from services.alerts.core.policy import Policy
from services.alerts.handlers.learn_effects import LearnEffects
from services.alerts.store.policies import Policies
from services.alerts.store.uplift_fits import UpliftFits
from shared.postgres.engine import UnitOfWork
from shared.postgres.outbox import Pending
from shared.runtime.clock import Clock


class NoRelay:
    """A relay that sends nothing: the messages stay in the outbox."""

    async def forget(self, work: UnitOfWork) -> None:
        """Do nothing: no message was sent."""

    async def flush(self, pending: Sequence[Pending]) -> None:
        """Do nothing."""


class SetPolicy(Policies):
    """The stored policies, with one that the test sets."""

    def __init__(self, policy: Policy) -> None:
        super().__init__()
        self._set = policy

    async def current(self, work: UnitOfWork) -> tuple[int, Policy]:
        """Return the test's policy as version 1."""
        return 1, self._set


@dataclass(slots=True)
class Fetched:
    """A consumed record."""

    topic: str
    partition: int
    offset: int
    value: bytes | None
    key: bytes | None = None
    timestamp: int = 0
    headers: tuple[tuple[str, bytes | None], ...] = ()


def learn_effects(engine: AsyncEngine, policies: Policies, clock: Clock) -> LearnEffects:
    """Return the step that learns effects, as `main` wires it."""
    return LearnEffects(
        engine=engine,
        fits=UpliftFits(),
        policies=policies,
        clock=clock,
        keep=timedelta(days=60),
    )
