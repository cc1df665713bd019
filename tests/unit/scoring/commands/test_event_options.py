"""The options of the commands that read an event file."""

import argparse
import asyncio
from datetime import UTC, datetime
from pathlib import Path

import numpy as np
import pytest

from services.scoring.commands import evaluate, training
from services.scoring.settings import ScoringSettings
from shared.event_files.arguments import reading_of
from shared.event_files.options import ReadOptions
from shared.kernel.errors import Invalid
from tests.unit.scoring.training.event_files import both, written

NOW = datetime(2026, 3, 1, tzinfo=UTC)


def _parsed(*words: str) -> argparse.Namespace:
    parser = argparse.ArgumentParser()
    commands = parser.add_subparsers()
    evaluate.add_commands(commands)
    training.add_commands(commands)
    return parser.parse_args(words)


@pytest.mark.parametrize("command", ["evaluate", "train", "retrain"])
def test_each_command_takes_them(command: str) -> None:
    assert reading_of(_parsed(command), NOW) == ReadOptions(now=NOW)
    words = ["--day-first", "--decimal", "comma", "--encoding", "gbk", "--lines-of-one-order"]
    found = reading_of(
        _parsed(command, "--column", "ts=Datum", "--column", "amount=a = b", *words), NOW
    )
    assert found == ReadOptions(
        columns={"ts": "Datum", "amount": "a = b"},
        date_order="day",
        decimal="comma",
        encoding="gbk",
        lines_of_one_order=True,
        now=NOW,
    )
    assert reading_of(_parsed(command, "--month-first"), NOW).date_order == "month"


def test_a_column_that_is_no_pair_is_named() -> None:
    with pytest.raises(Invalid, match=r"--column: is like ts=Bestelldatum, not 'ts'"):
        reading_of(_parsed("evaluate", "--column", "ts"), NOW)
    with pytest.raises(SystemExit):
        _parsed("evaluate", "--day-first", "--month-first")


@pytest.mark.parametrize("command", ["evaluate", "train"])
def test_a_date_that_is_still_to_come_is_refused(tmp_path: Path, command: str) -> None:
    """One typing error would make all other customers look silent."""
    path = written(tmp_path, "customer,ts\na,2026-02-27\nb,2027-04-05\n")
    args = _parsed(command, "--events", str(path))
    with pytest.raises(Invalid, match=r"^ts: row 2: '2027-04-05' is still to come"):
        both(path, reading_of(args, NOW))


@pytest.mark.parametrize("cluster", [None, "tcp://scheduler"])
def test_train_reads_as_evaluate_does(tmp_path: Path, cluster: str | None) -> None:
    """Holds in memory, and with everything on disk for a cluster."""
    rows = "".join(
        f"o{n // 2};Müller{n // 2 % 3};0{1 + n % 9}/13/2024;1,{n:02}\n" for n in range(40)
    )
    path = written(tmp_path, ("Order;Client;Date;Total\n" + rows).encode("cp1252"))
    words = ["--events", str(path), "--lines-of-one-order", "--spool", str(tmp_path)]
    args = _parsed("train", *words, *(["--cluster", cluster] if cluster else []))
    order = training._order(args, ScoringSettings(), NOW)
    history = asyncio.run(training._history(None, order, tmp_path))  # type: ignore[arg-type]
    whole = both(path, ReadOptions(lines_of_one_order=True)).table
    assert history.fingerprint(np.inf) == whole.fingerprint(np.inf)
    assert history.observed_until == whole.observed_until
