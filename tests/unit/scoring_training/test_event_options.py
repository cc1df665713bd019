"""The options of the commands that read an event file."""

import argparse

import pytest

from services.scoring.commands import evaluating, training
from services.scoring.commands.event_options import reading_of
from services.scoring.training.files.options import Options
from shared.kernel.errors import Invalid


def _parsed(*words: str) -> argparse.Namespace:
    parser = argparse.ArgumentParser()
    commands = parser.add_subparsers()
    evaluating.add_commands(commands)
    training.add_commands(commands)
    return parser.parse_args(words)


@pytest.mark.parametrize("command", ["evaluate", "train", "retrain"])
def test_each_command_takes_them(command: str) -> None:
    assert reading_of(_parsed(command)) == Options()
    words = ["--day-first", "--decimal", "comma", "--encoding", "gbk", "--lines-of-one-order"]
    found = reading_of(_parsed(command, "--column", "ts=Datum", "--column", "amount=a = b", *words))
    assert found == Options(
        columns={"ts": "Datum", "amount": "a = b"},
        date_order="day",
        decimal="comma",
        encoding="gbk",
        lines_of_one_order=True,
    )
    assert reading_of(_parsed(command, "--month-first")).date_order == "month"


def test_a_column_that_is_no_pair_is_named() -> None:
    with pytest.raises(Invalid, match=r"--column: is like ts=Bestelldatum, not 'ts'"):
        reading_of(_parsed("evaluate", "--column", "ts"))
    with pytest.raises(SystemExit):
        _parsed("evaluate", "--day-first", "--month-first")
