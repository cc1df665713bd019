"""Every command and every route that may change something is audited, unless it is named."""

import argparse
import importlib
from collections.abc import Iterator
from typing import Any

import pytest

from shared.runtime import audited_command
from shared.runtime.audited_command import OTHERWISE, READING, commands_of, is_audited, path_of
from shared.runtime.command_line import ServiceSpec, main

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


def spec_of(service: str) -> ServiceSpec:
    """Return the facts about a service."""
    spec: ServiceSpec = importlib.import_module(f"services.{service}.__main__").SPEC
    return spec


def arguments_of(parser: argparse.ArgumentParser, words: list[str]) -> set[str]:
    """Return the names of a command's arguments."""
    for word in words:
        parser = audited_command._choices(parser)[word]
    return {action.dest for action in parser._actions}


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


STATELESS = {
    "aside release": "an item set aside is tried again",
    "dead-letters discard": "each dead letter keeps who settled it",
    "dead-letters replay": "each dead letter keeps who settled it",
    "deliveries recover": "messages are sent again",
    "deliveries resend": "messages are sent again",
    "erase": "an erasure has a request id of its own",
    "feedback mark": "each feedback keeps its state, since when and by whom",
    "models watch": "figures of monitoring are computed now",
    "rebuild": "everything is computed again from the same events",
    "restored": "assessments are numbered anew; no other value changes",
}
"""Commands with nothing that an entry could keep from before and after, and why."""


@pytest.mark.audit
@pytest.mark.parametrize("service", SERVICES)
def test_each_command_that_changes_something_has_its_state(
    service: str, parsers: dict[str, argparse.ArgumentParser]
) -> None:
    """What is there before and after is kept, unless the command is named as one without it."""
    spec = spec_of(service)
    for path in commands_of(parsers[service]):
        if is_audited(path):
            assert (spec.state(path) is None) == (path in STATELESS), path
    every = {path for parser in parsers.values() for path in commands_of(parser)}
    assert set(STATELESS) | set(spec.states) <= every, "a name that no command has"


@pytest.mark.audit
@pytest.mark.parametrize("service", SERVICES)
def test_the_key_of_a_state_is_an_argument(
    service: str, parsers: dict[str, argparse.ArgumentParser]
) -> None:
    """Otherwise nothing would ever be found before and after."""
    spec = spec_of(service)
    for path in commands_of(parsers[service]):
        state = spec.state(path) if is_audited(path) else None
        if state is not None and state.keys:
            assert set(state.keys) & arguments_of(parsers[service], path.split()), path


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
