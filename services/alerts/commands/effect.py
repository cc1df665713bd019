"""Operator commands for the effect of the tasks."""

import argparse
from datetime import timedelta
from pathlib import Path
from typing import Any

from sqlalchemy.ext.asyncio import AsyncEngine

from services.alerts.commands.propose_holdout import add_propose_holdout
from services.alerts.commands.service import add, business_clock
from services.alerts.core.wording.effect import claim_text
from services.alerts.handlers.measure_effect import MeasureEffect
from services.alerts.store.policies import Policies
from services.alerts.store.uplift_fits import UpliftFits
from shared.postgres.engine import unit_of_work
from shared.runtime.arguments import count, days
from shared.runtime.command_line import group


def add_commands(commands: Any) -> None:
    """Add `effect show|report|learned|withheld|propose-holdout`."""
    actions = group(commands, "effect", "whether the tasks keep customers")
    show = add(actions, "show", _show, "treated against held out, in a few lines")
    show.add_argument("--policy", help="default: the one in force")
    report = add(actions, "report", _report, "write the report as one HTML file")
    report.add_argument("file", type=Path)
    report.add_argument("--policy", help="default: the one in force")
    report.add_argument("--language", choices=("en", "zh-CN"), default="en")
    learned = add(actions, "learned", _learned, "what was learned about single customers, and why")
    learned.add_argument("--limit", type=count, default=10, help="of the newest fits")
    withheld = add(actions, "withheld", _withheld, "tasks not raised: they clearly do not help")
    withheld.add_argument("--days", type=days, default=28, help="back from now")
    withheld.add_argument("--limit", type=count, default=50, help="tasks shown")
    add_propose_holdout(actions)


def _measure(engine: AsyncEngine) -> MeasureEffect:
    return MeasureEffect(engine=engine, policies=Policies())


async def _show(args: argparse.Namespace, engine: AsyncEngine) -> int:
    report = await _measure(engine)(args.policy, None, None, ["playbook"])
    for name, effect in (("all", report.whole), *report.parts["playbook"].items()):
        low, high = effect.anytime
        print(f"{name}: {claim_text(effect.claim, 'en')}")
        for side, arm in (("treated", effect.treated), ("held out", effect.held_out)):
            share = "" if arm.rate is None else f", {arm.rate:.1%} bought again"
            print(f"  {side}: {arm.n:,} customers{share}")
        if effect.uplift is not None:
            print(f"  difference {effect.uplift:+.1%} ({low:+.1%} to {high:+.1%} at any time)")
    print(f"{report.unmeasured:,} warnings are not measured yet")
    if report.learned is not None:
        print(report.learned.note)
        print(f"{report.withheld:,} tasks withheld (effect withheld)")
    return 0


async def _learned(args: argparse.Namespace, engine: AsyncEngine) -> int:
    async with unit_of_work(engine) as work:
        _, policy = await Policies().current(work)
        fits = await UpliftFits().newest(work, policy.name, args.limit)
    if not fits:
        print("nothing was learned yet: it needs a holdout and measured warnings")
    for each in fits:
        print(f"{each.version}  {each.fitted_at:%Y-%m-%d %H:%M}  {each.note}")
    for known in fits[0].fit.playbooks if fits else ():
        own = "customers' own effects" if known.weights else "rate"
        print(
            f"  {known.playbook}: {known.rate:+.1%} ({known.low:+.1%} to {known.high:+.1%} at any "
            f"time), {known.subjects:,} customers, {known.held_out:,} of them left alone; {own}"
        )
    return 0


async def _withheld(args: argparse.Namespace, engine: AsyncEngine) -> int:
    async with unit_of_work(engine) as work:
        since = await business_clock().now(work) - timedelta(days=args.days)
        number, tasks = await UpliftFits().withheld(work, since, args.limit)
    print(f"{number:,} tasks withheld in {args.days:,} days: the playbook clearly does not help")
    for each in tasks:
        print(
            f"{each.at:%Y-%m-%d %H:%M}  {each.customer_id}  {each.cause}  {each.playbook}: "
            f"{each.effect:+.1%} ({each.low:+.1%} to {each.high:+.1%}), fit {each.fit}, "
            f"{each.times:,} times since {each.first_at:%Y-%m-%d}"
        )
    return 0


async def _report(args: argparse.Namespace, engine: AsyncEngine) -> int:
    # Imported here: the other commands must not load plots.
    from services.alerts.reports.effect_page import effect_page  # noqa: PLC0415

    report = await _measure(engine)(args.policy, None, None)
    args.file.write_text(effect_page(report, args.language), encoding="utf-8")
    print(f"written to {args.file}")
    return 0
