"""The import's handler and notes: what is sent, what is rejected, what a second run does."""

import asyncio
import errno
import json
from collections.abc import Iterable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from unittest.mock import patch

import pytest

from services.ingest.commands.import_progress import Interrupted
from services.ingest.core.rates import RateTable
from services.ingest.handlers import import_files
from services.ingest.handlers.import_files import ImportFiles, Outcome, PreparedFile, Terms
from services.ingest.outbound import rejects_file
from services.ingest.outbound.import_notes import ImportNotes, unended
from services.ingest.outbound.rejects_file import write_rejects
from shared.contracts.events import BACKFILL_ENDED
from shared.contracts.headers import BACKFILL
from shared.event_files.faults import Rejects
from shared.event_files.options import ReadOptions
from shared.event_files.reader import EventFile
from shared.kafka.producer import Record
from shared.kernel.errors import Invalid, Transient
from tests.fakes.clock import SetClock

NOW = datetime(2025, 1, 1, tzinfo=UTC)
HEAD = "order_id,customer_id,ts,amount\n"
ROWS = "".join(f"A{n},c{n % 3},2024-01-{n % 28 + 1:02},{n}.5\n" for n in range(10))


class Outlet:
    """Keeps what is sent; from the call `fails_at` on it raises Transient."""

    def __init__(self, fails_at: int | None = None) -> None:
        self.sent: list[Record] = []
        self._calls = 0
        self._fails_at = fails_at

    async def send(self, records: Iterable[Record]) -> None:
        self._calls += 1
        if self._fails_at is not None and self._calls >= self._fails_at:
            raise Transient("away")
        self.sent += records

    async def partitions(self, _: str) -> int:
        return 6

    def events(self) -> list[str]:
        return [json.loads(record.value or b"")["id"] for record in self.sent if record.key]

    def ended(self) -> list[str]:
        return [
            (dict(record.headers)[BACKFILL] or b"").decode()
            for record in self.sent
            if BACKFILL_ENDED.encode() in (record.value or b"")
        ]


def run(
    path: Path,
    outlet: Outlet,
    *,
    stop_at: int | None = None,
    live: bool = False,
    rows: str = "",
    now: datetime = NOW,
) -> tuple[Outcome, ImportNotes, Rejects]:
    """Import one file in chunks of three events; interrupted once `stop_at` rows were sent."""
    if rows:
        path.write_text(rows)
    rejects = Rejects(path.name)
    files = [PreparedFile(EventFile(path, ReadOptions(), rejects=rejects), rejects)]
    notes = ImportNotes([path], "", path.parent)
    terms = Terms("raw", "files", None, live=live)
    handler = ImportFiles(outlet, terms, RateTable("USD"), SetClock(now))

    def advance(sent: int) -> None:
        if stop_at is not None and sent >= stop_at:
            raise Interrupted

    with patch.object(import_files, "CHUNK_EVENTS", 3):
        try:
            return asyncio.run(handler.run(files, notes, advance)), notes, rejects
        finally:
            notes.close()


def test_history_is_in_one_partition_and_ends(tmp_path: Path) -> None:
    outlet = Outlet()
    outcome, notes, _ = run(tmp_path / "orders.csv", outlet, rows=HEAD + ROWS)
    assert outlet.events() == [f"A{n}" for n in range(10)]
    assert outlet.ended() == [notes.name]
    assert len({record.partition for record in outlet.sent}) == 1
    assert (outcome.events, outcome.sent, len(outcome.customers)) == (10, 10, 3)


def test_news_are_spread_by_customer_and_have_no_end(tmp_path: Path) -> None:
    outlet = Outlet()
    run(tmp_path / "orders.csv", outlet, rows=HEAD + ROWS, live=True)
    assert [record.key for record in outlet.sent] == [f"c{n % 3}".encode() for n in range(10)]
    assert {record.partition for record in outlet.sent} == {None}
    assert outlet.ended() == []


def test_an_interruption_ends_the_import_and_the_next_run_has_a_new_name(tmp_path: Path) -> None:
    path, outlet = tmp_path / "orders.csv", Outlet()
    with pytest.raises(Interrupted):
        run(path, outlet, rows=HEAD + ROWS, stop_at=6)
    assert outlet.events() == [f"A{n}" for n in range(6)]
    assert len(outlet.ended()) == 1
    outcome, notes, _ = run(path, outlet)
    assert outlet.events() == [f"A{n}" for n in range(10)]
    assert outlet.ended() == [notes.named(1), notes.named(2)]
    assert (outcome.events, outcome.sent) == (10, 4)


def test_an_end_that_could_not_be_sent_is_sent_by_the_next_run(tmp_path: Path) -> None:
    path = tmp_path / "orders.csv"
    with pytest.raises(Transient):
        run(path, Outlet(fails_at=2), rows=HEAD + ROWS)
    outlet = Outlet()
    _, notes, _ = run(path, outlet)
    assert outlet.events() == [f"A{n}" for n in range(3, 10)]
    assert outlet.ended() == [notes.named(1)]


def test_a_file_that_changed_begins_anew_and_ends_the_former_import(tmp_path: Path) -> None:
    path = tmp_path / "orders.csv"
    with pytest.raises(Transient):
        run(path, Outlet(fails_at=2), rows=HEAD + ROWS)
    outlet = Outlet()
    _, notes, _ = run(path, outlet, rows=HEAD + ROWS + "B,c,2024-02-01,1\n")
    assert len(outlet.events()) == 11
    assert len(outlet.ended()) == 2
    assert outlet.ended()[1] == notes.name


def test_rows_that_lay_in_the_future_at_the_first_run_are_sent_by_the_next(tmp_path: Path) -> None:
    path, outlet = tmp_path / "orders.csv", Outlet()
    rows = HEAD + f"F,c,{NOW + timedelta(hours=1):%FT%TZ},1\n" + ROWS
    with pytest.raises(Interrupted):
        run(path, outlet, rows=rows, stop_at=6)
    assert "F" not in outlet.events()
    outcome, _, rejects = run(path, outlet, now=NOW + timedelta(hours=2))
    assert sorted(set(outlet.events())) == sorted(["F", *(f"A{n}" for n in range(10))])
    assert (outcome.events, outcome.sent, rejects.reasons) == (11, 11, {})


def test_two_processes_do_not_import_one_file_at_once(tmp_path: Path) -> None:
    path = tmp_path / "orders.csv"
    path.write_text(HEAD + ROWS)
    first = ImportNotes([path], "", tmp_path)
    with pytest.raises(Invalid, match=r"orders\.csv is being imported by another process"):
        ImportNotes([path], "other options", tmp_path)
    assert first.acknowledged == 0
    first.close()
    assert ImportNotes([path], "other options", tmp_path).begun() == []


def test_an_import_without_its_end_marker_is_known_before_the_file_is_read(tmp_path: Path) -> None:
    path = tmp_path / "orders.csv"
    path.write_text(HEAD + ROWS)
    assert unended(path, tmp_path) == []
    killed = ImportNotes([path], "", tmp_path)
    killed.begin()
    killed.close()
    assert unended(path, tmp_path) == [killed.name]


def test_a_name_as_long_as_file_systems_take(tmp_path: Path) -> None:
    path = tmp_path / f"{'订' * 83}.csv"
    _, _, rejects = run(path, Outlet(), rows=HEAD + f"{'x' * 300},c,2024-01-01,1\n" + ROWS)
    written = write_rejects(EventFile(path, ReadOptions()), rejects, tmp_path)
    assert written.read_text("utf-8-sig").count("\n") == 2
    notes = ImportNotes([path], "", tmp_path)
    notes.begin()
    assert unended(path, tmp_path) == notes.begun()


def test_a_file_refused_as_a_whole_sends_nothing(tmp_path: Path) -> None:
    outlet = Outlet()
    rows = HEAD + "A,c,2024-01-01,1\nA,c,2024-01-01,2\n"
    with pytest.raises(Invalid, match=r"orders\.csv: rows 1 and 2 .* --lines-of-one-order"):
        run(tmp_path / "orders.csv", outlet, rows=rows)
    assert outlet.sent == []


def test_what_ingest_would_refuse_is_rejected(tmp_path: Path) -> None:
    rows = HEAD + f"{'x' * 300},c,2024-01-01,1\nB,{'客' * 200},2024-01-01,1\nC,c,2024-01-01,1\n"
    outlet = Outlet()
    _, _, rejects = run(tmp_path / "orders.csv", outlet, rows=rows)
    assert outlet.events() == ["C"]
    assert sorted(rejects.reasons) == [1, 2]
    assert "subject: 600 bytes in UTF-8" in rejects.reasons[2]


def test_a_folder_that_cannot_be_written_names_the_option(tmp_path: Path) -> None:
    path = tmp_path / "orders.csv"
    path.write_text(HEAD + ROWS)
    with pytest.raises(Invalid, match="--folder"):
        ImportNotes([path], "", tmp_path / "absent")


@pytest.mark.parametrize(
    "kept", [b"[1", b"\xff", b"[" * 100_000, b'{"begun": "x"}', b'{"run": "x"}', b'{"run": 0}']
)
def test_broken_notes_are_no_notes(tmp_path: Path, kept: bytes) -> None:
    path = tmp_path / "orders.csv"
    path.write_text(HEAD + ROWS)
    (tmp_path / ".orders.csv.import.json").write_bytes(kept)
    notes = ImportNotes([path], "", tmp_path)
    assert (notes.acknowledged, notes.begun(), notes.name) == (0, [], notes.named(1))


def test_rejected_rows_that_find_no_room_leave_no_part_of_a_file(tmp_path: Path) -> None:
    rows = HEAD + f"{'x' * 300},c,2024-01-01,1\n"
    path = tmp_path / "orders.csv"
    _, _, rejects = run(path, Outlet(), rows=rows)
    full = OSError(errno.ENOSPC, "No space left on device")
    with patch.object(rejects_file, "_text", side_effect=full), pytest.raises(Invalid) as found:
        write_rejects(EventFile(path, ReadOptions()), rejects, tmp_path)
    assert found.value.field == "--folder"
    assert "No space left" in found.value.reason
    assert not list(tmp_path.glob("*.rejects*"))
