"""Keeps client libraries from filling the log: a message that repeats is written once in a while.

aiokafka reports each attempt to connect: 150 to 240 lines a second and process while no broker
answers.
"""

import logging
from collections.abc import Collection
from typing import Final

from shared.runtime.clock import Clock

REPEAT_S: Final = 30.0
"""Seconds for which a message is left out after it was written: often enough to see that a fault
goes on."""

MESSAGES_MAX: Final = 256
"""How many different messages are remembered: those of a library are far fewer, unless it puts
numbers that go up into them."""


LEFT_OUT: Final = "left_out"
"""Attribute of a record: how many like it were not written since the one before."""


class RepeatFilter(logging.Filter):
    """Lets each message of some libraries pass once in `REPEAT_S`, with how many were `LEFT_OUT`.

    A message is a text of one logger at one level. What has a traceback always passes: the same
    text may stand for different bugs.
    """

    def __init__(self, libraries: Collection[str], clock: Clock) -> None:
        """`libraries`: names of their top loggers; everything else passes."""
        super().__init__()
        self._libraries = frozenset(libraries)
        self._clock = clock
        self._written: dict[tuple[str, int, str], tuple[float, int]] = {}
        """Of each message: when it was written last, and how many were left out since."""

    def filter(self, record: logging.LogRecord) -> bool:
        """Return whether to write this one."""
        if record.exc_info or record.name.partition(".")[0] not in self._libraries:
            return True
        now, key = self._clock.monotonic(), (record.name, record.levelno, _text(record))
        written_at, left_out = self._written.pop(key, (-REPEAT_S, 0))
        if now - written_at < REPEAT_S:
            self._written[key] = written_at, left_out + 1
            return False
        if left_out:
            setattr(record, LEFT_OUT, left_out)
        self._written[key] = now, 0
        if len(self._written) > MESSAGES_MAX:
            # The one not seen for the longest time; another thread may have removed it.
            self._written.pop(next(iter(self._written)), None)
        return True


def _text(record: logging.LogRecord) -> str:
    try:
        return record.getMessage()
    except (TypeError, ValueError):  # arguments that do not fit: the handler reports it
        return str(record.msg)
