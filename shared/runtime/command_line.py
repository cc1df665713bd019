"""The command line that every service has: `run`, `migrate`, `tokens create|list|revoke`.

A service adds its own operator commands. Exit status: 0 done, 1 failed, 2 wrong usage.
"""

import argparse
import asyncio
import sys
from collections.abc import Awaitable, Callable, Coroutine, Mapping
from dataclasses import dataclass
from datetime import timedelta
from functools import partial
from pathlib import Path
from typing import Any, Final

import sqlalchemy as sa
import structlog
import uvloop
from pydantic import ValidationError
from sqlalchemy.ext.asyncio import AsyncEngine

from shared.http.access import Tokens, describe, states_of
from shared.http.scopes import ON_BEHALF, SCOPES
from shared.kernel.errors import Invalid, Transient
from shared.observability.logging import configure_logging
from shared.observability.otlp import TracingSettings, exporting
from shared.postgres import roles
from shared.postgres.audit import State
from shared.postgres.engine import create_engine
from shared.postgres.migrations import migrate, wait_until_migrated
from shared.postgres.settings import PostgresSettings
from shared.runtime import audit_command
from shared.runtime.arguments import count, days, look_at, serial
from shared.runtime.audited_command import audited, is_audited, path_of
from shared.runtime.clock import SystemClock
from shared.runtime.interrupts import INTERRUPTED, STATUS, ended_by_interrupt
from shared.runtime.settings import problems
from shared.runtime.terminal import visible_output

log = structlog.get_logger(__name__)

ADDRESSES: Final = """\
Set it in the environment, or in a file of that name in the folder EBBWATCH_SECRETS_DIR (README.md).
Those of a local stack that runs: eval "$(python -m deploy.local status)"
"""

Command = Callable[[argparse.Namespace], Coroutine[Any, Any, int]]
Action = Callable[[argparse.Namespace, AsyncEngine], Awaitable[int]]
"""What an operator's command does with the database; returns the exit status."""


@dataclass(frozen=True, slots=True)
class ServiceSpec:
    """The facts about a service that the common commands need."""

    name: str
    schema: str
    versions: Path
    """Folder of the Alembic revisions."""
    token_table: sa.Table
    run: Callable[[], Coroutine[Any, Any, int]]
    """The service itself; returns the exit status."""
    states: Mapping[str, State]
    """What the service's own commands change, by the words of the command: the audit keeps it as it
    is before and after."""

    def state(self, path: str) -> State | None:
        """Return what a command changes; None: nothing that is kept."""
        by_name, by_id = states_of(self.schema)
        common = {"tokens create": by_name, "tokens rotate": by_id, "tokens revoke": by_id}
        return {**common, **self.states}.get(path)


def main(
    spec: ServiceSpec,
    add_commands: Callable[[Any], None] | None = None,
    argv: list[str] | None = None,
) -> int:
    """Parses and runs a command; `add_commands(subparsers)` adds parsers that set `command`.

    It is not called for the commands that every service has, so what the service's own commands
    need is best imported in it: that takes two seconds.
    """
    parser = argparse.ArgumentParser(
        prog=f"python -m services.{spec.name}", description=f"Ebbwatch {spec.name}"
    )
    parser.add_argument("--log-level", default="INFO", choices=("DEBUG", "INFO", "WARNING"))
    commands = parser.add_subparsers(required=True, metavar="COMMAND")

    run = commands.add_parser("run", help="run the service until SIGTERM")
    run.set_defaults(command=lambda _: _run(spec))
    _add_migrate_command(spec, commands)
    _add_token_commands(spec, commands)
    _add_database_command(spec, commands)
    audit_command.add_commands(spec.schema, commands, partial(on_database, spec))
    try:
        if add_commands is not None and _asked(parser.prog, argv) not in commands.choices:
            with ended_by_interrupt():
                add_commands(commands)
        args = parser.parse_args(argv)
        path = path_of(parser, sys.argv[1:] if argv is None else argv)
        configure_logging(spec.name, args.log_level)
        with visible_output():
            return _carried_out(spec, path, args)
    except KeyboardInterrupt:
        print(INTERRUPTED, file=sys.stderr)
        return STATUS


def _asked(program: str, argv: list[str] | None) -> str | None:
    """Return the command's first word; None where there is none, as in a call for help."""
    reader = argparse.ArgumentParser(program, add_help=False)
    reader.add_argument("--log-level", nargs="?")
    reader.add_argument("--help", "-h", action="store_true")
    reader.add_argument("rest", nargs=argparse.REMAINDER)
    read = reader.parse_known_args(argv)[0]
    return None if read.help or not read.rest else read.rest[0]


def _carried_out(spec: ServiceSpec, path: str, args: argparse.Namespace) -> int:
    command: Command = args.command
    try:
        look_at(args)
        if is_audited(path):
            work = audited(spec.schema, path, args, command, spec.state(path))
        else:
            work = command(args)
        with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
            return runner.run(work)
    except ValidationError as error:
        for problem in problems(error):
            print(f"setting {problem}", file=sys.stderr)
        print(ADDRESSES, end="", file=sys.stderr)
        return 1
    except (Invalid, Transient, OSError) as error:
        print(f"{type(error).__name__}: {error}", file=sys.stderr)
        return 1
    except ModuleNotFoundError as missing:
        print(
            f"{missing.name} is not installed here. Serving does without what reading files and "
            "training need: run this command from the image `import` or `training` "
            "(docs/deployment.md)",
            file=sys.stderr,
        )
        return 1
    except Exception:
        # Through the log, which omits what PostgreSQL quotes and escapes control characters.
        log.exception("command failed")
        return 1


async def _run(spec: ServiceSpec) -> int:
    with exporting(spec.name, TracingSettings()):
        return await spec.run()


def on_database(spec: ServiceSpec, action: Action) -> Command:
    """Returns the command that runs an action with an engine, which is disposed of afterwards."""

    async def command(args: argparse.Namespace) -> int:
        engine = create_engine(PostgresSettings(), f"{spec.name}-cli")
        try:
            return await action(args, engine)
        finally:
            await engine.dispose()

    return command


def group(commands: Any, name: str, text: str) -> Any:
    """Adds a command that has actions; returns what they are added to."""
    return commands.add_parser(name, help=text).add_subparsers(required=True, metavar="ACTION")


def add_command(
    spec: ServiceSpec, commands: Any, name: str, action: Action, text: str
) -> argparse.ArgumentParser:
    """Adds a command, or an action of one, that runs with an engine; returns its parser."""
    parser: argparse.ArgumentParser = commands.add_parser(name, help=text)
    parser.set_defaults(command=on_database(spec, action))
    return parser


def _add_migrate_command(spec: ServiceSpec, commands: Any) -> None:
    async def bring(args: argparse.Namespace, engine: AsyncEngine) -> int:
        if args.wait is None:
            await migrate(engine, spec.schema, spec.versions)
        elif await wait_until_migrated(engine, spec.schema, spec.versions, args.wait) != "newest":
            print(f"{spec.schema} is at a revision of a newer release", file=sys.stderr)
        return 0

    parser = commands.add_parser("migrate", help="create or update this service's tables")
    parser.add_argument(
        "--wait",
        type=count,
        metavar="SECONDS",
        help="change nothing: wait so long for another process to do it",
    )
    parser.set_defaults(command=on_database(spec, bring))


_SIGNED = (
    f"the second line is the signing secret of `{ON_BEHALF}`, shown once: keep it apart from the "
    "token and never send it (docs/security.md)"
)


def _add_database_command(spec: ServiceSpec, commands: Any) -> None:
    async def show(_: argparse.Namespace) -> int:
        print(roles.script(spec.schema))
        return 0

    database = commands.add_parser("database", help="who may do what in the database")
    actions = database.add_subparsers(required=True, metavar="ACTION")
    made = actions.add_parser(
        "roles",
        help="print the SQL that makes the roles of this service",
        description="One role owns the tables and runs `migrate`; the service runs as the other, "
        "which may only read and change rows. For `psql`, as an administrator.",
    )
    made.set_defaults(command=show)


def _add_token_commands(spec: ServiceSpec, commands: Any) -> None:
    clock = SystemClock()

    def tokens_of(engine: AsyncEngine) -> Tokens:
        return Tokens(engine, spec.token_table, clock)

    async def create(args: argparse.Namespace, engine: AsyncEngine) -> int:
        ends = None if args.days is None else clock.now() + timedelta(days=args.days)
        made = tokens_of(engine).create(
            args.name, args.scope, owner_ids=args.owner, expires_at=ends, is_person=args.person
        )
        return await shown(await made, engine)

    async def shown(token: str, engine: AsyncEngine) -> int:
        print(token)
        secret = await tokens_of(engine).signing_secret(token)
        if secret is not None:
            print(secret)
            print(_SIGNED, file=sys.stderr)
        return 0

    async def rotate(args: argparse.Namespace, engine: AsyncEngine) -> int:
        made = await tokens_of(engine).rotate(args.id, timedelta(hours=args.overlap_hours))
        if made is None:
            print(f"no token {args.id} is valid; see `tokens list`", file=sys.stderr)
            return 1
        return await shown(made, engine)

    async def show(_: argparse.Namespace, engine: AsyncEngine) -> int:
        for row in await tokens_of(engine).list_all():
            print(describe(row, clock.now()))
        return 0

    async def revoke(args: argparse.Namespace, engine: AsyncEngine) -> int:
        if await tokens_of(engine).revoke(args.id):
            return 0
        print(f"no token {args.id}; see `tokens list`", file=sys.stderr)
        return 1

    command = partial(on_database, spec)
    _add_token_parsers(
        commands,
        create=command(create),
        list=command(show),
        rotate=command(rotate),
        revoke=command(revoke),
    )


def _add_token_parsers(commands: Any, **actions_of: Command) -> None:
    tokens = commands.add_parser("tokens", help="who may use the HTTP API")
    actions = tokens.add_subparsers(required=True, metavar="ACTION")
    creating = actions.add_parser("create", help="make a token; it is shown once")
    creating.add_argument("--name", required=True, help="who or what will use it")
    creating.add_argument("--scope", required=True, action="append", choices=SCOPES)
    creating.add_argument(
        "--owner", action="append", help="sees this owner's customers and tasks only; repeat it"
    )
    creating.add_argument(
        "--person", action="store_true", help="it is one person's own, not a system's"
    )
    creating.add_argument("--days", type=days, help="expires after so many days (default: never)")
    creating.set_defaults(command=actions_of["create"])
    listing = actions.add_parser("list", help="every token, without the secret")
    listing.set_defaults(command=actions_of["list"])
    rotating = actions.add_parser("rotate", help="make a new token in place of one; shown once")
    rotating.add_argument("id", type=serial, help="as `tokens list` shows it")
    rotating.add_argument("--overlap-hours", type=count, default=24, help="how long both are valid")
    rotating.set_defaults(command=actions_of["rotate"])
    revoking = actions.add_parser("revoke", help="end a token now")
    revoking.add_argument("id", type=serial, help="as `tokens list` shows it")
    revoking.set_defaults(command=actions_of["revoke"])
