"""The hostile run's short profile: nothing that comes in ends a service, stalls it, or is a 500."""

from os import environ

import pytest

from deploy.local.stack import DATA
from tests.conftest import WORKER
from tests.hostile.run import PROFILES, play

pytestmark = pytest.mark.timeout(600)


async def test_nothing_from_outside_ends_or_stalls_a_service() -> None:
    """A few hundred requests and records, the same ones in every run."""
    profile = PROFILES["short"]
    folder = DATA / "test" / f"{WORKER}-hostile"
    figures = await play(
        folder, environ, requests=profile.requests, records=profile.records, seed=17
    )
    assert not figures.wrong(), "\n".join(figures.lines())
    for name, outcome in figures.outcomes.items():
        assert outcome.answers.total() > profile.requests * 0.9, name
        assert outcome.answers[422] > profile.requests * 0.2, name
    assert figures.records > profile.records * 0.8
