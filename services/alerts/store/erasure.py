"""Deletes the personal data that alerts has of a customer."""

from shared.postgres.engine import UnitOfWork

_DELETED = ("purchase", "assessment", "task_event", "segment_entry", "withheld_task")


class Erasure:
    """Statements on all rows of one customer, who must be locked."""

    async def are_there(self, work: UnitOfWork, customer_id: str) -> bool:
        """Return whether alerts has any data of a customer with this id."""
        found = await work.driver.fetchval(
            "SELECT EXISTS (SELECT 1 FROM alerts.customer WHERE customer_id = $1) "
            "OR EXISTS (SELECT 1 FROM alerts.purchase WHERE customer_id = $1)",
            customer_id,
        )
        return bool(found)

    async def forget_names(self, work: UnitOfWork, customer_id: str) -> None:
        """Delete names, notes and reasons from the tasks, before their end is sent."""
        await work.driver.execute(
            "UPDATE alerts.task SET customer_name = NULL, note = NULL, reasons = '[]' "
            "WHERE customer_id = $1",
            customer_id,
        )

    async def forget(self, work: UnitOfWork, customer_id: str) -> None:
        """Delete the profile, purchases, assessments, features, events and messages that were sent.

        Pending messages stay until they are delivered: the receiver has the customer too.
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
        await work.driver.execute(
            "UPDATE alerts.trial SET features = NULL, feature_version = NULL "
            "WHERE customer_id = $1",
            customer_id,
        )
        await work.driver.execute("DELETE FROM alerts.suspect WHERE item = $1", customer_id)
        await work.driver.execute(
            "UPDATE alerts.customer SET profile = NULL, profile_at = NULL, "
            "profile_event_id = NULL, leaving_cause = NULL, leaving_at = NULL "
            "WHERE customer_id = $1",
            customer_id,
        )
