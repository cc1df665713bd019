"""Ends a command with one line where Ctrl-C comes while its modules are imported.

Imports only the standard library, so that it is in force within milliseconds.
"""

import os
import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, Final

INTERRUPTED: Final = "interrupted"
STATUS: Final = 128 + signal.SIGINT
"""The exit status of a command that Ctrl-C ended."""


@contextmanager
def ended_by_interrupt() -> Iterator[None]:
    """Ends the process at SIGINT: nothing has begun that would have to be finished.

    An exception instead could come within any module's import, and be taken for a failure of it.
    """
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    before = signal.signal(signal.SIGINT, _end)
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, before)


def _end(_: int, __: Any) -> None:
    os.write(2, f"{INTERRUPTED}\n".encode())
    os._exit(STATUS)
