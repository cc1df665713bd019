"""Structured logs: one JSON object a line on standard error, context variables included.

No secret is logged: settings hold secrets as `SecretStr`, and messages carry ids and counts. A line
break in a text is escaped, so that no text makes a line of its own.
"""

import logging
import re
import sys
from typing import Final

import structlog

VALUES: Final = re.compile(
    r"(?s)(\bDETAIL: |invalid input for query argument \$\d+: |invalid input syntax for type "
    r"[\w ]+: |\bfield value out of range: )"
    r".*?(?=\n(?:HINT|CONTEXT): |\n\[SQL: |\n\(Background on |\n\nThe above exception|\n\nDuring "
    r"handling|\nTraceback \(most recent|\n  File \"|\Z)"
)
"""Where PostgreSQL and its driver quote rows and parameters: customers' data."""
MARKS: Final = ("DETAIL: ", "query argument", "input syntax for", "out of range: ")
"""Every text that `VALUES` matches contains one of these."""


def configure_logging(service: str, level: str = "INFO") -> None:
    """Routes structlog and the standard library through one JSON renderer."""
    shared: list[structlog.typing.Processor] = [
        structlog.contextvars.merge_contextvars,
        structlog.stdlib.add_log_level,
        structlog.stdlib.add_logger_name,
        structlog.processors.TimeStamper(fmt="iso", utc=True),
    ]
    structlog.configure(
        processors=[*shared, structlog.stdlib.ProcessorFormatter.wrap_for_formatter],
        logger_factory=structlog.stdlib.LoggerFactory(),
        cache_logger_on_first_use=True,
    )
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(
        structlog.stdlib.ProcessorFormatter(
            foreign_pre_chain=shared,
            processors=[
                structlog.stdlib.ProcessorFormatter.remove_processors_meta,
                structlog.processors.format_exc_info,
                without_values,
                structlog.processors.JSONRenderer(),
            ],
        )
    )
    root = logging.getLogger()
    root.handlers[:] = [handler]
    root.setLevel(level)
    # Our own metrics report better what client libraries log at INFO.
    for noisy in ("aiokafka", "httpx", "httpcore", "uvicorn", "alembic"):
        logging.getLogger(noisy).setLevel(max(logging.getLevelName(level), logging.WARNING))
    structlog.contextvars.bind_contextvars(service=service)


def without_values(
    _: object, __: str, event: structlog.typing.EventDict
) -> structlog.typing.EventDict:
    """Removes the rows and parameters that PostgreSQL's errors quote from the event."""
    for name, value in event.items():
        if isinstance(value, str) and any(mark in value for mark in MARKS):
            event[name] = VALUES.sub(r"\1(left out)", value)
    return event
