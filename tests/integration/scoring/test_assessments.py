"""What is stored and published of an assessment (invariants 6 and 8).

It is enough to repeat the computation, and nothing is published without a change.
"""

from collections.abc import Mapping, Sequence
from datetime import timedelta
from itertools import pairwise
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import pytest
from sqlalchemy.ext.asyncio import AsyncEngine

from services.scoring.core.features.registry import FEATURES
from services.scoring.core.risk.bands import HYSTERESIS
from services.scoring.core.risk.horizons import unpack
from services.scoring.core.risk.publication import HEARTBEAT_DAYS
from services.scoring.handlers.model_serving import ModelServing
from services.scoring.model.churn_model import dumps, loads
from services.scoring.model.rule_model import RuleModel
from services.scoring.model.store import ArtefactStore
from services.scoring.ports import Predictor
from services.scoring.store.models import Models
from shared.contracts.risk import DECODER, RiskAssessed
from tests.fakes import activity
from tests.fakes.activity import day
from tests.fakes.generated_history import history
from tests.fakes.model import tiny_model
from tests.fakes.scoring_rows import assessed
from tests.fakes.scoring_worker import HORIZON_DAYS, RISK, ScoringWorker
from tests.integration.scoring.postgres import PostgresStore, Relayed, assessments, promoted, table

HEARTBEAT = timedelta(days=HEARTBEAT_DAYS)

pytestmark = pytest.mark.stack


def replayed(engine: AsyncEngine, store: PostgresStore) -> ScoringWorker:
    """Provide a replay on the real tables."""
    return ScoringWorker(store, Relayed(engine), replay=True)


def ticks(scoring: ScoringWorker, *days: float) -> None:
    """Move business time to each of these days."""
    for at in days:
        scoring.log.append(0, activity.tick(day(at)))


def buys(scoring: ScoringWorker, customer: str, *days: float) -> None:
    """Append purchases."""
    for at in days:
        scoring.log.append(0, activity.event(f"{customer}-{at}", customer, day(at)))


def repeat(rows: Sequence[Mapping[str, Any]], predictors: dict[str, Predictor]) -> int:
    """Compute every stored probability again from its features; return how many there are."""
    for row in rows:
        predictor = predictors[row["model_version"]]
        x = np.frombuffer(row["features"], "<f8")
        assert len(x) == len(FEATURES)
        assert row["feature_set"] == predictor.feature_set
        assert row["method"] == predictor.method
        assert float(predictor.predict(x[None, :])[0]) == row["probability"]
        over = unpack(row["horizons"])
        assert list(over) == [14, 28, 30, 60, 90]
        assert over[predictor.horizon_days] == row["probability"]
        again = predictor.over(x[None, :], np.array([row["probability"]]), tuple(over))
        np.testing.assert_allclose(again[0], list(over.values()), rtol=0, atol=1e-12)
    if rows:
        every = np.array([np.frombuffer(row["features"], "<f8") for row in rows])
        models = np.array([row["model_version"] for row in rows])
        for version in set(models):
            again = predictors[version].predict(every[models == version])
            stored = [r["probability"] for r in rows if r["model_version"] == version]
            assert again.tolist() == stored
    return len(rows)


async def test_every_number_can_be_computed_again(
    engine: AsyncEngine, store: PostgresStore, tmp_path: Path
) -> None:
    """The rule serves first, then a model that is promoted while events flow.

    What is stored with an assessment gives exactly its probability again, with the model loaded
    from its artefact, one row at a time and all at once.
    """
    models, artefacts = Models(engine), ArtefactStore(tmp_path)
    serving = ModelServing(models, artefacts, loads, RuleModel(HORIZON_DAYS), 1.0)
    scoring = replayed(engine, store)
    model = tiny_model()
    today = 0
    for happening in history(30, 40, seed=21):
        while happening.time >= day(today + 1):
            today += 1
            ticks(scoring, today)
            await scoring.drain()
            if today == 15:
                digest = artefacts.put(dumps(model))
                await promoted(models, model.version, digest, day(15))
            await serving.refresh()
            scoring.predictor = serving.current()
        scoring.log.append(0, happening.value())
    ticks(scoring, today + 1)  # so that no state has changed since the last assessment
    await scoring.drain()

    versions: dict[str, Predictor] = {}
    for stored in await models.list_all():
        versions[stored.version] = loads(artefacts.get(stored.digest))
    assert list(versions) == [model.version]
    versions["rule-2"] = RuleModel(HORIZON_DAYS)
    assert repeat(await assessments(engine), versions) == 30
    assert repeat(await table(engine, "assessment_history"), versions) > 60
    kinds = {row["method"] for row in await table(engine, "assessment_history")}
    assert kinds == {"rule", "model"}


async def test_the_message_has_the_bytes_that_are_stored(
    engine: AsyncEngine, store: PostgresStore
) -> None:
    """A published assessment is stored with the very bytes that were sent.

    Its numbers are the stored ones; the key is the customer; revisions grow by one per assessment.
    """
    scoring = replayed(engine, store)
    for happening in history(15, 30, seed=22):
        scoring.log.append(0, happening.value())
        if happening.name.endswith("5"):
            scoring.log.append(0, activity.tick(happening.time))
    await scoring.drain()
    rows = await table(engine, "assessment_history")
    sent = [m for m in scoring.sender.sent if m.topic == RISK]
    assert sorted(m.value or b"" for m in sent) == sorted(r["message"] for r in rows)
    for row in rows:
        told = DECODER.decode(row["message"])
        assert told.customer_id == row["customer_id"]
        assert (told.revision, told.assessed_at) == (row["revision"], row["assessed_at"])
        assert (told.probability, told.model_version) == (row["probability"], row["model_version"])
        assert {one.days: one.probability for one in told.horizons} == unpack(row["horizons"])
        falling = [one.probability for one in told.horizons]
        assert falling == sorted(falling, reverse=True)
    for message in sent:
        assert DECODER.decode(message.value or b"").customer_id.encode() == message.key
    current = {r["customer_id"]: r for r in await assessments(engine)}
    made: dict[str, list[int]] = {}
    for effects in scoring.done:
        for one in assessed(effects):
            made.setdefault(one.customer, []).append(one.revision)
    for customer, revisions in made.items():
        assert revisions == list(range(1, len(revisions) + 1))
        assert current[customer]["revision"] == len(revisions)
    for customer in made:
        told_revisions = [t.revision for t in scoring.told if t.customer_id == customer]
        assert told_revisions == sorted(set(told_revisions))


async def test_no_news_no_message(engine: AsyncEngine, store: PostgresStore) -> None:
    """A customer who buys every day at low risk is assessed with every tick.

    A message is sent at the first assessment, when the number has moved enough, and as a heartbeat
    every four weeks.
    """
    scoring = replayed(engine, store)
    for at in range(100):
        buys(scoring, "ann", at)
        ticks(scoring, at + 0.25)
    await scoring.drain()
    made = [a for effects in scoring.done for a in assessed(effects)]
    assert len(made) == 100
    told = scoring.told
    assert told[0].revision == 1
    for before, now in pairwise(told):
        assert any(
            (
                now.band != before.band,
                abs(now.probability - before.probability) >= 0.1 - 1e-9,
                now.assessed_at - before.assessed_at >= HEARTBEAT,
            )
        )
    late = [t for t in told if t.assessed_at > day(20)]
    gaps = {b.assessed_at - a.assessed_at for a, b in pairwise(late)}
    assert gaps == {HEARTBEAT}
    silent = [a for a in made if a.message is None]
    assert len(silent) > 40


async def test_customers_at_rising_risk_are_published_at_every_assessment(
    engine: AsyncEngine, store: PostgresStore
) -> None:
    """Customers at rising risk are published at every assessment.

    A lapse takes 28 days. From 0.4 of them on a message is sent with every assessment, which are
    1.4 days and so two daily ticks apart, from 0.6 on a day apart, with reasons; then once when the
    lapse is reached, and about every four weeks.
    """
    scoring = replayed(engine, store)
    buys(scoring, "ann", *range(0, 30, 2))
    ticks(scoring, *(n + 0.5 for n in range(28, 160)))
    await scoring.drain()
    assert {t.lapse.days for t in scoring.told if t.lapse} == {28.0}
    silent = [(t.days_silent or 0.0, t) for t in scoring.told]
    watched = [(days, t) for days, t in silent if 0.4 * 28 <= days < 28]
    assert [days for days, _ in watched] == [11.5, 13.5, 15.5, *(17.5 + n for n in range(11))]
    assert all(t.reasons for _, t in watched)
    assert [bool(t.signs) for _, t in watched] == [days >= 14 for days, _ in watched]
    # Her gaps do not vary (Erlang-8), so that after 28.5 days she is gone for certain: the number
    # moves no more and is sent again every four weeks.
    assert [days for days, _ in silent if days >= 28] == [28.5, 56.5, 84.5, 112.5]


async def test_a_return_is_news_at_once(engine: AsyncEngine, store: PostgresStore) -> None:
    """A high-risk customer who buys again is published with the next tick, with the former band."""
    scoring = replayed(engine, store)
    buys(scoring, "ann", *range(0, 30, 2))
    ticks(scoring, *range(30, 55))
    buys(scoring, "ann", 55)
    ticks(scoring, 55.5)
    await scoring.drain()
    *_, before, back = scoring.told
    assert back.assessed_at == day(55.5)
    assert back.previous_band == before.band != back.band
    assert back.probability < before.probability - HYSTERESIS
    assert back.days_silent == pytest.approx(0.5)


async def test_a_complaint_is_a_reason(engine: AsyncEngine, store: PostgresStore) -> None:
    """An unresolved complaint of a customer at risk is published as a reason with its numbers.

    It is no reason any more once it is closed (R8).
    """
    scoring = replayed(engine, store)
    buys(scoring, "ann", *range(0, 30, 2))
    value = activity.feedback("f1", "ann", day(40), "complaint_opened")
    scoring.log.append(0, value)
    ticks(scoring, *range(41, 54))
    scoring.log.append(0, activity.feedback("f2", "ann", day(53.5), "complaint_closed"))
    ticks(scoring, *range(54, 57))
    await scoring.drain()
    watched = [t for t in scoring.told if t.reasons]
    open_ = [t for t in watched if t.assessed_at < day(53.5)]
    closed = [t for t in watched if t.assessed_at > day(53.5)]
    for told in open_:
        [reason] = [r for r in told.reasons if r.code == "complaint_open"]
        assert reason.facts["complaints_open"] == 1
    assert open_
    assert closed
    assert not any(r.code == "complaint_open" for t in closed for r in t.reasons)


def test_messages_fit_the_contract() -> None:
    """A message decodes strictly as the contract's type (a probability in [0, 1])."""
    with pytest.raises(msgspec.ValidationError):
        DECODER.decode(b'{"customer_id": "a", "probability": 1.5}')
    assert RiskAssessed.__struct_config__.frozen
