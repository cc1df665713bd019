"""Runs operator commands within the process of the tests, which starts faster than a new one."""

import asyncio
import io
import os
from collections.abc import Callable, Mapping, Sequence
from contextlib import redirect_stderr, redirect_stdout
from typing import Any
from unittest import mock

from shared.runtime.command_line import ServiceSpec, main


async def run_command(
    spec: ServiceSpec,
    add_commands: Callable[[Any], None],
    environment: Mapping[str, str],
    arguments: Sequence[str],
) -> tuple[int, str, str]:
    """Return exit status, output and error text of a command; it has a thread and loop of its own.

    `environment` replaces that of the process meanwhile.
    """
    out, err = io.StringIO(), io.StringIO()
    with (
        mock.patch.dict(os.environ, environment, clear=True),
        redirect_stdout(out),
        redirect_stderr(err),
    ):
        status = await asyncio.to_thread(main, spec, add_commands, [*arguments])
    return status, out.getvalue(), err.getvalue()
