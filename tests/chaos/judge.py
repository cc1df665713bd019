"""The reference (one thread, in memory, over the whole log) and the comparison of a run with it.

It judges what is stored and sent, never what a service reports about itself.
"""

from collections import Counter
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from services.scoring.core.features.state import from_bytes
from shared.contracts.risk import BANDS, DECODER, RiskAssessed
from shared.postgres.outbox import unpack
from tests.chaos.report import Found
from tests.fakes.generated_history import Happening, states
from tests.fakes.log import MemoryLog
from tests.fakes.scoring_store import MemorySender, MemoryStore
from tests.fakes.scoring_worker import ScoringWorker
from tests.integration.scoring.postgres import table
from tests.integration.scoring.running import ServiceEnvironment

TOLERANCE = 1e-9
"""Tolerance of a state's numbers: sums of the same events in other batches differ in the last
digits."""
HIGH = BANDS.index("high")

Revision = tuple[str, int]


async def reference(log: MemoryLog) -> dict[Revision, RiskAssessed]:
    """Returns what an undisturbed scoring sends to the risk topic for this log, in a replay."""
    made = ScoringWorker(MemoryStore(), MemorySender(), replay=True, log=log)
    await made.drain()
    return {(told.customer_id, told.revision): told for told in made.told}


async def judge(
    place: ServiceEnvironment,
    happenings: Sequence[Happening],
    expected: dict[Revision, RiskAssessed] | None,
) -> Found:
    """Compares everything that scoring stored and sent with what follows from `happenings`.

    `expected` None: the right messages are not known beforehand (live, or partitions were added);
    then only each message's identity is judged, and high risk counts as false.
    """
    found = Found()
    await _judge_events(place, happenings, found)
    await _judge_states(place, happenings, found)
    await _judge_messages(place, expected, found)
    if left := len(await table(place.engine, "outbox")):
        # Acknowledged rows are deleted with the next transaction: some may still be there.
        sent = Counter(r.value for r in await place.read("risk"))
        parcels = await table(place.engine, "outbox")
        unsent = [
            message
            for parcel in parcels
            for message in unpack(("", 0), parcel["messages"])
            if message.value not in sent
        ]
        found.lost += len(unsent)
        if unsent:
            found.wrong.append(f"{left} messages are still in the outbox")
    return found


async def judge_states(place: ServiceEnvironment, happenings: Sequence[Happening]) -> Found:
    """Judges only what was folded, not the messages."""
    found = Found()
    await _judge_events(place, happenings, found)
    await _judge_states(place, happenings, found)
    return found


async def _judge_events(
    place: ServiceEnvironment, happenings: Sequence[Happening], found: Found
) -> None:
    wanted = {(h.customer, h.name) for h in happenings}
    keys = {(r["customer_id"], r["id"]) for r in await table(place.engine, "event_key")}
    events = len(await table(place.engine, "event"))
    found.lost += len(wanted - keys)
    found.duplicated += max(0, events - len(keys))
    if foreign := len(keys - wanted):
        found.wrong.append(f"{foreign} events that nobody sent")
    if events < len(keys):
        found.lost += len(keys) - events


async def _judge_states(
    place: ServiceEnvironment, happenings: Sequence[Happening], found: Found
) -> None:
    stored = {r["customer_id"]: r["state"] for r in await table(place.engine, "customer_state")}
    wanted = states(list(happenings))
    for customer in sorted(stored.keys() - wanted.keys()):
        found.wrong.append(f"a state of {customer}, of whom there is no event")
    for customer in sorted(wanted.keys() - stored.keys()):
        found.wrong.append(f"no state of {customer}")
    for customer in sorted(stored.keys() & wanted.keys()):
        is_, ought = from_bytes([stored[customer]]), wanted[customer]
        if not equal(is_, ought):
            more = float(is_["counts"].sum() - ought["counts"].sum())
            found.lost += int(max(0.0, -more))
            found.duplicated += int(max(0.0, more))
            found.wrong.append(f"the state of {customer} differs")


def equal(a: NDArray[np.void], b: NDArray[np.void]) -> bool:
    """Returns whether two states are the same, to rounding."""
    return all(
        np.allclose(a[name], b[name], TOLERANCE, TOLERANCE, equal_nan=True)
        for name in a.dtype.names or ()
    )


async def _judge_messages(
    place: ServiceEnvironment, expected: dict[Revision, RiskAssessed] | None, found: Found
) -> None:
    kept = [DECODER.decode(r["message"]) for r in await table(place.engine, "assessment_history")]
    sent = [DECODER.decode(r.value or b"") for r in await place.read("risk")]
    stored = _by_revision(kept)
    found.duplicated += len(kept) - len(stored)
    topic = _by_revision(sent)
    found.lost += len(stored.keys() - topic.keys())
    found.duplicated += sum(topic[k] != stored[k] for k in topic.keys() & stored.keys())
    found.false_alerts += len(topic.keys() - stored.keys())
    newest: dict[str, int] = {}
    for told in sent:
        newest[told.customer_id] = told.revision
    stale = [c for c, r in newest.items() if r != max(k[1] for k in stored if k[0] == c)]
    if stale:
        found.wrong.append(f"what stays in the risk topic is old news of {stale}")
    if expected is None:
        found.false_alerts += len({t.customer_id for t in kept if BANDS.index(t.band) >= HIGH})
        return
    found.lost += len(expected.keys() - stored.keys())
    for revision, told in stored.items():
        ought = expected.get(revision)
        alert = BANDS.index(told.band) >= HIGH
        if ought is None or (told.band, told.assessed_at) != (ought.band, ought.assessed_at):
            found.false_alerts += alert
            found.wrong.append(f"{revision} was told {told.band}, not as the reference")


def _by_revision(messages: Sequence[RiskAssessed]) -> dict[Revision, RiskAssessed]:
    return {(told.customer_id, told.revision): told for told in messages}
