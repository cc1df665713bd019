"""Keeps for each id of a customer with several what came with that id alone.

It makes a merge reversible at any time, whatever the history still holds. Customers with one id
have no such state and cost nothing.
"""

import numpy as np

from services.scoring.core.features.fold import fold
from services.scoring.core.features.state import from_bytes, to_bytes
from services.scoring.handlers.assess_customers import event_columns
from services.scoring.handlers.batch import BatchCustomers
from services.scoring.ports import BatchEffects, LoadedRows, Store
from shared.kernel.errors import Transient
from shared.postgres.engine import UnitOfWork


async def fold_own_states(
    work: UnitOfWork, store: Store, job: BatchCustomers, loaded: LoadedRows, effects: BatchEffects
) -> None:
    """Adds to the effects the new own states of ids whose customers have several.

    Raises Transient where the ids of a customer have changed meanwhile.
    """
    grouped = loaded.grouped[: job.touched]
    if not grouped.any():
        return
    rows = np.flatnonzero(grouped[job.event_rows])
    events = job.events.select(rows.tolist())
    at = {name: n for n, name in enumerate(dict.fromkeys(events.original_customer))}
    own = await store.own_states(work, at)
    if len(own) < len(at):
        raise Transient("the ids of a customer have changed meanwhile")
    row = np.array([at[name] for name in events.original_customer], np.int64)
    states = fold(from_bytes([own[name] for name in at]), event_columns(events, row))
    effects.own_states = dict(zip(at, to_bytes(states), strict=True))
