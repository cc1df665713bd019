"""Who an account owner is in a CRM: by the endpoint's owner table, with a fallback.

What it is for: one answer for whoever is told and for whoever may answer. It never reads the
table: its row, where there is one, is an argument.
"""

from services.alerts.connectors.core.config import Config
from shared.kernel.errors import Invalid


def remote_owner(owner_id: str | None, row: str | None, config: Config) -> str | None:
    """The owner's id in the CRM, or the fallback's; None where there is neither.

    `row`: what the owner table has for this owner.
    """
    if owner_id is None:
        return config.fallback_owner
    if config.owner_ids == "same":
        return owner_id
    return row or config.fallback_owner


def needed_owner(owner_id: str | None, row: str | None, config: Config) -> str:
    """Like `remote_owner`; Invalid where there is nobody."""
    found = remote_owner(owner_id, row, config)
    if found is None:
        who = "a task without an owner" if owner_id is None else f"the owner {owner_id!r}"
        raise Invalid(
            "owner",
            f"{who} has no row in the endpoint's owner table and there is no fallback_owner: "
            "add one and resend",
        )
    return found
