"""Options of every command that reads an event file (docs/event-files.md)."""

import argparse
from datetime import datetime
from typing import TYPE_CHECKING

from shared.kernel.zones import zone

if TYPE_CHECKING:
    from shared.event_files.options import ReadOptions


def add_reading(parser: argparse.ArgumentParser) -> None:
    """Adds the options by which a user settles how the file is read."""
    parser.add_argument(
        "--column", action="append", default=[], metavar="ts=HEADER",
        help="which column of the file is customer_id, ts, event_type, event_id, amount, "
        "quantity, unit_price, currency, category, score, points, points_balance or "
        "points_expire_on; may be repeated",
    )  # fmt: skip
    order = parser.add_mutually_exclusive_group()
    order.add_argument(
        "--day-first", dest="date_order", action="store_const", const="day",
        help="03/04/2024 is in April",
    )  # fmt: skip
    order.add_argument(
        "--month-first", dest="date_order", action="store_const", const="month",
        help="03/04/2024 is in March",
    )  # fmt: skip
    parser.add_argument("--decimal", choices=["dot", "comma"], help="the mark before the cents")
    parser.add_argument("--encoding", help="of the text, as gb18030 or cp1252")
    parser.add_argument(
        "--lines-of-one-order", action="store_true",
        help="rows with the same event id are lines of one order: add their amounts",
    )  # fmt: skip
    parser.add_argument(
        "--time-zone", metavar="ZONE",
        help="of times without one, as Asia/Shanghai; without it they are UTC",
    )  # fmt: skip
    parser.add_argument("--sheet", metavar="NAME", help="which sheet of a spreadsheet")


def reading_of(args: argparse.Namespace, now: datetime) -> "ReadOptions":
    """Returns the given options, for a file that is read at `now`.

    Raises Invalid for a `--column` that is not a pair.
    """
    from shared.event_files.options import ReadOptions, column_of  # noqa: PLC0415

    return ReadOptions(
        columns=dict(column_of(text) for text in args.column),
        date_order=args.date_order,
        decimal=args.decimal,
        encoding=args.encoding,
        lines_of_one_order=args.lines_of_one_order,
        now=now,
        zone=None if args.time_zone is None else zone(args.time_zone, "--time-zone"),
        sheet=args.sheet,
    )
