"""Program that writes one sheet of a spreadsheet to the standard output, as CSV in UTF-8.

It runs as a process of its own with bounded memory (`sheets.py`), so that a hostile spreadsheet
ends this process and no other. Dates, numbers and truth values come by the type of their cell;
a formula is its last result. Errors are one line on the standard error, with exit status 1.
"""

import csv
import datetime
import resource
import sys
from collections.abc import Iterator
from typing import Any

import python_calamine as calamine

THOUSANDTHS = 3
"""Decimals that a reader of text could take for thousands: such a number gets one more."""


def main(path: str, wanted: str, memory: int, seconds: int) -> int:
    """Write the sheet `wanted`, or the only one with rows; limits in bytes and seconds of CPU."""
    resource.setrlimit(resource.RLIMIT_AS, (memory, memory))
    resource.setrlimit(resource.RLIMIT_CPU, (seconds, seconds))
    try:
        with calamine.CalamineWorkbook.from_path(path) as book:
            names = [wanted] if wanted else list(book.sheet_names)
            if wanted and wanted not in book.sheet_names:
                return _failed(f"has no sheet {wanted!r}: it has {_named(book.sheet_names)}")
            filled = [n for n in names if book.get_sheet_by_name(n).height > 0]
            if len(filled) > 1:
                return _failed(f"has rows in the sheets {_named(filled)}: choose with --sheet NAME")
            if not filled:
                return _failed("is empty")
            _write(book.get_sheet_by_name(filled[0]).iter_rows())
    except calamine.PasswordError:
        return _failed("has a password: save it without one")
    except (calamine.CalamineError, OSError, ValueError) as error:
        return _failed(f"is no spreadsheet that can be read: {str(error).splitlines()[0]}")
    return 0


def _write(rows: Iterator[list[Any]]) -> None:
    out = csv.writer(sys.stdout, lineterminator="\n")
    for row in rows:
        out.writerow([_text(cell) for cell in row])


def _text(cell: Any) -> str:
    if isinstance(cell, str):
        return cell.replace("\0", "")
    if isinstance(cell, bool):
        return "true" if cell else "false"
    if isinstance(cell, float):
        if cell.is_integer():
            return str(int(cell))
        text = repr(cell)
        return text + "0" if len(text.partition(".")[2]) == THOUSANDTHS else text
    if isinstance(cell, datetime.datetime):
        return cell.isoformat(" ")
    return str(cell)


def _named(names: list[str]) -> str:
    return ", ".join(repr(name[:40]) for name in names[:12])


def _failed(reason: str) -> int:
    sys.stderr.write(reason + "\n")
    return 1


if __name__ == "__main__":
    sys.stdout.reconfigure(encoding="utf-8")  # type: ignore[union-attr]
    sys.stderr.reconfigure(encoding="utf-8")  # type: ignore[union-attr]
    sys.exit(main(sys.argv[1], sys.argv[2], int(sys.argv[3]), int(sys.argv[4])))
