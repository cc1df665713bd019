"""Operator commands for the effect of the tasks."""

import argparse
from pathlib import Path
from typing import Any

from sqlalchemy.ext.asyncio import AsyncEngine

from services.alerts.commands.running import command
from services.alerts.core.wording.effect import claim_text
from services.alerts.handlers.measure_effect import MeasureEffect
from services.alerts.reports.effect_page import effect_page
from services.alerts.store.effects import Effects
from services.alerts.store.policies import Policies


def add_commands(commands: Any) -> None:
    """Add `effect show|report`."""
    effect = commands.add_parser("effect", help="whether the tasks keep customers")
    actions = effect.add_subparsers(required=True, metavar="ACTION")
    show = actions.add_parser("show", help="treated against held out, in a few lines")
    show.add_argument("--policy", help="default: the one in force")
    show.set_defaults(command=command(_show))
    report = actions.add_parser("report", help="write the report as one HTML file")
    report.add_argument("file", type=Path)
    report.add_argument("--policy", help="default: the one in force")
    report.add_argument("--language", choices=("en", "zh-CN"), default="en")
    report.set_defaults(command=command(_report))


def _measure(engine: AsyncEngine) -> MeasureEffect:
    return MeasureEffect(engine=engine, effects=Effects(), rules=Policies())


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
    return 0


async def _report(args: argparse.Namespace, engine: AsyncEngine) -> int:
    report = await _measure(engine)(args.policy, None, None)
    args.file.write_text(effect_page(report, args.language), encoding="utf-8")
    print(f"written to {args.file}")
    return 0
