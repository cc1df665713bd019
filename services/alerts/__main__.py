"""Command line of alerts: the service, its tables, tokens, tasks, deliveries and endpoints."""

import argparse
import sys
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

from sqlalchemy.ext.asyncio import AsyncEngine

from services.alerts.core.wording.catalogue import sentence
from services.alerts.main import run
from services.alerts.store.delivery_log import DeliveryFilter, DeliveryLog
from services.alerts.store.tables import SCHEMA, api_token
from services.alerts.store.tasks import TaskFilter, Tasks
from shared.postgres.engine import unit_of_work
from shared.postgres.ledger import Ledger
from shared.runtime.clock import SystemClock
from shared.runtime.command_line import Command, ServiceSpec, main, with_engine

SPEC = ServiceSpec(
    name="alerts",
    schema=SCHEMA,
    versions=Path(__file__).parent / "store" / "versions",
    token_table=api_token,
    run=run,
)


def _add_commands(commands: Any) -> None:
    tasks = commands.add_parser("tasks", help="retention tasks")
    actions = tasks.add_subparsers(required=True, metavar="ACTION")
    listing = actions.add_parser("list", help="tasks, newest first")
    listing.add_argument("--status", choices=("open", "closed"))
    listing.add_argument("--owner", help="the owner's id")
    listing.add_argument("--limit", type=int, default=50)
    listing.set_defaults(command=_command(_list_tasks))

    deliveries = commands.add_parser("deliveries", help="messages to endpoints")
    actions = deliveries.add_subparsers(required=True, metavar="ACTION")
    listing = actions.add_parser("list", help="deliveries, newest first")
    listing.add_argument("--status", choices=("pending", "delivered", "failed"))
    listing.add_argument("--limit", type=int, default=50)
    listing.set_defaults(command=_command(_list_deliveries))
    resend = actions.add_parser("resend", help="send one again, under the same id")
    resend.add_argument("id")
    resend.set_defaults(command=_command(_resend))

    endpoints = commands.add_parser("endpoints", help="where tasks are sent")
    actions = endpoints.add_subparsers(required=True, metavar="ACTION")
    listing = actions.add_parser("list", help="every endpoint, and which are switched off")
    listing.set_defaults(command=_command(_list_endpoints))
    enable = actions.add_parser("enable", help="switch one on again; what waits is sent")
    enable.add_argument("id")
    enable.set_defaults(command=_command(_enable))

    partitions = commands.add_parser("partitions", help="how far each partition was read")
    actions = partitions.add_subparsers(required=True, metavar="ACTION")
    listing = actions.add_parser("show", help="every partition")
    listing.set_defaults(command=_command(_show_partitions))
    resume = actions.add_parser("resume", help="let a stopped partition go on where you say")
    resume.add_argument("topic")
    resume.add_argument("partition", type=int)
    resume.add_argument("--offset", type=int, help="default: the start of the log")
    resume.set_defaults(command=_command(_resume))


def _command(work: Callable[[argparse.Namespace, AsyncEngine], Awaitable[int]]) -> Command:
    async def command(args: argparse.Namespace) -> int:
        return await with_engine(SPEC, lambda engine: work(args, engine))

    return command


async def _list_tasks(args: argparse.Namespace, engine: AsyncEngine) -> int:
    async with unit_of_work(engine) as work:
        found = await Tasks().page(work, TaskFilter(args.status, args.owner), None, args.limit)
    for task in found:
        why = "; ".join(sentence(r, task.language, task.currency) for r in task.reasons)
        print(
            f"{task.id}  {task.status:<6}  {task.opened_at:%F}  {task.band:<8}  "
            f"{task.probability:4.0%}  {task.customer_id}  {task.owner_id or '(no owner)'}  {why}"
        )
    return 0


async def _list_deliveries(args: argparse.Namespace, engine: AsyncEngine) -> int:
    for row in await DeliveryLog(engine).page(DeliveryFilter(args.status), None, args.limit):
        print(
            f"{row['id']}  {row['status']:<9}  {row['attempts']:>2} attempts  {row['kind']}  "
            f"{row['endpoint_id']}  {row['task_id']}  next {row['next_at']:%F %T}Z"
        )
    return 0


async def _resend(args: argparse.Namespace, engine: AsyncEngine) -> int:
    if await DeliveryLog(engine).resend(args.id, SystemClock().now()):
        return 0
    print(f"no delivery {args.id}, or it is being sent right now", file=sys.stderr)
    return 1


async def _list_endpoints(_: argparse.Namespace, engine: AsyncEngine) -> int:
    for row in await DeliveryLog(engine).endpoints():
        off = row["disabled_at"]
        state = "on" if off is None else f"off since {off:%F %T}Z: {row['disabled_reason']}"
        print(f"{row['id']:<32}  {state}")
    return 0


async def _enable(args: argparse.Namespace, engine: AsyncEngine) -> int:
    if await DeliveryLog(engine).enable(args.id):
        return 0
    print(f"no endpoint {args.id}; see `endpoints list`", file=sys.stderr)
    return 1


async def _show_partitions(_: argparse.Namespace, engine: AsyncEngine) -> int:
    for row in await Ledger(engine, SCHEMA).list_all():
        print(
            f"{row['topic']}/{row['partition']:<3}  next {row['next_offset']}  "
            f"epoch {row['epoch']}  {row['status']}  {row['status_reason'] or ''}"
        )
    return 0


async def _resume(args: argparse.Namespace, engine: AsyncEngine) -> int:
    if await Ledger(engine, SCHEMA).reset((args.topic, args.partition), args.offset):
        return 0
    print(f"no partition {args.topic}/{args.partition}; see `partitions show`", file=sys.stderr)
    return 1


if __name__ == "__main__":
    sys.exit(main(SPEC, _add_commands))
