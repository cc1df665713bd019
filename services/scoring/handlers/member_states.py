"""Keeps for each id of a customer with several what came with that id alone.

It makes a merge reversible at any time, whatever the history still holds. Customers with one id
have no such state and cost nothing.
"""

import numpy as np

from services.scoring.core.features.fold import fold
from services.scoring.core.features.state import from_bytes, to_bytes
from services.scoring.handlers.assess_customers import event_columns
from services.scoring.handlers.batch_customers import BatchCustomers
from services.scoring.ports import BatchEffects, EventRows, LoadedRows, Store
from shared.kernel.errors import Transient
from shared.postgres.engine import UnitOfWork


async def fold_own_states(
    work: UnitOfWork,
    store: Store,
    customers: BatchCustomers,
    loaded: LoadedRows,
    effects: BatchEffects,
    repeated: EventRows,
) -> None:
    """Adds to the effects the new own states of ids of customers with several.

    `repeated`: events that another id of the customer had sent before: they count here only, and
    are recorded here. Raises Transient where the ids of a customer have changed meanwhile.
    """
    effects.repeated = repeated
    if len(repeated):
        await store.add_history(work, repeated, effects.recorded_at)
    grouped = loaded.grouped[: customers.touched]
    if not grouped.any() and not len(repeated):
        return
    rows = np.flatnonzero(grouped[customers.event_rows])
    parts = customers.events.select(rows.tolist()), repeated
    names = [name for part in parts for name in part.original_customer]
    at = {name: n for n, name in enumerate(dict.fromkeys(names))}
    own = await store.own_states(work, at)
    if len(own) < len(at):
        raise Transient("the ids of a customer have changed meanwhile")
    states = from_bytes([own[name] for name in at])
    for part in parts:
        row = np.array([at[name] for name in part.original_customer], np.int64)
        states = fold(states, event_columns(part, row))
    effects.own_states = dict(zip(at, to_bytes(states), strict=True))
