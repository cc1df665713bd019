"""The hostile run's short profile: no input ends a service, stalls it, or causes a 500."""

from os import environ

import pytest

from deploy.demo.services import NAMES
from deploy.local.stack import DATA
from tests.conftest import WORKER
from tests.hostile.figures import CONTROLS
from tests.hostile.run import PROFILES, play

pytestmark = pytest.mark.timeout(600)


async def test_nothing_from_outside_ends_or_stalls_a_service() -> None:
    """A few hundred requests, records and answers of remote systems, the same in every run."""
    profile = PROFILES["short"]
    folder = DATA / "test" / f"{WORKER}-hostile"
    figures = await play(folder, environ, profile=profile, seed=17)
    assert not figures.wrong(), "\n".join(figures.lines())
    for name, outcome in figures.outcomes.items():
        assert outcome.answers.total() > profile.requests * 0.9, name
        assert outcome.answers[422] > profile.requests * 0.2, name
    assert figures.records > profile.records * 0.8
    assert figures.answers.total() >= profile.answers
    assert figures.results.keys() >= {"ok", "retry", "ambiguous"}
    assert figures.neighbour.sent > 0
    assert all(seen.looks > 0 for seen in figures.neighbour.livez.values())
    assert len(figures.neighbour.livez) == len(NAMES)
    assert {row["attack"] for row in figures.ratios()} == set(CONTROLS)
