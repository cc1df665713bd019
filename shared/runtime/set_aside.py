"""Operator commands about items that are set aside, the same in every service that has them."""

import argparse
import sys
from collections.abc import Awaitable, Callable
from typing import Any

from shared.postgres.suspects import Suspects
from shared.runtime.command_line import Command, ServiceSpec, on_database
from shared.runtime.isolation import READ_S

Work = Callable[[Suspects, argparse.Namespace], Awaitable[int]]


def add_commands(spec: ServiceSpec, commands: Any) -> None:
    """Adds the commands `aside list|release`."""

    def doing(work: Work) -> Command:
        return on_database(spec, lambda args, engine: work(Suspects(engine, spec.schema), args))

    aside = commands.add_parser("aside", help="items set aside because work on them fails")
    actions = aside.add_subparsers(required=True, metavar="ACTION")
    listing = actions.add_parser("list", help="every item, with what is held against it")
    listing.set_defaults(command=doing(_list))
    release = actions.add_parser("release", help="work on items again, once the fault is mended")
    release.add_argument("kind", nargs="?", help="as `aside list` shows it; without: all items")
    release.add_argument("item", nargs="?", help="without: all items of this kind")
    release.set_defaults(command=doing(_release))


async def _list(suspects: Suspects, _: argparse.Namespace) -> int:
    for each in await suspects.all():
        since = "watched" if each.aside_at is None else f"aside since {each.aside_at:%F %T}Z"
        print(f"{each.kind}  {each.item}  {since}  {each.failures} failures: {each.reason}")
    return 0


async def _release(suspects: Suspects, args: argparse.Namespace) -> int:
    if not (count := await suspects.release(args.kind, args.item)):
        print("nothing of that is set aside; see `aside list`", file=sys.stderr)
        return 1
    print(f"{count} released; worked on again within {READ_S:.0f} s")
    return 0
