"""Every command and every route that may change something is audited, unless it is named."""

import argparse
import importlib
from collections.abc import Iterator
from typing import Any

import pytest

from shared.runtime import audited_command
from shared.runtime.audited_command import OTHERWISE, READING, commands_of, is_audited, path_of
from shared.runtime.command_line import main

SERVICES = ("ingest", "scoring", "alerts")


class _Built(Exception):  # noqa: N818
    """Carries the parser of a service."""

    def __init__(self, parser: argparse.ArgumentParser) -> None:
        super().__init__()
        self.parser = parser


def _stop(parser: argparse.ArgumentParser, *_: Any) -> None:
    raise _Built(parser)


def parser_of(service: str, monkeypatch: pytest.MonkeyPatch) -> argparse.ArgumentParser:
    """Return the parser of a service's command line."""
    module = importlib.import_module(f"services.{service}.__main__")
    with monkeypatch.context() as patched:
        patched.setattr(argparse.ArgumentParser, "parse_args", _stop)
        with pytest.raises(_Built) as built:
            main(module.SPEC, module._add_commands, [])
    return built.value.parser


@pytest.fixture
def parsers(monkeypatch: pytest.MonkeyPatch) -> Iterator[dict[str, argparse.ArgumentParser]]:
    """Provide the parser of each service."""
    yield {name: parser_of(name, monkeypatch) for name in SERVICES}


CHANGING = {
    "ingest": {
        "tokens create", "tokens rotate", "tokens revoke", "dead-letters replay",
        "dead-letters discard",
        "mappings put", "erase", "intake resume",
    },
    "scoring": {
        "tokens create", "tokens rotate", "tokens revoke", "train", "retrain", "models promote",
        "models rollback",
        "models shadow", "partitions resume", "partitions rewind", "identities link",
        "partitions forget", "imports end", "rebuild", "segments define", "segments retire",
        "value policy", "absences announce", "absences end", "aside release",
        "identities contact", "identities unlink",
    },
    "alerts": {
        "tokens create", "tokens rotate", "tokens revoke", "policies put", "policies tune",
        "owners put", "deliveries resend", "deliveries recover", "endpoints create",
        "endpoints rotate", "endpoints pause", "endpoints enable", "endpoints delete",
        "endpoints reencrypt", "partitions resume", "aside release",
    },
}  # fmt: skip


@pytest.mark.audit
@pytest.mark.parametrize("service", SERVICES)
def test_each_command_that_changes_something_is_audited(
    service: str, parsers: dict[str, argparse.ArgumentParser]
) -> None:
    """A new command is audited by default, or is named as one that only reads."""
    found = commands_of(parsers[service])
    assert CHANGING[service] <= {path for path in found if is_audited(path)}


@pytest.mark.audit
def test_the_named_commands_exist(parsers: dict[str, argparse.ArgumentParser]) -> None:
    """A name that no command has any more is a mistake, or will be of the next command."""
    every = {path for parser in parsers.values() for path in commands_of(parser)}
    assert every >= READING | OTHERWISE


def test_the_words_of_a_command_are_found_among_its_arguments(
    parsers: dict[str, argparse.ArgumentParser],
) -> None:
    argv = ["--log-level", "INFO", "segments", "retire", "list"]
    assert path_of(parsers["scoring"], argv) == "segments retire"


@pytest.mark.audit
def test_no_entry_of_a_command_names_a_customer() -> None:
    """Whatever argument it is: an erased person is in no entry."""
    args = argparse.Namespace(ids=["ann", "bob"], primary="ann", command=main, log_level="INFO")
    change = audited_command.change_of("identities link", args)
    assert (change.target, change.customer_id) == ({}, "ann")
    args = argparse.Namespace(customer="ann", reason="on leave", command=main)
    change = audited_command.change_of("absences announce", args)
    assert (change.target, change.customer_id) == ({"reason": "on leave"}, "ann")
