"""Maps account owners to a CRM's users: by the endpoint's owner table, with a fallback.

The same mapping decides who gets a task and who may answer it. The table's row, if any, is an
argument; it is not read here.
"""

from services.alerts.connectors.core.config import Config
from shared.kernel.errors import Invalid


def remote_owner(owner_id: str | None, row: str | None, config: Config) -> str | None:
    """Return the owner's id in the CRM, or the fallback's; None where there is neither.

    `row`: the owner table's entry for this owner.
    """
    if owner_id is None:
        return config.fallback_owner
    if config.owner_ids == "same":
        return owner_id
    return row or config.fallback_owner


def needed_owner(owner_id: str | None, row: str | None, config: Config) -> str:
    """Return the same as `remote_owner`; raise Invalid where there is none."""
    found = remote_owner(owner_id, row, config)
    if found is None:
        who = "a task without an owner" if owner_id is None else f"the owner {owner_id!r}"
        raise Invalid(
            "owner",
            f"{who} has no row in the endpoint's owner table and there is no fallback_owner: "
            "add one and resend",
        )
    return found
