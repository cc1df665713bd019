"""The store of answers on the real database, and the unit tests' fake, pass the same suite."""

import asyncio
from collections.abc import AsyncIterator
from datetime import timedelta

import pytest
from sqlalchemy.ext.asyncio import AsyncEngine

from services.ingest.ports import Answer, Answers, Claimed
from services.ingest.store.answers import StoredAnswers
from shared.http.idempotency import KEPT
from shared.postgres.engine import create_engine
from shared.postgres.settings import PostgresSettings
from tests.unit.ingest.fakes import NOW, FakeAnswers

pytestmark = pytest.mark.stack

DONE = Answer(202, b'{"accepted": 1}')


@pytest.fixture
async def engine(database_url: str) -> AsyncIterator[AsyncEngine]:
    """Provide an engine on ingest's tables."""
    engine = create_engine(PostgresSettings.model_validate({"url": database_url}), "test")
    yield engine
    await engine.dispose()


@pytest.fixture(params=["real", "fake"])
def answers(request: pytest.FixtureRequest, engine: AsyncEngine) -> Answers:
    """Provide the real store, or the fake."""
    return StoredAnswers(engine) if request.param == "real" else FakeAnswers()


async def test_the_first_claim_counts(answers: Answers) -> None:
    """Of several at once, one; another owner's key is another key."""
    digests = [b"%d" % n for n in range(8)]
    found = await asyncio.gather(*(answers.claim("a", "k", d, NOW) for d in digests))
    assert len({claimed.digest for claimed in found}) == 1
    assert {claimed.answer for claimed in found} == {None}
    assert await answers.claim("b", "k", b"b", NOW) == Claimed(b"b", None)


async def test_an_answer_is_kept_for_a_day(answers: Answers) -> None:
    """Then the key is free again."""
    await answers.claim("a", "k", b"1", NOW)
    await answers.store("a", "k", DONE)
    later = NOW + KEPT - timedelta(seconds=1)
    assert await answers.claim("a", "k", b"2", later) == Claimed(b"1", DONE)
    assert await answers.claim("a", "k", b"2", NOW + KEPT) == Claimed(b"2", None)
