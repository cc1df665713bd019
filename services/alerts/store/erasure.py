"""What alerts knows of a customer as a person, and how it is deleted."""

from shared.postgres.engine import UnitOfWork

_DELETED = ("purchase", "assessment", "task_event", "segment_entry")


class Erasure:
    """Statements on everything of one customer, who is locked."""

    async def are_there(self, work: UnitOfWork, customer_id: str) -> bool:
        """Whether alerts knows of a customer of this id at all."""
        found = await work.driver.fetchval(
            "SELECT EXISTS (SELECT 1 FROM alerts.customer WHERE customer_id = $1) "
            "OR EXISTS (SELECT 1 FROM alerts.purchase WHERE customer_id = $1)",
            customer_id,
        )
        return bool(found)

    async def forget_names(self, work: UnitOfWork, customer_id: str) -> None:
        """Take names and notes out of the tasks, before their end is told."""
        await work.driver.execute(
            "UPDATE alerts.task SET customer_name = NULL, note = NULL, reasons = '[]' "
            "WHERE customer_id = $1",
            customer_id,
        )

    async def forget(self, work: UnitOfWork, customer_id: str) -> None:
        """Delete the profile, what was done and said, and messages that were sent.

        Messages that still wait stay until they are delivered: the receiver has the customer.
        """
        for table in _DELETED:
            await work.driver.execute(
                f"DELETE FROM alerts.{table} WHERE customer_id = $1",  # noqa: S608 (names of ours)
                customer_id,
            )
        await work.driver.execute(
            "DELETE FROM alerts.delivery WHERE customer_id = $1 AND status <> 'pending'",
            customer_id,
        )
        await work.driver.execute(
            "DELETE FROM alerts.attempt a WHERE a.customer_id = $1 AND NOT EXISTS (SELECT 1 FROM "
            "alerts.delivery d WHERE d.customer_id = a.customer_id AND d.id = a.delivery_id)",
            customer_id,
        )
        await work.driver.execute("DELETE FROM alerts.suspect WHERE item = $1", customer_id)
        await work.driver.execute(
            "UPDATE alerts.customer SET profile = NULL, profile_at = NULL, "
            "profile_event_id = NULL, leaving_cause = NULL, leaving_at = NULL "
            "WHERE customer_id = $1",
            customer_id,
        )
