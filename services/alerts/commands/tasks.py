"""Operator commands for retention tasks."""

import argparse
import sys
from collections.abc import Sequence
from typing import Any, get_args

from sqlalchemy.ext.asyncio import AsyncEngine

from services.alerts.commands.service import add, business_clock
from services.alerts.core.playbook import Queue
from services.alerts.core.task import Task
from services.alerts.core.wording.catalogue import sentence
from services.alerts.core.wording.numbers import LANGUAGES
from services.alerts.core.wording.tasks import in_full
from services.alerts.store import task_log
from services.alerts.store import tasks as task_store
from services.alerts.store.tasks import QueueFilter, TaskFilter
from shared.postgres.engine import unit_of_work
from shared.runtime.arguments import count
from shared.runtime.command_line import group

EVENTS_MAX = 200
"""Most events shown with a task: the newest."""


def add_commands(commands: Any) -> None:
    """Add `tasks list|queue|show`."""
    actions = group(commands, "tasks", "retention tasks")
    listing = add(actions, "list", _list_tasks, "tasks, newest first")
    listing.add_argument("--status", choices=("open", "closed"))
    listing.add_argument("--owner", help="the owner's id")
    listing.add_argument("--limit", type=count, default=50)
    queue = add(actions, "queue", _queue, "what is to be done, in order")
    queue.add_argument("--queue", choices=get_args(Queue), default="owner")
    queue.add_argument("--owner", help="the owner's id")
    queue.add_argument("--limit", type=count, default=50)
    show = add(actions, "show", _show, "one task as its owner reads it, with its history")
    show.add_argument("id")
    show.add_argument("--language", choices=LANGUAGES, help="default: the task's own")


async def _list_tasks(args: argparse.Namespace, engine: AsyncEngine) -> int:
    async with unit_of_work(engine) as work:
        found = await task_store.page(work, TaskFilter(args.status, args.owner), None, args.limit)
    _print(found)
    return 0


async def _queue(args: argparse.Namespace, engine: AsyncEngine) -> int:
    async with unit_of_work(engine) as work:
        chosen = QueueFilter(args.queue, args.owner, await business_clock().now(work))
        found = await task_store.queue(work, chosen, None, args.limit)
    _print(found)
    return 0


async def _show(args: argparse.Namespace, engine: AsyncEngine) -> int:
    async with unit_of_work(engine) as work:
        task = await task_store.find(work, args.id)
        events = await task_log.of(work, args.id, EVENTS_MAX)
    if task is None:
        print(f"no task {args.id}; see `tasks list`", file=sys.stderr)
        return 1
    print(in_full(task, args.language or task.language))
    for event in events:
        print(
            f"  {event['at']:%F %H:%M}Z  {event['actor']}: {event['kind']} {event['detail'] or ''}"
        )
    return 0


def _print(tasks: Sequence[Task]) -> None:
    for task in tasks:
        why = "; ".join(sentence(r, task.language, task.currency) for r in task.reasons)
        print(
            f"{task.id}  {task.status:<6}  {task.opened_at:%F}  {task.band:<8}  "
            f"{task.probability:4.0%}  {task.customer_id}  {task.owner_id or '(no owner)'}  {why}"
        )
