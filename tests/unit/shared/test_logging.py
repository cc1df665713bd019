"""Log output: one line for each event, and no row or parameter of PostgreSQL."""

import io
import json
import logging
import sys
from collections.abc import Iterator

import pytest
import structlog
from hypothesis import given
from hypothesis import strategies as st

from services.scoring.core.segments.patterns import WRONG, pattern
from shared.observability.logging import configure_logging, without_values
from shared.observability.repeats import MESSAGES_MAX, REPEAT_S, RepeatFilter
from shared.observability.tracing import about, attempting
from shared.postgres.engine import create_engine
from shared.postgres.settings import PostgresSettings
from tests.fakes.clock import SetClock

SECRET = "ann@example.com"
FORGED = 'x\n{"event": "forged", "level": "error"}'


class Terminal(io.StringIO):
    """Output of a terminal."""

    def isatty(self) -> bool:
        return True


@pytest.fixture(params=[io.StringIO])
def logged(
    request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch
) -> Iterator[io.StringIO]:
    """Provide the log output; afterwards restore the logging of the test run."""
    root, shown = logging.getLogger(), request.param()
    before = root.handlers[:], root.level
    monkeypatch.setattr(sys, "stderr", shown)
    configure_logging("none")
    yield shown
    root.handlers[:], root.level = before
    structlog.reset_defaults()
    structlog.contextvars.clear_contextvars()


def test_a_text_makes_no_line_of_its_own(logged: io.StringIO) -> None:
    structlog.get_logger("t").warning(FORGED, rule=FORGED)
    try:
        int(FORGED)
    except ValueError:
        logging.getLogger("t").exception(FORGED)
    lines = [json.loads(line) for line in logged.getvalue().splitlines()]
    assert [line["event"] for line in lines] == [FORGED, FORGED]
    assert "forged" in lines[1]["exception"]


@pytest.mark.parametrize("logged", [Terminal], indirect=True)
def test_on_a_terminal_lines_are_readable_and_no_text_makes_one(logged: io.StringIO) -> None:
    structlog.get_logger("t").warning("refused", field="x\x1b[2J\n2026-01-01T00:00 [info] forged")
    try:
        int("x\n2026-01-01T00:00:00Z [info] forged")
    except ValueError:
        logging.getLogger("t").exception("failed")
    first, *others = logged.getvalue().splitlines()
    assert "refused" in first
    assert "service" in first
    with pytest.raises(json.JSONDecodeError):
        json.loads(first)
    assert [line for line in others if "failed" in line and "error" in line]
    assert not [line for line in logged.getvalue().splitlines() if line.startswith("2026-01-01")]
    assert "\x1b[2J" not in logged.getvalue()


def test_a_line_names_the_trace_that_is_current(logged: io.StringIO) -> None:
    trace = f"00-{7:032x}-{5:016x}-01"
    with attempting("send", trace, {}):
        structlog.get_logger("t").info("within")
        logging.getLogger("t").warning("of a library")
    with about((("traceparent", trace.encode()), ("baggage", b"x"))):
        structlog.get_logger("t").info("about a record")
    with about((("traceparent", b"nonsense"),)):
        structlog.get_logger("t").info("outside")
    within, library, record, outside = (json.loads(line) for line in logged.getvalue().splitlines())
    for line in (within, library, record):
        assert (line["trace_id"], line["span_id"]) == (f"{7:032x}", f"{5:016x}")
    assert "trace_id" not in outside


def test_a_library_that_repeats_itself_does_not_fill_the_log(logged: io.StringIO) -> None:
    library = logging.getLogger("aiokafka.conn")
    for _ in range(1_000):
        for node in ("a", "b"):
            library.error("Unable to connect to %s", node)
        library.warning("Unable to connect to %s", "a")
    for bug in (KeyError("one"), ValueError("two")):
        library.error("Unexpected error", exc_info=bug)
    logging.getLogger("services.ingest").error("Unable to connect to %s", 1)
    structlog.get_logger("services.ingest").error("Unable to connect to %s", 2)
    lines = [json.loads(line) for line in logged.getvalue().splitlines()]
    assert [(line["level"], line["event"]) for line in lines] == [
        ("error", "Unable to connect to a"),
        ("error", "Unable to connect to b"),
        ("warning", "Unable to connect to a"),
        ("error", "Unexpected error"),
        ("error", "Unexpected error"),
        ("error", "Unable to connect to 1"),
        ("error", "Unable to connect to 2"),
    ]


def test_a_fault_that_goes_on_is_written_again_with_the_number_left_out(
    logged: io.StringIO, monkeypatch: pytest.MonkeyPatch
) -> None:
    clock = SetClock()
    monkeypatch.setattr(sys, "stderr", logged)
    configure_logging("none", clock=clock)

    def log(message: str) -> None:
        logging.getLogger("aiokafka").error(message, "node 1")

    for _ in range(4):
        log("%s: refused")
    clock.seconds += REPEAT_S - 0.1
    log("%s: refused")
    clock.seconds += 0.2
    log("%s: gone")
    log("%s: refused")
    clock.seconds += REPEAT_S + 1
    log("%s: refused")
    lines = [json.loads(line) for line in logged.getvalue().splitlines()]
    assert [(line["event"], line.get("left_out")) for line in lines] == [
        ("node 1: refused", None),
        ("node 1: gone", None),
        ("node 1: refused", 4),
        ("node 1: refused", None),
    ]


def test_the_messages_remembered_are_bounded() -> None:
    """What is forgotten is written again: forgetting never hides a message."""
    repeats = RepeatFilter(["aiokafka"], SetClock())
    for number in (*range(MESSAGES_MAX + 1), 0):
        record = logging.LogRecord("aiokafka", 40, "x.py", 1, f"odd {number}", (), None)
        assert repeats.filter(record)
    assert not repeats.filter(record)


def test_a_wrong_expression_is_not_logged_by_the_library(capfd: pytest.CaptureFixture[str]) -> None:
    for text in (f"({FORGED}", "\ud800", "(" * 2_000, "a{99999}"):
        with pytest.raises(WRONG):
            pattern(text)
    assert capfd.readouterr().err == ""


def test_statements_do_not_show_their_parameters() -> None:
    engine = create_engine(PostgresSettings(url="postgresql://nobody@127.0.0.1/none"), "test")
    assert engine.sync_engine.hide_parameters


QUOTED = st.sampled_from(
    [f"DETAIL:  Key (customer_id)=({SECRET}) already exists.",
     f"DETAIL:  Failing row contains ({SECRET},\n{SECRET}, 1).",
     f"asyncpg.DataError: invalid input for query argument $3: '{SECRET}' (expected int)",
     f'invalid input syntax for type integer: "{SECRET}"',
     f'date/time field value out of range: "{SECRET}"',
     f"invalid input for query argument $12: ['{SECRET}\n', 'b'] (a sized iterable is expected)"]
)  # fmt: skip
AFTER = st.sampled_from(
    ["", "\nHINT:  none", "\n\nThe above exception was the direct cause", "\n  File \"x\", line 1",
     "\nTraceback (most recent call last):", "\n[SQL: SELECT 1]"]
)  # fmt: skip


@given(QUOTED, AFTER)
def test_what_postgresql_quotes_is_left_out(quoted: str, after: str) -> None:
    event = without_values(None, "error", {"exception": f"Traceback\n{quoted}{after}", "n": 1})
    assert SECRET not in event["exception"]
    assert event["exception"].endswith(f"(left out){after}")
