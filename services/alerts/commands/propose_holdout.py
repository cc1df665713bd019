"""Operator command that states how large a holdout for how long shows what the tasks do."""

import argparse
import sys
from datetime import timedelta
from typing import Any, Final

from sqlalchemy.ext.asyncio import AsyncEngine

from services.alerts.commands.service import add, business_clock
from services.alerts.core.effect import ENOUGH
from services.alerts.core.holdout_power import POWER, HoldoutPlan, plans, proposed
from services.alerts.core.policy_document import Policy
from services.alerts.core.uplift.fit import TRIALS_MIN
from services.alerts.store import effects as effect_store
from services.alerts.store.effects import FirstWarnings
from services.alerts.store.policies import Policies
from shared.postgres.engine import unit_of_work
from shared.runtime.arguments import days, number

DAYS: Final = 91
"""Default days of warnings that are counted."""
WEEKS: Final = 26.0
"""Default time within which an answer is expected: half a year."""
EFFECT: Final = 0.05
"""Default effect to find: five more of a hundred customers come back."""
UNKNOWN_RATE: Final = 0.5
"""Return rate where none was measured: the one that needs most warnings."""
WEEK_DAYS: Final = 7.0


def add_propose_holdout(actions: Any) -> None:
    """Add `effect propose-holdout`."""
    propose = add(
        actions, "propose-holdout", _propose, "how large a holdout for how long gives an answer"
    )
    propose.add_argument(
        "--effect", type=number, default=EFFECT, help="to find: 0.05 is five more of a hundred"
    )
    propose.add_argument("--weeks", type=number, default=WEEKS, help="within which to find it")
    propose.add_argument("--days", type=days, default=DAYS, help="of warnings to count")
    propose.add_argument(
        "--per-week", type=number, help="first warnings a week; default: as counted"
    )
    propose.add_argument(
        "--return-rate",
        type=number,
        help="share that buys again when left alone; default: as measured, or the hardest, 0.5",
    )


async def _propose(args: argparse.Namespace, engine: AsyncEngine) -> int:
    wrong = _wrong(args)
    if wrong is not None:
        print(wrong, file=sys.stderr)
        return 1
    async with unit_of_work(engine) as work:
        _, policy = await Policies().current(work)
        now = await business_clock().now(work)
        since = now - timedelta(days=args.days)
        counted = await effect_store.first_warnings(
            work, policy.name, since, policy.holdout.spare_grades
        )
    per_week = args.per_week
    if per_week is None:
        # A week at least: a few hours show nothing of a week.
        over = timedelta(days=WEEK_DAYS) if counted.earliest is None else now - counted.earliest
        per_week = counted.warned / max(over / timedelta(days=WEEK_DAYS), 1.0)
    if not per_week > 0:
        print(
            f"no customer was warned about in {args.days:,} days: give --per-week, the number of "
            "customers that you expect to be warned about for the first time in a week",
            file=sys.stderr,
        )
        return 1
    base, measured = _return_rate(args, counted)
    print(
        f"{per_week:,.1f} customers a week are warned about for the first time under the policy "
        f"{policy.name}; of those left alone {base:.0%} buy again ({measured})"
    )
    print(f"to find {args.effect:+.0%} with probability {POWER:.0%}:")
    made = plans(base, args.effect)
    _print(made, per_week)
    print(_advice(proposed(made, per_week, args.weeks), args, policy, counted, per_week))
    return 0


def _wrong(args: argparse.Namespace) -> str | None:
    """Return what is wrong with the arguments; None: nothing."""
    if not 0 < abs(args.effect) < 1:
        return "--effect must be above 0 and below 1, as 0.05"
    if args.return_rate is not None and not 0 <= args.return_rate <= 1:
        return "--return-rate must be 0 to 1"
    if args.per_week is not None and not args.per_week > 0:
        return "--per-week must be above 0"
    if not args.weeks > 0:
        return "--weeks must be above 0"
    return None


def _return_rate(args: argparse.Namespace, counted: FirstWarnings) -> tuple[float, str]:
    if args.return_rate is not None:
        return float(args.return_rate), "as given"
    if counted.held_out >= ENOUGH:
        return counted.returned / counted.held_out, f"measured on {counted.held_out:,}"
    return UNKNOWN_RATE, f"not measured yet, so the hardest case; {ENOUGH} left alone would do"


def _print(made: list[HoldoutPlan], per_week: float) -> None:
    print("  share  warnings  left alone   weeks   one planned reading after")
    for plan in made:
        weeks, alone = plan.weeks(per_week), plan.left_alone()
        planned = f"{plan.planned / per_week:,.1f} weeks"
        if weeks is None or alone is None:
            print(f"  {plan.share:>5.0%}     never           -       -   {planned}")
            continue
        print(f"  {plan.share:>5.0%}  {plan.claimed:>8,}  {alone:>10,}  {weeks:>6,.1f}   {planned}")
    print(
        "  warnings, left alone, weeks: until the report claims the effect, however often it is "
        "read"
    )


def _advice(
    best: HoldoutPlan | None,
    args: argparse.Namespace,
    policy: Policy,
    counted: FirstWarnings,
    per_week: float,
) -> str:
    """Return what to do, in sentences."""
    wait = counted.window_days
    after = f", and {wait:,.0f} days more until the last outcome is measured" if wait else ""
    learned = (
        f"Effects of single customers need at least {TRIALS_MIN:,} measured warnings: "
        f"{TRIALS_MIN / per_week:,.0f} weeks."
    )
    spared = ", ".join(policy.holdout.spare_grades)
    exempt = f" Customers graded {spared} are never held out." if spared else ""
    now = f" The policy holds out {policy.holdout.share:.0%} now."
    if best is None:
        return (
            f"No share gives an answer within {args.weeks:,.0f} weeks: look for a larger effect "
            f"(--effect), or wait longer (--weeks).{now}{exempt}\n{learned}"
        )
    weeks = best.weeks(per_week)
    return (
        f"Proposed: holdout: {{share: {best.share:g}}} for {weeks:,.0f} weeks{after}: the smallest "
        f"share that answers within {args.weeks:,.0f} weeks. It leaves {best.left_alone():,} "
        f"customers alone.{now}{exempt}\n{learned}"
    )
