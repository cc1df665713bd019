"""The walk publishes what the service publishes of the same events, message by message.

The messages are byte for byte the same.
"""

import math
from collections import defaultdict

import msgspec
import numpy as np
import pytest

from deploy.backtest import scoring as walking
from deploy.backtest.scoring import Scoring, days
from services.scoring.core.features.events import EventColumns
from services.scoring.core.features.stable_hash import stable_hash
from services.scoring.core.value.classify import Valuation
from services.scoring.handlers.assess_customers import Assessor
from services.scoring.model.rule_model import RuleModel
from services.scoring.training.data.event_table import EventBatch, EventTable, from_columns
from shared.contracts.risk import RiskAssessed
from tests.fakes import activity
from tests.fakes.activity import day
from tests.fakes.generated_history import Happening, history, numbers
from tests.fakes.log import MemoryLog
from tests.fakes.scoring_store import MemorySender, MemoryStore
from tests.fakes.scoring_worker import HORIZON_DAYS, HORIZONS_DAYS, RISK, TOPIC, ScoringWorker

IMPORTED, DAYS = 40, 90
ASSESSOR = Assessor(RISK, (0.25, 0.5, 0.75), 3, "USD", HORIZONS_DAYS)


def table(happenings: list[Happening]) -> EventTable:
    """Return the same events as training reads them."""
    n = len(happenings)
    known = numbers(happenings)
    columns = EventColumns(
        row=np.zeros(n, np.int64),
        kind=np.array([int(h.kind or 0) for h in happenings], np.uint8),
        time=np.array([h.time.timestamp() for h in happenings]),
        amount=known["amount"],
        cost=known["cost"],
        until=known["until"],
        score=np.array([math.nan if (s := h.data.score) is None else s for h in happenings]),
        key=np.array([stable_hash(activity.SOURCE, h.name) for h in happenings], np.uint64),
        category=np.zeros(n, np.uint64),
        channel=np.zeros(n, np.uint8),
    )
    batch = EventBatch([h.customer for h in happenings], columns)
    return from_columns([batch], day(DAYS).timestamp())


def log(happenings: list[Happening]) -> MemoryLog:
    """Return a log: an import of everything before `IMPORTED`, then a tick a day."""
    found, today = MemoryLog(TOPIC), IMPORTED
    imported = True
    for happening in happenings:
        while happening.time >= day(today):
            if imported:
                found.append(0, activity.ended(day(today), "import"))
                imported = False
            found.append(0, activity.tick(day(today), received_ms=0))
            today += 1
        found.append(0, happening.value("import" if imported else None))
    for left in range(today, DAYS + 1):
        found.append(0, activity.tick(day(left), received_ms=0))
    return found


@pytest.mark.parametrize("due_max", [7, 1_000])
@pytest.mark.parametrize("seed", [1, 2])
async def test_the_walk_sends_the_same_bytes_as_the_service(
    seed: int, due_max: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """All messages of every customer are the same bytes in the same order.

    This holds also where a day's sweep takes several batches.
    """
    monkeypatch.setattr(walking, "DUE_MAX", due_max)
    happenings = [h for h in history(60, DAYS, seed) if h.kind is not None]
    begin, end = day(IMPORTED).timestamp(), day(DAYS).timestamp()
    walked = Scoring(table(happenings), begin, RuleModel(HORIZON_DAYS), ASSESSOR, Valuation())
    said: dict[str, list[bytes]] = defaultdict(list)
    for now in days(begin, end):
        for message in walked.tick(now):
            said[msgspec.json.decode(message, type=RiskAssessed).customer_id].append(message)

    assert walked.valuation.base is not None
    service = ScoringWorker(
        MemoryStore(), MemorySender(), replay=True, valuation=walked.valuation,
        log=log(happenings),
    )  # fmt: skip
    await service.drain()
    told: dict[str, list[bytes]] = defaultdict(list)
    for sent in service.sender.sent:
        if sent.topic == RISK:
            told[(sent.key or b"").decode()].append(sent.value or b"")
    assert len(told) > 40
    assert said == told
