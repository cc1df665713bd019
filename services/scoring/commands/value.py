"""Operator commands of value: segment report, segments and thresholds."""

import argparse
import asyncio
import json
import re
import sys
from collections import Counter, defaultdict
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import msgspec
from sqlalchemy.ext.asyncio import AsyncEngine

from services.scoring.commands import report_window as middle
from services.scoring.commands.service import add, group
from services.scoring.core.features.decode import category_of
from services.scoring.core.features.state import CATEGORY_BUCKETS
from services.scoring.core.segments.movement import Moves, known_from
from services.scoring.core.segments.rules import ID_PATTERN, runnable
from services.scoring.core.value import policy as policies
from services.scoring.handlers.refresh_value_base import sampled
from services.scoring.settings import ScoringSettings
from services.scoring.store.classification_queries import ClassificationQueries
from services.scoring.store.definitions import Decisions, SegmentDefinition
from services.scoring.store.history import HistoryReader
from services.scoring.store.value_jobs import ValueJobs
from shared.contracts.activity import DECODER
from shared.contracts.events import PURCHASE
from shared.kernel.errors import Invalid
from shared.runtime.arguments import instant
from shared.runtime.clock import SystemClock


def add_commands(commands: Any) -> None:
    """Adds `report`, `segments` and `value`."""
    report = add(commands, "report", _report, "movement between groups, and what they do")
    report.add_argument("--out", type=Path, required=True, help="the HTML file to write")
    report.add_argument("--json", type=Path, help="the same numbers as JSON")
    report.add_argument("--csv", type=Path, help="what each group did in each period, as CSV")
    report.add_argument(
        "--start",
        type=instant,
        help="compare from here; default: 91 days before, once half had a grade",
    )
    report.add_argument("--end", type=instant, help="to here; default: the newest change")
    middle.add_arguments(report)
    actions = group(commands, "segments", "the user's own segments")
    add(actions, "list", _list, "those in force, with their size")
    define = add(actions, "define", _define, "define a segment, or change it")
    define.add_argument("id")
    define.add_argument("expression", help="a CEL rule, as \"tier == 'high' && spent > 100.0\"")
    define.add_argument("--name")
    define.add_argument("--action", help="a playbook, triggered once on entry")
    define.add_argument("--act-on-existing", action="store_true")
    retire = add(actions, "retire", _retire, "take a segment out of force")
    retire.add_argument("id", help="as `segments list` shows it")
    add(actions, "discover", _discover, "groups without a rule, in words")
    actions = group(commands, "value", "thresholds of tiers, grades and states")
    policy = add(actions, "policy", _policy, "put a policy (JSON file) in force")
    policy.add_argument("file", type=Path)
    policy.add_argument("--reason", required=True)
    add(actions, "categories", _categories, "what is bought, and which need it shows")


async def _report(args: argparse.Namespace, engine: AsyncEngine) -> int:
    # Imported here: the other commands must not load plots and polars.
    from services.scoring.reports import segment_report as pages  # noqa: PLC0415
    from services.scoring.training.data.event_table import from_columns  # noqa: PLC0415
    from services.scoring.training.data.stored_events import batch_of  # noqa: PLC0415
    from shared.report.page import write  # noqa: PLC0415

    lists, decisions = ClassificationQueries(engine), Decisions(engine)
    newest = await lists.newest()
    if newest is None:
        raise Invalid("report", "no customer has a classification yet: is scoring running?")
    end = args.end or newest
    moves = {kind: await lists.moves(f"{kind}_changed", end) for kind in pages.KINDS}
    start = args.start or _start(moves["grade"], end)
    if start >= end:
        raise Invalid("--start", "must lie before the end")
    around = await middle.around(engine, args, end)
    batches = [await asyncio.to_thread(batch_of, p) async for p in HistoryReader(engine).events()]
    table = await asyncio.to_thread(from_columns, batches, end.timestamp())
    report_input = pages.ReportInput(
        moves=moves,
        segment_moves=await lists.segment_moves(end),
        names={one.id: one.name for one in await decisions.segments()},
        customers=table.customers,
        events=table.events,
        counts=await lists.counts(),
        worth=await lists.worth(),
        currency=ScoringSettings().reporting_currency,
    )
    found = await asyncio.to_thread(
        pages.report, report_input, start, end, around, args.window_days
    )
    write(pages.segments_page(report_input, found), args.out)
    for path, text in (
        (args.json, json.dumps(pages.as_json(found), indent=2) + "\n"),
        (args.csv, pages.as_csv(found)),
    ):
        if path is not None:
            await asyncio.to_thread(path.write_text, text)
    print(f"{args.out}: {start:%F} to {end:%F}, {len(found.over_time)} groups")
    return 0


def _start(moves: Moves, end: datetime) -> datetime:
    """Returns a quarter before the end, or when half of the customers had a grade, if later."""
    quarter, known = end - timedelta(days=91), known_from(moves)
    return quarter if known is None or known >= end else max(quarter, known)


async def _list(_: argparse.Namespace, engine: AsyncEngine) -> int:
    decisions = Decisions(engine)
    sizes = await decisions.sizes()
    for one in await decisions.segments():
        print(f"{one.id:<24} v{one.version:<3} {sizes.get(one.id, 0):>8,}  {one.expression}")
    return 0


async def _discover(_: argparse.Namespace, engine: AsyncEngine) -> int:
    from services.scoring.training.discover_segments import discover  # noqa: PLC0415

    jobs = ValueJobs(engine)
    sample, now = await sampled(jobs), await jobs.business_time()
    if not sample or now is None:
        raise Invalid("segments", "no customer was ever folded, or an import is under way")
    x = sample.columns(now)[0]
    found = await asyncio.to_thread(discover, x)
    shown = ", ".join(f"k={k}: {value:.3f}" for k, value in found.silhouette.items())
    print(f"silhouette {shown}")
    for one in found.clusters:
        print(f"\n{one.customers:,} customers ({one.share:.0%})")
        print("  median " + ", ".join(f"{n} {v:,.4g}" for n, v in one.middle.items()))
        print(f"  {one.rule}")
        print(f"  finds {one.recall:.0%} of them, is right for {one.precision:.0%}")
    return 0


async def _define(args: argparse.Namespace, engine: AsyncEngine) -> int:
    if re.fullmatch(ID_PATTERN, args.id) is None:
        raise Invalid("id", "must be a word of small letters, digits and hyphens, as `big-city`")
    runnable(args.expression)
    decisions = Decisions(engine)
    current = await decisions.segment(args.id)
    saved = await decisions.save_segment(
        SegmentDefinition(
            id=args.id,
            name=args.name or (current.name if current else args.id),
            description=current.description if current else "",
            expression=args.expression,
            action=args.action,
            act_on_existing=args.act_on_existing,
            created_at=SystemClock().now(),
        ),
        current.version if current else 0,
    )
    print(f"{saved.id} version {saved.version} is in force within seconds")
    return 0


async def _retire(args: argparse.Namespace, engine: AsyncEngine) -> int:
    retired = await Decisions(engine).retire_segment(args.id, SystemClock().now())
    if retired is None:
        print(f"no segment {args.id!r} is in force; see `segments list`", file=sys.stderr)
        return 1
    print(f"{retired.id} is out of force within seconds; its members leave it silently")
    return 0


async def _policy(args: argparse.Namespace, engine: AsyncEngine) -> int:
    policy = policies.parse(await asyncio.to_thread(args.file.read_bytes))
    text = msgspec.json.encode(policy).decode()
    version = await Decisions(engine).save_policy(text, args.reason, SystemClock().now())
    print(f"policy {version} is in force within seconds", file=sys.stderr)
    return 0


async def _categories(_: argparse.Namespace, engine: AsyncEngine) -> int:
    bought: Counter[str] = Counter()
    async for payloads in HistoryReader(engine).events():
        found = map(DECODER.decode, payloads)
        bought.update(
            one.data.category for one in found if one.type == PURCHASE and one.data.category
        )
    versions = await Decisions(engine).policies()
    policy = policies.stored(versions[0].policy) if versions else policies.ValuePolicy()
    mapped = policy.affinity.categories
    sharing: defaultdict[int, list[str]] = defaultdict(list)
    for name in bought:
        sharing[category_of(name) % CATEGORY_BUCKETS].append(name)
    for name, purchases in bought.most_common():
        needs = sorted(need for need, names in mapped.items() if name in names)
        counter = category_of(name) % CATEGORY_BUCKETS
        beside = [n for n in sharing[counter] if n != name]
        print(
            f"{name:<30} {purchases:>10,}  {', '.join(needs) or '-':<20} "
            f"counter {counter:>2} {'with ' + ', '.join(beside) if beside else 'alone'}"
        )
    return 0
