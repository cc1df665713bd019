"""HTTP API that exports everything a service stores of one customer."""

import csv
import io
import tempfile
import zipfile
from collections.abc import AsyncIterator, Mapping
from datetime import datetime
from typing import IO, Annotated, Any, Final, Literal

import msgspec
from fastapi import Depends, FastAPI, HTTPException, Path, Response
from fastapi.responses import StreamingResponse

from shared.contracts.events import ID_LENGTH_MAX
from shared.http.access import Tokens, require
from shared.http.declared import audits
from shared.postgres.export import CustomerExport
from shared.runtime.clock import Clock

IN_MEMORY_BYTES_MAX: Final = 8 * 1024 * 1024
"""Bytes of an archive before it goes to a temporary file."""
CHUNK_BYTES: Final = 64 * 1024

FORMS: Final[dict[int | str, dict[str, Any]]] = {
    200: {
        "description": "Everything that is stored of the customer",
        "content": {
            "application/json": {"schema": {"type": "object"}},
            "application/zip": {"schema": {"type": "string", "format": "binary"}},
        },
    }
}

CustomerId = Annotated[str, Path(min_length=1, max_length=ID_LENGTH_MAX)]


def add_export_routes(app: FastAPI, export: CustomerExport, tokens: Tokens, clock: Clock) -> None:
    """Add `GET /v1/exports/{customer_id}`."""
    exports = [Depends(require(tokens, "customers:export"))]

    @app.get(
        "/v1/exports/{customer_id:path}", dependencies=exports, tags=["exports"], responses=FORMS
    )
    @audits("personal")
    async def exported(
        customer_id: CustomerId,
        format: Literal["json", "csv"] = "json",  # noqa: A002
    ) -> Response:
        """Export everything stored of a customer: one JSON document, or a ZIP of CSV files."""
        rows = export.rows(customer_id)
        first = await anext(rows, None)
        if first is None:
            raise HTTPException(404, f"nothing is stored here of a customer {customer_id!r}")
        every = _after(first, rows)
        if format == "csv":
            return StreamingResponse(
                _chunks(await archive(every, export)),
                media_type="application/zip",
                headers={"Content-Disposition": 'attachment; filename="customer.zip"'},
            )
        head = {"customer_id": customer_id, "exported_at": clock.now(), "about": export.about}
        return StreamingResponse(document(head, every, export), media_type="application/json")


async def _after(
    first: tuple[str, dict[str, Any]], rows: AsyncIterator[tuple[str, dict[str, Any]]]
) -> AsyncIterator[tuple[str, dict[str, Any]]]:
    yield first
    async for each in rows:
        yield each


async def document(
    head: Mapping[str, Any],
    rows: AsyncIterator[tuple[str, dict[str, Any]]],
    export: CustomerExport,
) -> AsyncIterator[bytes]:
    """Write one JSON document, table by table, without holding all of it."""
    yield _json(head)[:-1] + b', "data": {'
    table = None
    async for name, row in rows:
        if name != table:
            begin = b"" if table is None else b"\n]}, "
            said = _json(export.described(name))[:-1]
            yield begin + b"\n" + _json(name) + b": " + said + b', "rows": ['
        yield (b"\n" if name != table else b",\n") + _json(row)
        table = name
    yield b"\n]}}}\n"


async def archive(
    rows: AsyncIterator[tuple[str, dict[str, Any]]], export: CustomerExport
) -> IO[bytes]:
    """Write a ZIP with one CSV for each table, and a file with the meaning of each column.

    Returns the file, at its beginning. UTF-8 with a mark, which spreadsheets recognise.
    """
    made = tempfile.SpooledTemporaryFile(max_size=IN_MEMORY_BYTES_MAX)  # noqa: SIM115 (returned)
    parts: dict[str, tuple[io.StringIO, Any]] = {}
    lines = [export.about]
    with zipfile.ZipFile(made, "w", zipfile.ZIP_DEFLATED) as zipped:
        async for name, row in rows:
            if name not in parts:
                _close(zipped, parts)
                text = io.StringIO()
                parts[name] = text, csv.DictWriter(text, list(row))
                parts[name][1].writeheader()
                lines += _lines(name, export.described(name))
            parts[name][1].writerow({key: _cell(value) for key, value in row.items()})
        _close(zipped, parts)
        zipped.writestr("README.txt", "\n".join(lines))
    made.seek(0)
    return made


def _lines(table: str, said: Mapping[str, Any]) -> list[str]:
    """Returns what a CSV file holds, column by column."""
    columns = [f"  {name}: {words}" for name, words in said["fields"].items()]
    return ["", f"{table}.csv: {said['meaning']}", *columns]


def _close(zipped: zipfile.ZipFile, parts: dict[str, tuple[io.StringIO, Any]]) -> None:
    """Write the table that is complete: rows come table by table."""
    for name, (text, _) in parts.items():
        zipped.writestr(f"{name}.csv", "\ufeff" + text.getvalue())
    parts.clear()


def _cell(value: Any) -> str:
    """Returns a cell. A text that a spreadsheet would run as a formula gets an apostrophe."""
    if value is None:
        return ""
    if isinstance(value, datetime):
        return value.isoformat()
    text = value if isinstance(value, str) else _json(value).decode()
    return f"'{text}" if isinstance(value, str) and text[:1] in {"=", "+", "-", "@"} else text


def _chunks(made: IO[bytes]) -> AsyncIterator[bytes]:
    async def reading() -> AsyncIterator[bytes]:
        with made:
            while piece := made.read(CHUNK_BYTES):
                yield piece

    return reading()


def _json(value: Any) -> bytes:
    return msgspec.json.encode(value, enc_hook=str)
