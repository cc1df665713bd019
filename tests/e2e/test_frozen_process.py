"""A server that accepts connections and never answers: every service reports it, and recovers."""

import asyncio
import time
from collections.abc import AsyncIterator, Mapping
from pathlib import Path

import httpx
import pytest

from deploy.demo.services import NAMES
from tests.hostile.environment import HostileEnvironment

TOLD_S_MAX = 10.0
"""Seconds from the freeze to the report, as promised."""

WELL_S_MAX = 60.0
"""Seconds from the thaw until each is ready: a group may have to be joined anew."""

pytestmark = pytest.mark.timeout(400)


@pytest.fixture
async def environment(
    folder: Path, environ: Mapping[str, str]
) -> AsyncIterator[HostileEnvironment]:
    """Runs the three services on their own servers."""
    async with HostileEnvironment.open(folder, environ) as made:
        yield made


async def ready(environment: HostileEnvironment) -> dict[str, httpx.Response]:
    """Returns the readiness of each service."""
    async with httpx.AsyncClient(timeout=10.0) as client:
        answers = await asyncio.gather(
            *(client.get(f"{environment.services.url(name)}/readyz") for name in NAMES)
        )
    return dict(zip(NAMES, answers, strict=True))


@pytest.mark.parametrize("server", ["postgres", "kafka"])
async def test_a_frozen_server_is_reported_in_time(
    environment: HostileEnvironment, server: str
) -> None:
    """Every service reports it by name within ten seconds; liveness is unaffected.

    Each service recovers by itself.
    """
    frozen = environment.stack.postgres if server == "postgres" else environment.stack.kafka
    frozen.freeze()
    try:
        began = time.monotonic()
        waiting = set(NAMES)
        while waiting and time.monotonic() - began < TOLD_S_MAX:
            for name, answer in (await ready(environment)).items():
                if answer.status_code == 503 and server in answer.json()["missing"]:
                    waiting.discard(name)
        assert not waiting, f"{sorted(waiting)} said nothing of {server}"
        async with httpx.AsyncClient(timeout=5.0) as client:
            for name in NAMES:
                live = await client.get(f"{environment.services.url(name)}/livez")
                assert live.status_code == 200
    finally:
        frozen.thaw()
    deadline = time.monotonic() + WELL_S_MAX
    while True:
        answers = await ready(environment)
        if all(answer.status_code == 200 for answer in answers.values()):
            break
        assert time.monotonic() < deadline, {n: a.text for n, a in answers.items()}
        await asyncio.sleep(0.2)
    assert not environment.dead()
