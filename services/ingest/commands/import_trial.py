"""What a dry run of `import` shows: the first events, the rejected rows and the counts."""

import json
from collections.abc import Iterator, Sequence
from itertools import chain, islice
from typing import Any, Final

from rich.cells import cell_len

from services.ingest.core.file_events import FileEvent
from services.ingest.handlers.import_files import ImportFiles, Outcome, PreparedFile

SHOWN: Final = 10
"""Events, and rejected rows of a file, that are shown."""

CELL_MAX: Final = 40
"""Columns of the screen that one value takes at most."""

HEADER: Final = ("time", "customer", "type", "amount", "id", "more")


def tried(handler: ImportFiles, files: Sequence[PreparedFile]) -> tuple[Outcome, list[FileEvent]]:
    """Decides on every row without sending; returns the counts and the first events."""
    outcome = Outcome()
    events = chain.from_iterable(handler.judged(prepared, outcome) for prepared in files)
    first = list(islice(events, SHOWN))
    outcome.events = len(first) + sum(1 for _ in events)
    return outcome, first


def as_text(
    files: Sequence[PreparedFile], outcome: Outcome, first: Sequence[FileEvent]
) -> Iterator[str]:
    """Yields the lines for a person."""
    if first:
        yield f"the first {len(first)} of {outcome.events:,} events (times are UTC):"
        yield from _table([HEADER, *(_row(json.loads(event.value)) for event in first)])
    for prepared in files:
        reasons = prepared.rejects.reasons
        for row in sorted(reasons)[:SHOWN]:
            yield f"rejected: {prepared.rejects.file} row {row}: {reasons[row]}"
        if len(reasons) > SHOWN:
            yield f"rejected: {len(reasons) - SHOWN:,} further rows of {prepared.rejects.file}"
    yield from counted(files)
    rejected = sum(len(prepared.rejects.reasons) for prepared in files)
    yield (
        f"{outcome.events:,} events of {len(outcome.customers):,} customers; rejected rows: "
        f"{rejected:,}; nothing was sent"
    )
    yield "next: the same command without --dry-run"


def as_json(
    files: Sequence[PreparedFile], outcome: Outcome, first: Sequence[FileEvent]
) -> Iterator[str]:
    """Yields one JSON object: counts, all rejected rows, the first events as they would be sent."""
    rejected = [
        {"file": prepared.rejects.file, "row": row, "reason": prepared.rejects.reasons[row]}
        for prepared in files
        for row in sorted(prepared.rejects.reasons)
    ]
    found = {
        "events": outcome.events,
        "customers": len(outcome.customers),
        "columns": {prepared.rejects.file: prepared.file.read().columns for prepared in files},
        "first": [json.loads(event.value) for event in first],
        "rejected": rejected,
    }
    yield json.dumps(found, ensure_ascii=False)


def counted(files: Sequence[PreparedFile]) -> Iterator[str]:
    """Yields which rows were left out or joined."""
    for prepared in files:
        read = prepared.file.read()
        for line in read.counts():
            yield f"{read.file}: {line}"


def _row(event: dict[str, Any]) -> tuple[str, ...]:
    data = event["data"]
    others = {k: v for k, v in data.items() if k not in ("amount", "currency", "order_id")}
    if "items" in others:
        others["items"] = len(others["items"])
    kind = event["type"].removeprefix("io.ebbwatch.")
    amount = f"{data['amount']} {data.get('currency', '')}".strip() if "amount" in data else ""
    more = ", ".join(f"{name} {value}" for name, value in others.items())
    time = event["time"].removesuffix("Z").replace("T", " ")
    return (time, event["subject"], kind, amount, event["id"], more)


def _table(rows: Sequence[tuple[str, ...]]) -> Iterator[str]:
    """Yields aligned lines; wide (Chinese) characters take two columns of a screen."""
    cut = [tuple(x if len(x) <= CELL_MAX else f"{x[: CELL_MAX - 1]}…" for x in row) for row in rows]
    widths = [max(map(cell_len, column)) for column in zip(*cut, strict=True)]
    for row in cut:
        cells = (
            " " * (width - cell_len(x)) + x if name == "amount" else x + " " * (width - cell_len(x))
            for name, x, width in zip(HEADER, row, widths, strict=True)
        )
        yield f"  {'  '.join(cells)}".rstrip()
