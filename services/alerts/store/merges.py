"""SQL of customers that become one and come apart; both are locked by the caller."""

from collections.abc import Sequence

import msgspec

from services.alerts.core.task import Task
from shared.postgres.engine import UnitOfWork

_TASK = ", ".join(f"t.{name}" for name in Task.__struct_fields__)


class Merges:
    """Statements that move what belongs to one id to the customer of another."""

    async def redirect(self, work: UnitOfWork, customer: str, part_of: str | None) -> None:
        """Stores of which customer this id is part; None: it is one of its own."""
        await work.driver.execute(
            "UPDATE alerts.customer SET part_of = $2 WHERE customer_id = $1", customer, part_of
        )

    async def take_over(self, work: UnitOfWork, customer: str, to: str) -> None:
        """Adds to `to` the purchases and trials of a customer, and what was warned about.

        Trials of both that are under way in different arms say nothing about an effect.
        """
        run, both = work.driver.execute, (customer, to)
        await run(
            "INSERT INTO alerts.purchase (customer_id, source, id, at, amount, refund) "
            "SELECT $2, source, id, at, amount, refund FROM alerts.purchase "
            "WHERE customer_id = $1 ON CONFLICT DO NOTHING",
            *both,
        )
        await run(
            "UPDATE alerts.trial t SET eligible = false FROM alerts.trial o "
            "WHERE t.measured_at IS NULL AND o.measured_at IS NULL AND t.arm <> o.arm "
            "AND ((t.customer_id = $1 AND o.customer_id = $2) "
            "OR (t.customer_id = $2 AND o.customer_id = $1))",
            *both,
        )
        await run(
            "UPDATE alerts.trial SET customer_id = $2, came_with = coalesce(came_with, $1) "
            "WHERE customer_id = $1",
            *both,
        )
        await run(
            "UPDATE alerts.customer c SET purchased_at = greatest(c.purchased_at, o.purchased_at), "
            "leaving_cause = coalesce(c.leaving_cause, o.leaving_cause), "
            "leaving_at = coalesce(c.leaving_at, o.leaving_at), "
            "warned = coalesce(c.warned, o.warned), recent = coalesce(c.recent, o.recent) "
            "FROM alerts.customer o WHERE o.customer_id = $1 AND c.customer_id = $2",
            *both,
        )

    async def give_back(self, work: UnitOfWork, customer: str, of: str) -> None:
        """Takes from `of` what came with a customer who was part of it."""
        run, both = work.driver.execute, (customer, of)
        await run(
            "DELETE FROM alerts.purchase p USING alerts.purchase own "
            "WHERE own.customer_id = $1 AND p.customer_id = $2 "
            "AND p.source = own.source AND p.id = own.id",
            *both,
        )
        await run(
            "UPDATE alerts.trial SET customer_id = $1, came_with = NULL "
            "WHERE customer_id = $2 AND came_with = $1",
            *both,
        )
        await run(
            "UPDATE alerts.customer SET purchased_at = coalesce((SELECT max(p.at) "
            "FROM alerts.purchase p WHERE p.customer_id = $1 AND NOT p.refund), purchased_at) "
            "WHERE customer_id = $1",
            of,
        )

    async def move_tasks(
        self, work: UnitOfWork, tasks: Sequence[str], customer: str, to: str
    ) -> list[Task]:
        """Makes open tasks of a customer those of another, with a new version; returns them."""
        rows = await work.driver.fetch(
            f"UPDATE alerts.task t SET customer_id = $3, version = t.version + 1, "  # noqa: S608
            "came_with = CASE WHEN t.came_with = $3 THEN NULL ELSE coalesce(t.came_with, $2) END "
            f"WHERE t.customer_id = $2 AND t.id = ANY($1::text[]) RETURNING {_TASK}",
            list(tasks),
            customer,
            to,
        )
        await work.driver.execute(
            "UPDATE alerts.remote_task SET customer_id = $3 "
            "WHERE customer_id = $2 AND task_id = ANY($1::text[])",
            list(tasks),
            customer,
            to,
        )
        return [msgspec.convert(dict(row), Task) for row in rows]

    async def came_with(self, work: UnitOfWork, customer: str, at: str) -> list[str]:
        """Returns the open tasks of `at` that came with this customer."""
        rows = await work.driver.fetch(
            "SELECT id FROM alerts.task WHERE customer_id = $2 AND came_with = $1 "
            "AND status = 'open'",
            customer,
            at,
        )
        return [row["id"] for row in rows]
