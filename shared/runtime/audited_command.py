"""Writes an audit entry around each operator command that may change something.

Every command is audited unless it is named as one that only reads, so that a new command is.
"""

import argparse
import getpass
import socket
from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import Final

import structlog

from shared.kernel.errors import Transient
from shared.postgres.audit import Audit, Change, State
from shared.postgres.engine import create_engine
from shared.postgres.settings import PostgresSettings
from shared.runtime.clock import SystemClock

log = structlog.get_logger(__name__)

READING: Final = frozenset({
    "absences show",
    "aside list",
    "assessments replay",
    "audit list",
    "database roles",
    "dead-letters list",
    "dead-letters show",
    "deliveries list",
    "effect learned",
    "effect propose-holdout",
    "effect report",
    "effect show",
    "effect withheld",
    "endpoints list",
    "erasures show",
    "evaluate",
    "features",
    "feedback list",
    "held",
    "identities show",
    "imports show",
    "intake status",
    "mappings list",
    "mappings show",
    "messages list",
    "messages unsubscriptions",
    "models list",
    "models show",
    "owners list",
    "partitions show",
    "policies list",
    "policies show",
    "policies try",
    "profiling show",
    "report",
    "segments discover",
    "segments list",
    "sources",
    "tasks list",
    "tasks queue",
    "tasks show",
    "tokens list",
    "try",
    "value categories",
    "wishes",
})  # fmt: skip
"""Commands that change nothing."""

OTHERWISE: Final = frozenset({"run", "migrate", "import"})
"""The service itself; what makes the tables; events from files, which every service counts."""

CUSTOMERS: Final = ("customer", "customer_id", "account", "ids", "contact", "primary")
"""Arguments that are a customer or several; the entry has the mark of the first."""

UNSAID: Final = frozenset({"command", "command_path", "log_level", "func"})


def path_of(parser: argparse.ArgumentParser, argv: Sequence[str]) -> str:
    """Returns the words of the command in `argv`, without its arguments."""
    words: list[str] = []
    rest = list(argv)
    while rest:
        choices = _choices(parser)
        word = next((each for each in rest if each in choices), None)
        if word is None:
            break
        rest = rest[rest.index(word) + 1 :]
        words.append(word)
        parser = choices[word]
    return " ".join(words)


def _choices(parser: argparse.ArgumentParser) -> Mapping[str, argparse.ArgumentParser]:
    for action in parser._actions:
        if isinstance(action, argparse._SubParsersAction):
            found: Mapping[str, argparse.ArgumentParser] = action.choices
            return found
    return {}


def commands_of(parser: argparse.ArgumentParser, before: str = "") -> list[str]:
    """Returns the words of every command below a parser."""
    choices = _choices(parser)
    if not choices:
        return [before]
    return [
        name
        for word, inner in choices.items()
        for name in commands_of(inner, f"{before} {word}".strip())
    ]


def is_audited(path: str) -> bool:
    """Returns whether a command may change something."""
    return path not in READING and path not in OTHERWISE


async def audited(
    schema: str,
    path: str,
    args: argparse.Namespace,
    command: Callable[[argparse.Namespace], Awaitable[int]],
    state: State | None = None,
) -> int:
    """Run a command with an audit entry around it; returns its exit status.

    `state`: what it changes.
    Raises Transient before the command runs where no entry can be stored.
    """
    engine, clock = create_engine(PostgresSettings(), "audit-cli"), SystemClock()
    audit = Audit(engine, schema)
    outcome = "failed"
    try:
        change = change_of(path, args, state)
        entry = await audit.begin(change, clock.now())
        try:
            status = await command(args)
            outcome = f"exit {status}"
            return status
        finally:
            try:
                await audit.end(entry, change, outcome, clock.now())
            except Transient as trouble:
                log.warning("an audit entry stays open", entry=entry, trouble=str(trouble))
    finally:
        await engine.dispose()


def change_of(path: str, args: argparse.Namespace, state: State | None = None) -> Change:
    """Returns the entry of a command: its arguments, without customers."""
    given = {
        name: value
        for name, value in vars(args).items()
        if name not in UNSAID and value is not None and not callable(value)
    }
    customers = [given.pop(name) for name in CUSTOMERS if name in given]
    first = customers[0] if customers else None
    return Change(
        actor=getpass.getuser(),
        origin=f"command on {socket.gethostname()}",
        action=path,
        target=given,
        customer_id=first[0] if isinstance(first, list) else first,
        state=state,
        key=None if state is None else state.key(vars(args)),
    )
