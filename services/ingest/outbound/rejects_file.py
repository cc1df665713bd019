"""Writes the rejected rows of a file: its own columns, and the reason of each.

UTF-8 with a mark, so that spreadsheet programs show every language. Corrected, it can be imported
like any other file; its last column is then not used.
"""

import csv
from pathlib import Path
from typing import Any, Final

import polars as pl

from services.ingest.outbound.import_notes import NAME_BYTES_MAX
from shared.event_files.faults import Rejects
from shared.event_files.reader import EventFile
from shared.event_files.sources import ROW
from shared.kernel.errors import Invalid

REASON: Final = "reason"
"""Header of the last column."""
TRIES_MAX: Final = 1_000
"""Names that are tried: an earlier file of rejects may be one that is being corrected."""


def write_rejects(file: EventFile, rejects: Rejects, folder: Path) -> Path:
    """Write the rows and return the new file's path.

    Raises Invalid where that cannot be done; then no part of them is left.
    """
    stem = rejects.file.partition(".")[0].encode()[:NAME_BYTES_MAX].decode(errors="ignore")
    names = [f"{stem}.rejects.csv", *(f"{stem}.rejects-{n}.csv" for n in range(2, TRIES_MAX))]
    path = next(folder / name for name in names if not (folder / name).exists())
    rows = pl.Series(sorted(rejects.reasons), dtype=pl.Int64)
    try:
        with path.open("x", encoding="utf-8-sig", newline="") as target:
            out = csv.writer(target)
            out.writerow([*file.headers, REASON])
            for part in file.parts():
                for row in part.filter(pl.col(ROW).is_in(rows.implode())).iter_rows(named=True):
                    cells = [_text(row[header]) for header in file.headers]
                    out.writerow([*cells, rejects.reasons[row[ROW]]])
    except OSError as error:
        path.unlink(missing_ok=True)
        raise Invalid(
            "--folder", f"the rejected rows cannot be written to {path} ({error.strerror}): make "
            "room or name another folder, and run the command again"
        ) from error  # fmt: skip
    return path


def _text(cell: Any) -> str:
    return "" if cell is None else str(cell)
