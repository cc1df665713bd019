"""Operator commands for the policy and for owners' records."""

import argparse
import getpass
from collections import Counter
from datetime import timedelta
from pathlib import Path
from typing import Any

import yaml
from sqlalchemy.ext.asyncio import AsyncEngine

from services.alerts.commands.service import add, business_clock
from services.alerts.commands.tune import add_tune
from services.alerts.core.dry_run import DryRunResult
from services.alerts.core.owner import OwnerRecord
from services.alerts.core.policy_document import difference, plain
from services.alerts.handlers.dry_run_policy import CUSTOMERS_MAX, DryRunPolicy
from services.alerts.inbound.policy_file import read_policy
from services.alerts.store.policies import Policies
from shared.kernel.zones import zone
from shared.postgres.engine import unit_of_work
from shared.runtime.arguments import count, days
from shared.runtime.clock import SystemClock
from shared.runtime.command_line import group

LISTED = 200
"""Most rows that one command prints."""


def add_commands(commands: Any) -> None:
    """Add `policies show|list|put|try|tune` and `owners list|put`."""
    actions = group(commands, "policies", "who is warned about, and what is asked for")
    add(actions, "show", _show, "the policy in force, as YAML")
    add(actions, "list", _list, "every version, with who changed what")
    put = add(actions, "put", _put, "store a new version from a YAML file")
    put.add_argument("file", type=Path)
    put.add_argument("--note", help="why")
    dry = add(actions, "try", _try, "what a YAML file would have raised; raises nothing")
    dry.add_argument("file", type=Path)
    dry.add_argument("--days", type=days, default=90, help="of history")
    dry.add_argument("--customers", type=count, default=5_000, help=f"at most {CUSTOMERS_MAX:,}")
    add_tune(actions)

    actions = group(commands, "owners", "capacity, time zone and manager of owners")
    add(actions, "list", _list_owners, "every owner on record")
    put = add(actions, "put", _put_owner, "store a record, in place of the one before")
    put.add_argument("id")
    put.add_argument("--name")
    put.add_argument("--time-zone", help="IANA name")
    put.add_argument("--capacity-per-day", type=count)
    put.add_argument(
        "--manager", help="id of the person who is notified when the owner does not answer"
    )
    put.add_argument("--fallback", help="id of the owner who takes over")


async def _show(_: argparse.Namespace, engine: AsyncEngine) -> int:
    async with unit_of_work(engine) as work:
        version, policy = await Policies().current(work)
    print(f"# version {version}")
    print(yaml.safe_dump(plain(policy), allow_unicode=True, sort_keys=False), end="")
    return 0


async def _list(_: argparse.Namespace, engine: AsyncEngine) -> int:
    async with unit_of_work(engine) as work:
        found = await Policies().versions(work, None, LISTED)
    for each in found:
        print(f"version {each.version}  {each.created_at:%F %T}Z  {each.actor}  {each.note or ''}")
        if each.version > 1:
            print("\n".join(f"  {line}" for line in each.diff.splitlines()))
    return 0


async def _put(args: argparse.Namespace, engine: AsyncEngine) -> int:
    policy = read_policy(args.file)
    async with unit_of_work(engine) as work:
        policies = Policies()
        _, before = await policies.current(work)
        now = SystemClock().now()
        made = await policies.put(work, policy, getpass.getuser(), now, note=args.note)
    print(f"version {made.version} is in force")
    print("\n".join(difference(before, policy)) or "nothing changed")
    return 0


async def _try(args: argparse.Namespace, engine: AsyncEngine) -> int:
    policy = read_policy(args.file)
    async with unit_of_work(engine) as work:
        _, current = await Policies().current(work)
        end = await business_clock().now(work)
    dry = DryRunPolicy(
        engine=engine,
    )
    begin = end - timedelta(days=args.days)
    tried, ours = await dry([policy, current], begin, end, args.customers)
    print(f"{begin:%F} to {end:%F}, {tried.customers:,} customers")
    _print("this policy", tried)
    _print("in force now", ours)
    print("customers (most value at risk first):")
    for value, customer, at, cause in tried.most_at_risk[:10]:
        print(f"  {customer}  {at:%F}  {cause}  {value:,.2f}")
    return 0


def _print(name: str, tried: DryRunResult) -> None:
    low, high = tried.precision_interval
    right = "no task can be judged yet"
    if tried.precision is not None:
        right = f"{tried.precision:.0%} right ({low:.0%} to {high:.0%}, {tried.judged:,} judged)"
    print(
        f"{name}: {tried.raised:,} tasks, {tried.joined:,} causes that joined one, "
        f"{tried.held_out:,} held out; {right}"
    )
    for title, counter in (
        ("cause", tried.by_cause),
        ("grade", tried.by_grade),
        ("playbook", tried.by_playbook),
    ):
        print(f"  by {title}: {_counts(counter)}")


def _counts(counter: Counter[str]) -> str:
    return ", ".join(f"{name} {count:,}" for name, count in counter.most_common()) or "none"


async def _list_owners(_: argparse.Namespace, engine: AsyncEngine) -> int:
    async with unit_of_work(engine) as work:
        found = await Policies().owners_page(work, None, LISTED)
    for each in found:
        where = each.time_zone or "(time zone of the policy)"
        limit = "no limit" if each.capacity_per_day is None else f"{each.capacity_per_day} a day"
        print(
            f"{each.id}  {each.name or ''}  {limit}  {where}"
            f"  manager {each.manager_id or '-'}  fallback {each.fallback_id or '-'}"
        )
    return 0


async def _put_owner(args: argparse.Namespace, engine: AsyncEngine) -> int:
    if args.time_zone is not None:
        zone(args.time_zone)
    record = OwnerRecord(
        id=args.id,
        name=args.name,
        time_zone=args.time_zone,
        capacity_per_day=args.capacity_per_day,
        manager_id=args.manager,
        fallback_id=args.fallback,
    )
    async with unit_of_work(engine) as work:
        await Policies().put_owner(work, record, getpass.getuser(), SystemClock().now())
    return 0
