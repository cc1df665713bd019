"""`models list|show|promote|rollback|shadow`: shows and changes the model registry."""

import argparse
import asyncio
from collections.abc import Mapping, Sequence
from datetime import timedelta
from typing import Any, Final

import msgspec
from sqlalchemy.ext.asyncio import AsyncEngine

from services.scoring.commands.service import add, group
from services.scoring.core.monitoring.outcomes import GroupQuality
from services.scoring.core.risk.publication import MOVE_MIN
from services.scoring.main import serving_of, watch_of
from services.scoring.model.loading import loads
from services.scoring.model.store import ArtefactStore
from services.scoring.settings import ScoringSettings
from services.scoring.store.models import FALLBACK, ModelRow, Models
from services.scoring.store.monitoring import MeasuredScores, MonitoringTables
from services.scoring.store.shadow_scores import Shadows
from shared.kernel.errors import Invalid
from shared.runtime.clock import SystemClock

PROMOTIONS_SHOWN: Final = 5
"""Rows of the promotion log at the end of `models list`."""

WEEKS_SHOWN: Final = 8
"""Number of matured weekly roll calls shown."""
DRIFTS_SHOWN: Final = 10
"""Number of drifted columns shown, strongest first."""


def add_commands(commands: Any) -> None:
    """Adds `models`."""
    actions = group(commands, "models", "the registry of models")
    add(actions, "list", _list, "every model, the serving one and the challenger marked")
    show = add(actions, "show", _show, "one model: its card and the result of the gate")
    show.add_argument("version", help="or the beginning of it")
    promote = add(actions, "promote", _promote, "let a model serve that passed the gate")
    promote.add_argument("version")
    promote.add_argument(
        "--force", metavar="REASON", help="also one that did not pass; the reason is logged"
    )
    rollback = add(actions, "rollback", _rollback, "let what served before serve again")
    rollback.add_argument("--reason", default="rolled back by an operator")
    shadow = add(actions, "shadow", _shadow, "the challenger: set it, end it, compare it")
    shadow.add_argument("version", nargs="?", help="becomes the challenger; none: show")
    shadow.add_argument("--off", action="store_true", help="have no challenger")
    add(actions, "watch", _watch, "what came of past scores, drift, and the present alarms")


async def _list(_: argparse.Namespace, engine: AsyncEngine) -> int:
    models = Models(engine)
    serving = await models.serving()
    for row in await models.list_all():
        marks = ["" if row.passed else "kept"]
        marks += ["serves"] if serving is not None and row.version == serving.version else []
        marks += [] if row.shadow_since is None else [f"challenger since {row.shadow_since:%F}"]
        print(
            f"{row.version:<20} {row.horizon_days:>4} d  features {row.feature_set}  "
            f"data {row.data_fingerprint or '-':<16}  {row.created_at:%F %H:%M}Z  "
            f"{' '.join(m for m in marks if m)}"
        )
    if serving is None:
        print(f"{FALLBACK} serves")
    for line in (await models.promotions())[:PROMOTIONS_SHOWN]:
        print(f"{line.at:%F %H:%M}Z  {line.action} {line.version or FALLBACK}: {line.reason}")
    return 0


async def _show(args: argparse.Namespace, engine: AsyncEngine) -> int:
    row = await Models(engine).find(args.version)
    shown = {
        name: getattr(row, name) for name in ModelRow.__slots__ if name not in {"gate", "report"}
    }
    shown["gate"] = msgspec.json.decode(row.gate)
    shown["report"] = msgspec.json.decode(row.report)
    print(msgspec.json.format(msgspec.json.encode(shown).decode(), indent=2))
    return 0


async def _promote(args: argparse.Namespace, engine: AsyncEngine) -> int:
    models = Models(engine)
    row = await models.find(args.version)
    serving = await models.serving()
    if serving is not None and serving.version == row.version:
        raise Invalid("version", f"{row.version} serves already")
    await _readable(row)
    if args.force is None:
        judged: str | None = msgspec.json.decode(row.gate).get("against")
        in_use = None if serving is None or serving.method != "model" else serving.version
        if not row.passed:
            raise Invalid("version", f"{row.version} did not pass the gate; see `models show`, or "
                          "give a reason with --force")  # fmt: skip
        if in_use is not None and judged != in_use:
            raise Invalid(
                "version",
                f"{row.version} was compared with {judged or FALLBACK}, but {in_use} serves now: "
                "train again, or give a reason with --force",
            )
    reason = args.force or "passed the gate"
    await models.promote(row.version, reason, SystemClock().now())
    print(f"{row.version} serves from now on")
    return 0


async def _rollback(args: argparse.Namespace, engine: AsyncEngine) -> int:
    line = await Models(engine).rollback(args.reason, SystemClock().now())
    print(f"{line.version or FALLBACK} serves again")
    return 0


async def _shadow(args: argparse.Namespace, engine: AsyncEngine) -> int:
    models = Models(engine)
    if args.off:
        await models.challenge(None, SystemClock().now())
        print("no challenger")
        return 0
    if args.version is not None:
        row = await models.find(args.version)
        serving = await models.serving()
        if serving is not None and serving.version == row.version:
            raise Invalid("version", f"{row.version} serves: it cannot challenge itself")
        await _readable(row)
        await models.challenge(row.version, SystemClock().now())
        print(f"{row.version} scores beside from now on")
        return 0
    challenger = await models.shadow()
    if challenger is None:
        print("no challenger; `models shadow VERSION` sets one")
        return 0
    print(f"{challenger.version} since {challenger.shadow_since:%F %H:%M}Z")
    for found in await Shadows(engine).summary(challenger.version, MOVE_MIN):
        print(
            f"  beside {found.champion}: {found.scores:,} scores of "
            f"{found.customers:,} customers, mean {found.mean:.3f} against "
            f"{found.champion_mean:.3f}, mean difference {found.mean_difference:.3f}, "
            f"{found.moved_share:.1%} differ by {MOVE_MIN} or more"
        )
    return 0


async def _watch(_: argparse.Namespace, engine: AsyncEngine) -> int:
    settings = ScoringSettings()
    serving = serving_of(settings, engine)
    await serving.refresh()
    now = SystemClock().now()
    roll = MonitoringTables(engine)
    rows = await roll.realised(
        now.date() - timedelta(days=WEEKS_SHOWN * 7 + serving.current().horizon_days)
    )
    print(f"{'call':<12}{'segment':<14}{'scores of':<28}{'rows':>7}{'observed':>10}{'expected':>10}"
          f"{'ROC-AUC':>9}{'ECE':>7}{'lift@10':>9}")  # fmt: skip
    for row in rows:
        q = row.quality
        print(
            f"{row.called_on!s:<12}{q.segment:<14}{row.role + ' ' + row.version:<28}"
            f"{q.rows:>7}{q.observed:>10.3f}{q.expected:>10.3f}{q.roc_auc:>9.3f}"
            f"{q.calibration_error:>7.3f}{q.lift_at_10:>9.2f}"
        )
    watch = watch_of(settings, engine, serving, SystemClock())
    _print_beside_the_card(rows, serving.current().version, await watch.promised())
    drifts = await roll.newest_drift()
    for moved in drifts[:DRIFTS_SHOWN]:
        d = moved.drift
        mark = "drifted" if d.drifted else ""
        print(f"{moved.called_on!s:<12}{d.feature:<28} PSI {d.psi:.3f}  KS {d.ks:.3f}  {mark}")
    for name, why in (await watch.alarms(now)).items():
        print(f"alarm {name:<8} {why or 'none'}")
    return 0


def _print_beside_the_card(
    rows: Sequence[MeasuredScores], version: str, promised: Mapping[str, GroupQuality]
) -> None:
    """Prints the newest realised measures of the serving model beside those of its card."""
    for segment, of_card in promised.items():
        realised = (row for row in rows if (row.role, row.version) == ("champion", version))
        newest = next((row for row in realised if row.quality.segment == segment), None)
        if newest is not None:
            was = of_card.beside_the_card()
            found = (
                f"{name.replace('_', ' ')} {value:.3f} (card {was[name]:.3f})"
                for name, value in newest.quality.beside_the_card().items()
            )
            print(f"{newest.called_on!s:<12}{segment:<14}{', '.join(found)}")


async def _readable(row: ModelRow) -> None:
    """Raises Invalid or Transient where the artefact cannot be loaded: it must not be named."""
    store = ArtefactStore(ScoringSettings().model_store)
    await asyncio.to_thread(lambda: loads(store.get(row.digest)))
