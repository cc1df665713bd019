"""Operator command: repeats published assessments and compares the numbers."""

import argparse
from typing import Any

from sqlalchemy.ext.asyncio import AsyncEngine

from services.scoring.commands.service import add, group
from services.scoring.handlers.replay_assessments import Replayed, replay
from services.scoring.model.loading import loads
from services.scoring.model.rule_model import VERSION, RuleModel
from services.scoring.model.store import ArtefactStore
from services.scoring.ports import Predictor, PublishedAssessment
from services.scoring.settings import ScoringSettings
from services.scoring.store.history import HistoryReader
from services.scoring.store.models import Models
from shared.kernel.errors import Invalid
from shared.runtime.arguments import count


def add_commands(commands: Any) -> None:
    """Adds `assessments replay`."""
    actions = group(commands, "assessments", "published assessments of customers")
    again = add(
        actions,
        "replay",
        _replay,
        "make published assessments again from stored features and model version",
    )
    again.add_argument("customer", nargs="?", help="only this customer's; default: all")
    again.add_argument("--last", type=count, default=100_000, help="at most so many, newest first")


async def _replay(args: argparse.Namespace, engine: AsyncEngine) -> int:
    store = ArtefactStore(ScoringSettings().model_store)
    digests = {row.version: row.digest for row in await Models(engine).list_all()}

    def predictor_of(made: PublishedAssessment) -> Predictor:
        if made.model_version == VERSION:
            return RuleModel(made.horizon_days)
        if made.model_version not in digests:
            raise Invalid("model", f"{made.model_version} is not in the registry")
        return loads(store.get(digests[made.model_version]))

    return _print(await replay(HistoryReader(engine).made(args.customer, args.last), predictor_of))


def _print(found: Replayed) -> int:
    print(f"{found.equal} assessments give the same number again, {found.differ} do not")
    for made, now in found.first_differing:
        print(
            f"  {made.customer_id} revision {made.revision}, {made.model_version}: "
            f"{made.probability!r} was stored, {now!r} comes out"
        )
    for reason, records in found.impossible.items():
        print(f"  {records} cannot be made again: {reason}")
    return 1 if found.differ or found.impossible else 0
