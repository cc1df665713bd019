"""Stores what was learned from trials, and the tasks that are withheld because of it."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Final

import msgspec

from services.alerts.core.raised_causes import Withheld
from services.alerts.core.uplift.fit import UpliftFit
from services.alerts.core.uplift.served import ServedEffects
from shared.contracts.risk import RiskAssessed
from shared.postgres.engine import UnitOfWork

KEPT: Final = 100
"""Fits of a policy that are kept: the newest serves, the others show how it came to it."""
FITTING: Final = 0x6562_7570_6C66
"""Advisory lock for storing a fit, so that replicas store one fit, not one each."""
_DECODER: Final = msgspec.json.Decoder(UpliftFit)


@dataclass(frozen=True, slots=True)
class StoredFit:
    """A fit with when and why it was stored."""

    version: int
    fitted_at: datetime
    """Business time, UTC."""
    note: str
    fit: UpliftFit


@dataclass(frozen=True, slots=True)
class WithheldTask:
    """The newest decision that withheld a task of a customer and cause."""

    customer_id: str
    cause: str
    playbook: str
    effect: float
    low: float
    high: float
    fit: int
    """Version of the fit that it rests on."""
    first_at: datetime
    """Business time, UTC; so is `at`."""
    at: datetime
    times: int


class UpliftFits:
    """Statements on `alerts.uplift_fit` and `withheld_task`; caches the fit in force."""

    def __init__(self) -> None:
        self._served: ServedEffects | None = None

    async def current(self, work: UnitOfWork, policy: str) -> ServedEffects | None:
        """Return the effects that serve for a policy; None before the first fit."""
        newest = await work.driver.fetchval(
            "SELECT max(version) FROM alerts.uplift_fit WHERE policy = $1", policy
        )
        if newest is None:
            return None
        if self._served is None or self._served.version != newest:
            document = await work.driver.fetchval(
                "SELECT document FROM alerts.uplift_fit WHERE version = $1", newest
            )
            self._served = ServedEffects(newest, _DECODER.decode(document))
        return self._served

    async def newest(self, work: UnitOfWork, policy: str, most: int) -> list[StoredFit]:
        """Return at most `most` fits of a policy, the newest first."""
        rows = await work.driver.fetch(
            "SELECT version, fitted_at, note, document FROM alerts.uplift_fit "
            "WHERE policy = $1 ORDER BY version DESC LIMIT $2",
            policy,
            most,
        )
        return [
            StoredFit(r["version"], r["fitted_at"], r["note"], _DECODER.decode(r["document"]))
            for r in rows
        ]

    async def put(
        self,
        work: UnitOfWork,
        policy: str,
        fit: UpliftFit,
        note: str,
        *,
        after: int | None,
        at: datetime,
        recorded_at: datetime,
    ) -> int | None:
        """Store a fit and return its version; None where another process has stored one since.

        `after`: version of the newest fit that was known; `at`: business time; `recorded_at`: wall
        clock. Fits beyond `KEPT` are deleted.
        """
        await work.driver.execute("SELECT pg_advisory_xact_lock($1)", FITTING)
        newest = await work.driver.fetchval(
            "SELECT max(version) FROM alerts.uplift_fit WHERE policy = $1", policy
        )
        if newest != after:
            return None
        version = await work.driver.fetchval(
            "INSERT INTO alerts.uplift_fit (policy, fitted_at, recorded_at, note, document) "
            "VALUES ($1, $2, $3, $4, $5) RETURNING version",
            policy,
            at,
            recorded_at,
            note,
            msgspec.json.encode(fit),
        )
        await work.driver.execute(
            "DELETE FROM alerts.uplift_fit WHERE policy = $1 AND version NOT IN (SELECT version "
            "FROM alerts.uplift_fit WHERE policy = $1 ORDER BY version DESC LIMIT $2)",
            policy,
            KEPT,
        )
        return int(version)

    async def withhold(
        self, work: UnitOfWork, found: Sequence[tuple[RiskAssessed, Withheld]], fit: int
    ) -> None:
        """Record that tasks were withheld, by the assessments that would have raised them."""
        if found:
            await work.driver.executemany(
                "INSERT INTO alerts.withheld_task AS w (customer_id, cause, playbook, effect, low, "
                "high, fit, revision, first_at, at, times) "
                "VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $9, 1) "
                "ON CONFLICT (customer_id, cause) DO UPDATE SET playbook = excluded.playbook, "
                "effect = excluded.effect, low = excluded.low, high = excluded.high, "
                "fit = excluded.fit, revision = excluded.revision, at = excluded.at, "
                "times = w.times + 1",
                [
                    (
                        message.customer_id, each.cause, each.playbook, each.effect.value,
                        each.effect.low, each.effect.high, fit, message.revision,
                        message.assessed_at,
                    )
                    for message, each in found
                ],
            )  # fmt: skip

    async def withheld(
        self, work: UnitOfWork, since: datetime, most: int
    ) -> tuple[int, list[WithheldTask]]:
        """Return how many tasks were withheld since a time, and at most `most`, newest first."""
        count = await work.driver.fetchval(
            "SELECT count(*) FROM alerts.withheld_task WHERE at >= $1", since
        )
        rows = await work.driver.fetch(
            "SELECT customer_id, cause, playbook, effect, low, high, fit, first_at, at, times "
            "FROM alerts.withheld_task WHERE at >= $1 ORDER BY at DESC, customer_id LIMIT $2",
            since,
            most,
        )
        return int(count), [WithheldTask(*row) for row in rows]
