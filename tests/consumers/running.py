"""Runs the software of others in environments of its own: `.venv-consumers` and Node.

`make test` makes both. A test that needs one that is missing fails in CI, and is skipped on a
machine that has not made it.
"""

import asyncio
import json
import os
import shutil
import subprocess
from pathlib import Path
from typing import Any, NoReturn

import pytest

HERE = Path(__file__).parent
ENVIRONMENT = HERE.parents[1] / ".venv-consumers"
PYTHON = ENVIRONMENT / "bin" / "python"
TRYTON = ENVIRONMENT / "tryton"
"""The data of a Tryton server, to be copied."""


async def python(script: str, *arguments: str, given: Any = None) -> Any:
    """What a Python script prints."""
    if not PYTHON.exists():
        missing("make consumers")
    return await _run(str(PYTHON), "-W", "ignore", str(HERE / script), *arguments, given=given)


async def node(script: str, *arguments: str, given: Any = None) -> Any:
    """What a Node script prints."""
    found = shutil.which("node")
    if found is None or not (HERE / "node_modules").exists():
        missing("install Node.js >= 18 with npm, and make consumers")
    return await _run(str(found), str(HERE / script), *arguments, given=given)


def missing(mend: str) -> NoReturn:
    """Fail in CI, skip elsewhere: what the test runs has not been made."""
    text = f"the software of others that this test runs is not there: {mend}"
    if os.environ.get("CI"):
        pytest.fail(text)
    pytest.skip(text)


async def _run(*command: str, given: Any) -> Any:
    process = await asyncio.create_subprocess_exec(
        *command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE
    )
    sent = None if given is None else json.dumps(given).encode()
    out, err = await process.communicate(sent)
    assert process.returncode == 0, err.decode()
    return json.loads(out.splitlines()[-1])
