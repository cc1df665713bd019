"""Operator command `erasures show`, the same in every service: what was done for a request."""

import argparse
import sys
from collections.abc import Sequence
from typing import Any

from sqlalchemy.ext.asyncio import AsyncEngine

from shared.contracts.topics import Topic
from shared.http.erasures import view
from shared.postgres.engine import unit_of_work
from shared.postgres.erasures import Erasures
from shared.runtime.command_line import ServiceSpec, on_database


def add_commands(spec: ServiceSpec, topics: Sequence[Topic], commands: Any) -> None:
    """Add the command; `topics`: those with records that the service wrote."""

    async def show(args: argparse.Namespace, engine: AsyncEngine) -> int:
        async with unit_of_work(engine) as work:
            found = await Erasures(spec.schema).find(work, args.request)
        if found is None:
            print(f"no erasure {args.request!r} has arrived at {spec.name} (yet)", file=sys.stderr)
            return 1
        shown = view(found, topics)
        done = "still erasing" if shown.done_at is None else f"done {shown.done_at:%F %T}Z"
        print(f"{spec.name}: {done}, requested {shown.requested_at:%F %T}Z")
        for table, rows in sorted(shown.rows.items()):
            print(f"{rows:>10,}  {table}")
        if shown.note:
            print(shown.note)
        for topic in shown.ages_out:
            print(f"topic {topic.topic}: its last older record goes by {topic.until:%F}")
        return 0

    erasures = commands.add_parser("erasures", help="customers who asked to be forgotten")
    actions = erasures.add_subparsers(required=True, metavar="ACTION")
    showing = actions.add_parser("show", help="what this service has done for a request")
    showing.add_argument("request", help="the id that `erase` printed")
    showing.set_defaults(command=on_database(spec, show))
