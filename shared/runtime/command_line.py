"""The command line that every service has: `run`, `migrate`, `tokens create|list|revoke`.

A service adds its own operator commands. Exit status: 0 done, 1 failed, 2 wrong usage.
"""

import argparse
import asyncio
import sys
from collections.abc import Awaitable, Callable, Coroutine
from dataclasses import dataclass
from datetime import timedelta
from functools import partial
from pathlib import Path
from typing import Any

import sqlalchemy as sa
import structlog
import uvloop
from pydantic import ValidationError
from sqlalchemy.ext.asyncio import AsyncEngine

from shared.http.access import SCOPES, Tokens, describe
from shared.kernel.errors import Invalid, Transient
from shared.observability.logging import configure_logging
from shared.postgres.engine import create_engine
from shared.postgres.migrations import migrate
from shared.postgres.settings import PostgresSettings
from shared.runtime import audit_command
from shared.runtime.arguments import count, days, look_at, serial
from shared.runtime.audited_command import audited, is_audited, path_of
from shared.runtime.clock import SystemClock
from shared.runtime.interrupts import INTERRUPTED, STATUS
from shared.runtime.terminal import visible_output

log = structlog.get_logger(__name__)

Command = Callable[[argparse.Namespace], Coroutine[Any, Any, int]]


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


def main(
    spec: ServiceSpec,
    add_commands: Callable[[Any], None] | None = None,
    argv: list[str] | None = None,
) -> int:
    """Parses and runs a command; `add_commands(subparsers)` adds parsers that set `command`."""
    parser = argparse.ArgumentParser(
        prog=f"python -m services.{spec.name}", description=f"Ebbwatch {spec.name}"
    )
    parser.add_argument("--log-level", default="INFO", choices=("DEBUG", "INFO", "WARNING"))
    commands = parser.add_subparsers(required=True, metavar="COMMAND")

    run = commands.add_parser("run", help="run the service until SIGTERM")
    run.set_defaults(command=lambda _: spec.run())
    bring = commands.add_parser("migrate", help="create or update this service's tables")
    bring.set_defaults(command=lambda _: _migrate(spec))
    _add_token_commands(spec, commands)
    audit_command.add_commands(spec.schema, commands, partial(with_engine, spec))
    if add_commands is not None:
        add_commands(commands)

    try:
        args = parser.parse_args(argv)
        path = path_of(parser, sys.argv[1:] if argv is None else argv)
        configure_logging(spec.name, args.log_level)
        with visible_output():
            return _carried_out(spec, path, args)
    except KeyboardInterrupt:
        print(INTERRUPTED, file=sys.stderr)
        return STATUS


def _carried_out(spec: ServiceSpec, path: str, args: argparse.Namespace) -> int:
    command: Command = args.command
    try:
        look_at(args)
        work = audited(spec.schema, path, args, command) if is_audited(path) else command(args)
        with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
            return runner.run(work)
    except ValidationError as error:
        for problem in error.errors():
            place = ".".join(str(part) for part in problem["loc"])
            print(f"setting {place}: {problem['msg']}", file=sys.stderr)
        return 1
    except (Invalid, Transient, OSError) as error:
        print(f"{type(error).__name__}: {error}", file=sys.stderr)
        return 1
    except Exception:
        # Through the log, which omits what PostgreSQL quotes and escapes control characters.
        log.exception("command failed")
        return 1


async def with_engine(spec: ServiceSpec, work: Callable[[AsyncEngine], Awaitable[int]]) -> int:
    """Runs an operator command's work with an engine, and disposes of the engine afterwards."""
    engine = create_engine(PostgresSettings(), f"{spec.name}-cli")
    try:
        return await work(engine)
    finally:
        await engine.dispose()


async def _migrate(spec: ServiceSpec) -> int:
    async def work(engine: AsyncEngine) -> int:
        await migrate(engine, spec.schema, spec.versions)
        return 0

    return await with_engine(spec, work)


def _add_token_commands(spec: ServiceSpec, commands: Any) -> None:
    tokens = commands.add_parser("tokens", help="who may use the HTTP API")
    actions = tokens.add_subparsers(required=True, metavar="ACTION")
    create = actions.add_parser("create", help="make a token; it is shown once")
    create.add_argument("--name", required=True, help="who or what will use it")
    create.add_argument("--scope", required=True, action="append", choices=SCOPES)
    create.add_argument(
        "--owner", action="append", help="sees this owner's customers and tasks only; repeat it"
    )
    create.add_argument("--days", type=days, help="expires after so many days (default: never)")
    create.set_defaults(command=lambda args: _token_create(spec, args))
    listing = actions.add_parser("list", help="every token, without the secret")
    listing.set_defaults(command=lambda _: _token_list(spec))
    rotate = actions.add_parser("rotate", help="make a new token in place of one; shown once")
    rotate.add_argument("id", type=serial, help="as `tokens list` shows it")
    rotate.add_argument("--overlap-hours", type=count, default=24, help="how long both are valid")
    rotate.set_defaults(command=lambda args: _token_rotate(spec, args.id, args.overlap_hours))
    revoke = actions.add_parser("revoke", help="end a token now")
    revoke.add_argument("id", type=serial, help="as `tokens list` shows it")
    revoke.set_defaults(command=lambda args: _token_revoke(spec, args.id))


async def _token_create(spec: ServiceSpec, args: argparse.Namespace) -> int:
    clock = SystemClock()
    ends = None if args.days is None else clock.now() + timedelta(days=args.days)

    async def work(engine: AsyncEngine) -> int:
        tokens = Tokens(engine, spec.token_table, clock)
        made = tokens.create(args.name, args.scope, owner_ids=args.owner, expires_at=ends)
        print(await made)
        return 0

    return await with_engine(spec, work)


async def _token_rotate(spec: ServiceSpec, token_id: int, overlap_hours: int) -> int:
    async def work(engine: AsyncEngine) -> int:
        tokens = Tokens(engine, spec.token_table, SystemClock())
        made = await tokens.rotate(token_id, timedelta(hours=overlap_hours))
        if made is None:
            print(f"no token {token_id} is valid; see `tokens list`", file=sys.stderr)
            return 1
        print(made)
        return 0

    return await with_engine(spec, work)


async def _token_list(spec: ServiceSpec) -> int:
    async def work(engine: AsyncEngine) -> int:
        for row in await Tokens(engine, spec.token_table, SystemClock()).list_all():
            print(describe(row, SystemClock().now()))
        return 0

    return await with_engine(spec, work)


async def _token_revoke(spec: ServiceSpec, token_id: int) -> int:
    async def work(engine: AsyncEngine) -> int:
        if await Tokens(engine, spec.token_table, SystemClock()).revoke(token_id):
            return 0
        print(f"no token {token_id} stands; see `tokens list`", file=sys.stderr)
        return 1

    return await with_engine(spec, work)
