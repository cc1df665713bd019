"""`import --links`: a file of links becomes statements about ids (docs/identity.md).

A CSV in UTF-8 with a heading: `customer_id` and `other_id`, which are one customer, known by the
first; or `contact_id` and `account_id`. A row's id depends on it and on the file's time of change,
so that sending a file again changes nothing.
"""

import csv
import sys
from collections.abc import Iterator
from datetime import UTC, datetime
from hashlib import blake2b
from itertools import islice
from pathlib import Path
from typing import Final

import msgspec

from services.ingest.core.accept import accepted
from services.ingest.core.message import STRUCTURED_HEADERS
from services.ingest.core.rates import RateTable
from services.ingest.ports import Outlet
from shared.contracts.events import IDENTITY, Identity
from shared.kafka.producer import Record
from shared.kernel.errors import Invalid
from shared.runtime.clock import Clock

CHUNK_ROWS: Final = 10_000
"""Statements sent and acknowledged at once, about 3 MB."""
SHOWN: Final = 10
"""Rejected rows that are printed; all are counted."""
LINK: Final = ("customer_id", "other_id")
CONTACT: Final = ("contact_id", "account_id")
_NO_MONEY: Final = RateTable("USD")


async def import_links(
    paths: list[Path], source: str, topic: str, outlet: Outlet | None, clock: Clock
) -> int:
    """Sends the links of these files; returns the number of rejected rows.

    Without an outlet the files are only read. Raises Invalid for a file that cannot be read.
    """
    rejected = 0
    for path in paths:
        sent = 0
        rows = _rows(path, source)
        while chunk := list(islice(rows, CHUNK_ROWS)):
            records = []
            for number, value in chunk:
                try:
                    key = _checked(value, clock)
                except Invalid as fault:
                    rejected += 1
                    if rejected <= SHOWN:
                        print(f"{path.name}, row {number}: {fault}", file=sys.stderr)
                    continue
                records.append(Record(topic, key, value, STRUCTURED_HEADERS))
            if outlet is not None:
                await outlet.send(records)
            sent += len(records)
        done = "links can be sent" if outlet is None else "links sent"
        print(f"{path.name}: {sent:,} {done}")
    if rejected:
        print(f"{rejected:,} rows rejected", file=sys.stderr)
    return rejected


def _checked(value: bytes, clock: Clock) -> bytes:
    """Returns the key of an acceptable statement; raises Invalid for any other."""
    arrived = int(clock.now().timestamp() * 1000)
    return accepted(value, STRUCTURED_HEADERS, arrived, _NO_MONEY).event.subject.encode()


def _rows(path: Path, source: str) -> Iterator[tuple[int, bytes]]:
    """Yields the number of each row of the file, from 2, and its statement."""
    try:
        changed = datetime.fromtimestamp(int(path.stat().st_mtime), UTC)
        with path.open(encoding="utf-8-sig", newline="") as file:
            reader = csv.DictReader(file)
            names = [name.strip().lower() for name in reader.fieldnames or ()]
            reader.fieldnames = names
            if not (set(LINK) <= set(names) or set(CONTACT) <= set(names)):
                raise Invalid(
                    "heading",
                    f"{path.name}: needs the columns {' and '.join(LINK)}, or "
                    f"{' and '.join(CONTACT)}",
                )
            columns = LINK if set(LINK) <= set(names) else CONTACT
            for row in reader:
                yield reader.line_num, _statement(row, columns, source, changed)
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise Invalid("file", f"{path.name}: cannot be read: {error}") from error


def _statement(
    row: dict[str, str | None], columns: tuple[str, str], source: str, changed: datetime
) -> bytes:
    first, other = ((row[name] or "").strip() for name in columns)
    if columns == LINK:
        identity = Identity(ids=[other], primary=first)
    else:
        identity = Identity(kind="contact", ids=[other])
    content = "\x1f".join((columns[0], first, other, changed.isoformat()))
    return msgspec.json.encode(
        {
            "specversion": "1.0",
            "id": f"link-{blake2b(content.encode(), digest_size=12).hexdigest()}",
            "source": source,
            "type": IDENTITY,
            "time": changed,
            "subject": first,
            "data": identity,
        }
    )
