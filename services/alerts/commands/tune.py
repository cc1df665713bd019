"""Operator command that finds the budget's level for a wanted number of warnings."""

import argparse
import getpass
import sys
from collections.abc import Sequence
from datetime import timedelta
from typing import Any

from sqlalchemy.ext.asyncio import AsyncEngine

from services.alerts.commands.service import add, business_clock
from services.alerts.core.budget import BudgetHistory, tuned
from services.alerts.core.policy_document import BudgetPoint, Policy
from services.alerts.handlers.dry_run_policy import CUSTOMERS_MAX, DryRunPolicy
from services.alerts.store.policies import Policies
from shared.postgres.engine import unit_of_work
from shared.runtime.arguments import count, days, number
from shared.runtime.clock import SystemClock

DAYS: int = 91
"""Default days of history: a quarter, so that one busy month does not set the level."""


def add_tune(actions: Any) -> None:
    """Add `policies tune`."""
    tune = add(actions, "tune", _tune, "the least expected value that leaves so many warnings")
    wanted = tune.add_mutually_exclusive_group(required=True)
    wanted.add_argument(
        "--warnings-per-100",
        type=number,
        metavar="N",
        help="per 100 customers with a rhythm of their own and 30 days",
    )
    wanted.add_argument(
        "--per-owner-per-day", type=number, metavar="N", help="per owner and working day"
    )
    tune.add_argument("--days", type=days, default=DAYS, help="of history")
    tune.add_argument("--customers", type=count, default=5_000, help=f"at most {CUSTOMERS_MAX:,}")
    tune.add_argument("--apply", action="store_true", help="store it as a new version")


async def _tune(args: argparse.Namespace, engine: AsyncEngine) -> int:
    policies = Policies()
    async with unit_of_work(engine) as work:
        version, policy = await policies.current(work)
        end = await business_clock().now(work)
    dry = DryRunPolicy(
        engine=engine,
    )
    found = await dry.warnings(policy, end - timedelta(days=args.days), end, args.customers)
    history = found.history(args.days)
    if not history.customers:
        print(
            "no customer with a rhythm of their own was assessed in that time: nothing to tune on",
            file=sys.stderr,
        )
        return 1
    if args.per_owner_per_day is not None and not found.owners:
        print("no customer has an owner: use --warnings-per-100", file=sys.stderr)
        return 1
    target = _target(args, policy, history, len(found.owners))
    after = tuned(
        history,
        policy,
        target,
        per_100=args.warnings_per_100,
        per_owner=args.per_owner_per_day,
        at=end,
    )
    _print(after, history, target)
    if args.apply:
        async with unit_of_work(engine) as work:
            made = await policies.put(
                work,
                after,
                getpass.getuser(),
                SystemClock().now(),
                note="policies tune",
                expected=version,
            )
        print(f"version {made.version} is in force")
    return 0


def _target(args: argparse.Namespace, policy: Policy, history: BudgetHistory, owners: int) -> float:
    """Return the wanted number of warnings over the whole history."""
    if args.warnings_per_100 is not None:
        return history.warnings_for(args.warnings_per_100)
    working = history.days * len(policy.hours.working_days) / 7
    return float(args.per_owner_per_day * owners * working)


def _print(policy: Policy, history: BudgetHistory, target: float) -> None:
    budget = policy.budget
    print(
        f"{history.days:,.0f} days, {history.customers:,} customers with a rhythm of their own, "
        f"{len(history.lapses):,} lapses; "
        f"{len(history.candidates):,} warnings without a budget, {target:,.0f} wanted"
    )
    if budget.expected_value_min is None:
        few = len(history.candidates) <= target
        why = (
            "there are no more warnings than asked for"
            if few
            else (
                "no amounts are known, so no customer is worth more than another: raise "
                "strength_min or lapse_share_min of the signs instead"
            )
        )
        print(f"the budget holds nothing back: {why}")
    print("per 100: customers with a rhythm of their own, and 30 days")
    print(f"{'':7}    value from  warnings  per 100  precision  recall  value kept")
    for point in budget.curve:
        print(f"{'':7}  {_row(point)}")
    if budget.expected is not None:
        print(f"{'chosen':7}  {_row(budget.expected)}")


def _row(point: BudgetPoint) -> str:
    shares: Sequence[tuple[float | None, int]] = (
        (point.precision, 9),
        (point.recall, 6),
        (point.value_kept, 10),
    )
    cells = "  ".join(f"{'-' if s is None else f'{s:.0%}':>{width}}" for s, width in shares)
    return (
        f"{point.expected_value_min:>12,.2f}  {point.warnings:>8,}  "
        f"{point.warnings_per_100:>7.1f}  {cells}"
    )
