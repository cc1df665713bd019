"""Each service behaves as its OpenAPI document describes, by every check of schemathesis."""

import asyncio
import os
import subprocess
import sys
from pathlib import Path

import pytest

from deploy.demo.services import NAMES
from deploy.local.stack import DATA
from tests.conftest import WORKER
from tests.hostile.environment import HostileEnvironment

pytestmark = pytest.mark.timeout(900)

EXAMPLES = 10
"""Generated requests of each operation and phase."""

NOT_SAID_BY_A_SCHEMA = "positive_data_acceptance"
"""The check that everything that fits the schema is accepted. A made-up cursor, a rule or a
template that does not compile, a U+0000 and two fields that exclude one another fit it and are
refused on purpose."""


def check(url: str, token: str) -> subprocess.CompletedProcess[str]:
    """Runs every other check against one service."""
    command = [sys.executable, "-m", "schemathesis.cli", "run", f"{url}/openapi.json", "--url", url]
    command += ["-H", f"Authorization: Bearer {token}", "--checks", "all", "--no-color"]
    command += ["--exclude-checks", NOT_SAID_BY_A_SCHEMA, "--continue-on-failure"]
    command += ["--max-examples", str(EXAMPLES), "--seed", "7"]
    return subprocess.run(command, capture_output=True, text=True, check=False)


async def test_services_behave_as_their_documents_describe(tmp_path: Path) -> None:
    """No finding on any of the three."""
    async with HostileEnvironment.open(
        DATA / "test" / f"{WORKER}-described", os.environ
    ) as environment:
        for name in NAMES:
            found = await asyncio.to_thread(
                check, environment.services.url(name), environment.tokens[name]
            )
            assert found.returncode == 0, f"{name}:\n{found.stdout[-6_000:]}{found.stderr[-2_000:]}"
