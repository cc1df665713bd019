"""Operator commands about retention tasks."""

import argparse
from typing import Any

from sqlalchemy.ext.asyncio import AsyncEngine

from services.alerts.commands.running import command
from services.alerts.core.wording.catalogue import sentence
from services.alerts.store.tasks import TaskFilter, Tasks
from shared.postgres.engine import unit_of_work


def add_commands(commands: Any) -> None:
    """`tasks list`."""
    tasks = commands.add_parser("tasks", help="retention tasks")
    actions = tasks.add_subparsers(required=True, metavar="ACTION")
    listing = actions.add_parser("list", help="tasks, newest first")
    listing.add_argument("--status", choices=("open", "closed"))
    listing.add_argument("--owner", help="the owner's id")
    listing.add_argument("--limit", type=int, default=50)
    listing.set_defaults(command=command(_list_tasks))


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
