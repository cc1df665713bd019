"""Structured logs on standard error: one JSON object a line, on a terminal a readable line.

Context variables are included (within a batch: topic, partition, offset), and the trace that is
current.

No secret is logged: settings hold secrets as `SecretStr`, and messages carry ids and counts. A line
break in a text is escaped, so that no text makes a line of its own.
"""

import logging
import re
import sys
from typing import Final

import structlog
from opentelemetry.trace import get_current_span

from shared.observability.repeats import LEFT_OUT, RepeatFilter
from shared.runtime.clock import Clock, SystemClock
from shared.runtime.terminal import visible

VALUES: Final = re.compile(
    r"(?s)(\bDETAIL: |invalid input for query argument \$\d+: |invalid input syntax for type "
    r"[\w ]+: |\bfield value out of range: )"
    r".*?(?=\n(?:HINT|CONTEXT): |\n\[SQL: |\n\(Background on |\n\nThe above exception|\n\nDuring "
    r"handling|\nTraceback \(most recent|\n  File \"|\Z)"
)
"""Where PostgreSQL and its driver quote rows and parameters: customers' data."""
LIBRARIES: Final = ("aiokafka", "httpx", "httpcore", "uvicorn", "alembic")
"""Client libraries and frameworks that log on their own."""
REPEATING: Final = ("aiokafka",)
"""Those that log each attempt while a server is down."""
MARKS: Final = ("DETAIL: ", "query argument", "input syntax for", "out of range: ")
"""Every text that `VALUES` matches contains one of these."""


def configure_logging(service: str, level: str = "INFO", clock: Clock | None = None) -> None:
    """Routes structlog and the standard library through one renderer."""
    shared: list[structlog.typing.Processor] = [
        structlog.contextvars.merge_contextvars,
        with_trace,
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
            foreign_pre_chain=[*shared, structlog.stdlib.ExtraAdder([LEFT_OUT])],
            processors=[
                structlog.stdlib.ProcessorFormatter.remove_processors_meta,
                structlog.processors.format_exc_info,
                without_values,
                *_renderer(sys.stderr.isatty()),
            ],
        )
    )
    handler.addFilter(RepeatFilter(REPEATING, clock or SystemClock()))
    root = logging.getLogger()
    root.handlers[:] = [handler]
    root.setLevel(level)
    # Our own metrics report better what client libraries log at INFO.
    for noisy in LIBRARIES:
        logging.getLogger(noisy).setLevel(max(logging.getLevelName(level), logging.WARNING))
    structlog.contextvars.bind_contextvars(service=service)


def _renderer(terminal: bool) -> list[structlog.typing.Processor]:  # noqa: FBT001 (private)
    if not terminal:
        return [structlog.processors.JSONRenderer()]
    return [on_one_line, structlog.dev.ConsoleRenderer(pad_level=False)]


def on_one_line(
    _: object, __: str, event: structlog.typing.EventDict
) -> structlog.typing.EventDict:
    """Escapes control characters for a terminal, and indents tracebacks: no text is a line."""
    for name, value in event.items():
        if name == "exception":
            event[name] = "\n".join(f"  {visible(line)}" for line in str(value).splitlines())
        elif isinstance(value, str):
            event[name] = visible(value).replace("\n", "\\n")
    return event


def with_trace(_: object, __: str, event: structlog.typing.EventDict) -> structlog.typing.EventDict:
    """Adds the ids of the trace and the span that are current."""
    context = get_current_span().get_span_context()
    if context.is_valid:
        event["trace_id"] = f"{context.trace_id:032x}"
        event["span_id"] = f"{context.span_id:016x}"
    return event


def without_values(
    _: object, __: str, event: structlog.typing.EventDict
) -> structlog.typing.EventDict:
    """Removes the rows and parameters that PostgreSQL's errors quote from the event."""
    for name, value in event.items():
        if isinstance(value, str) and any(mark in value for mark in MARKS):
            event[name] = VALUES.sub(r"\1(left out)", value)
    return event
