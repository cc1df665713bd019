"""Events as upstream systems send them, for the faults of the intake."""

import json
from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import Any

import msgspec

from shared.contracts import events as types
from shared.kafka.producer import Producer, Record
from tests.chaos.environment import ChaosEnvironment
from tests.fakes.activity import SOURCE
from tests.fakes.generated_history import Happening


def cloud_event(happening: Happening) -> bytes:
    """Encodes the happening as a structured CloudEvent."""
    data: dict[str, Any] = {}
    if happening.type == types.PROFILE:
        data = msgspec.to_builtins(happening.data.profile)
    else:
        if happening.data.amount is not None:
            data = {"amount": f"{happening.data.amount:.2f}", "currency": "USD"}
        if happening.data.kind is not None:
            data["kind"] = happening.data.kind
        if happening.data.score is not None:
            data["score"] = happening.data.score
        for name in ("points", "balance", "expires_on"):
            if (found := getattr(happening.data, name)) is not None:
                data[name] = str(found) if name == "expires_on" else found
    return json.dumps(
        {
            "specversion": "1.0",
            "id": happening.name,
            "source": SOURCE,
            "type": happening.type,
            "time": happening.time.isoformat(),
            "subject": happening.customer,
            "data": data,
        }
    ).encode()


def purchase(name: str, customer: str, time: datetime) -> bytes:
    """Encodes a purchase of 10 as a structured CloudEvent."""
    return json.dumps(
        {
            "specversion": "1.0",
            "id": name,
            "source": SOURCE,
            "type": types.PURCHASE,
            "time": time.isoformat(),
            "subject": customer,
            "data": {"amount": "10.00", "currency": "USD"},
        }
    ).encode()


async def send(arena: ChaosEnvironment, happenings: Sequence[Happening]) -> None:
    """Sends events to the raw topic, keyed by customer."""
    topic = arena.place.topic("raw")
    producer = Producer(arena.place.kafka, "chaos")
    await producer.send(Record(topic, h.customer.encode(), cloud_event(h)) for h in happenings)
    await producer.close()


DAY = timedelta(days=1)
