"""Command line of scoring: the service, its tables, tokens, models and partitions."""

import argparse
import asyncio
import sys
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import msgspec
from sqlalchemy.ext.asyncio import AsyncEngine

from services.scoring.main import run
from services.scoring.model.churn_model import dumps
from services.scoring.model.store import ArtefactStore
from services.scoring.settings import ScoringSettings
from services.scoring.store.history import History
from services.scoring.store.models import ModelRow, Models
from services.scoring.store.tables import SCHEMA, api_token
from shared.postgres.ledger import Ledger
from shared.runtime.clock import SystemClock
from shared.runtime.command_line import ServiceSpec, main, with_engine

SPEC = ServiceSpec(
    name="scoring",
    schema=SCHEMA,
    versions=Path(__file__).parent / "store" / "versions",
    token_table=api_token,
    run=run,
)


def _add_commands(commands: Any) -> None:
    learn = commands.add_parser("train", help="fit a model on the stored events and promote it")
    learn.add_argument("--end", type=_instant, help="learn from nothing at or after this (UTC)")
    learn.add_argument("--horizon-days", type=int, help="silence that counts as churn")
    learn.add_argument("--threads", type=int, default=1, help="more rarely help: LightGBM spins")
    learn.set_defaults(command=_train)
    models = commands.add_parser("models", help="the registry of models")
    actions = models.add_subparsers(required=True, metavar="ACTION")
    listing = actions.add_parser("list", help="every model, the serving one marked")
    listing.set_defaults(command=_list_models)
    partitions = commands.add_parser("partitions", help="who owns what, and how far it got")
    actions = partitions.add_subparsers(required=True, metavar="ACTION")
    show = actions.add_parser("show", help="every partition")
    show.set_defaults(command=_show_partitions)
    for name, text in (
        ("resume", "let a stopped partition go on at an offset of your choice"),
        ("rewind", "read a partition again; events known by now have no second effect"),
    ):
        reset = actions.add_parser(name, help=text)
        reset.add_argument("partition", type=int)
        reset.add_argument("--topic", default=None)
        reset.add_argument("--offset", type=int, help="default: the start of the log")
        reset.set_defaults(command=_reset_partition)
    compare = commands.add_parser("evaluate", help="measure the model on public histories")
    compare.add_argument("rest", nargs=argparse.REMAINDER)
    compare.set_defaults(command=_evaluate)


def _instant(text: str) -> datetime:
    at = datetime.fromisoformat(text)
    return at.replace(tzinfo=UTC) if at.tzinfo is None else at.astimezone(UTC)


async def _train(args: argparse.Namespace) -> int:
    # Imported here: the service itself must not carry the weight of training.
    from services.scoring.training.stored import batch_of  # noqa: PLC0415
    from services.scoring.training.table import EventBatch, from_columns  # noqa: PLC0415
    from services.scoring.training.train import train  # noqa: PLC0415

    settings = ScoringSettings()
    clock = SystemClock()
    end: datetime = args.end or clock.now()
    horizon: int = args.horizon_days or settings.horizon_days

    async def work(engine: AsyncEngine) -> int:
        batches: list[EventBatch] = []
        async for payloads in History(engine).events():
            batches.append(await asyncio.to_thread(batch_of, payloads))
            print(f"read {sum(len(b.customers) for b in batches):,} events", file=sys.stderr)
        table = from_columns(batches, observed_until=end.timestamp())
        model, report = await asyncio.to_thread(
            train, table, end.timestamp(), horizon, threads=args.threads, progress=_show_progress
        )
        data = dumps(model)
        digest = ArtefactStore(settings.model_store).put(data)
        now = clock.now()
        await Models(engine).register(
            ModelRow(
                version=model.version,
                digest=digest,
                feature_set=model.feature_set,
                horizon_days=model.horizon_days,
                created_at=now,
                promoted_at=now,
                report=msgspec.json.encode(report).decode(),
            )
        )
        print(f"{model.version} serves from now on")
        return 0

    return await with_engine(SPEC, work)


def _show_progress(what: str, done: int, total: int) -> None:
    print(f"{what} {done}/{total}", file=sys.stderr)


async def _list_models(_: argparse.Namespace) -> int:
    async def work(engine: AsyncEngine) -> int:
        models = Models(engine)
        serving = await models.serving()
        for row in await models.list_all():
            mark = "serves" if serving is not None and row.version == serving.version else ""
            print(f"{row.version:<20} {row.horizon_days:>4} d  {row.created_at:%F %H:%M}Z  {mark}")
        return 0

    return await with_engine(SPEC, work)


async def _show_partitions(_: argparse.Namespace) -> int:
    async def work(engine: AsyncEngine) -> int:
        for row in await Ledger(engine, SCHEMA).list_all():
            print(
                f"{row['topic']}/{row['partition']:<4} next {row['next_offset']}  "
                f"epoch {row['epoch']}  {row['status']}  {row['status_reason'] or ''}"
            )
        return 0

    return await with_engine(SPEC, work)


async def _reset_partition(args: argparse.Namespace) -> int:
    topic: str = args.topic or ScoringSettings().activity_topic

    async def work(engine: AsyncEngine) -> int:
        if await Ledger(engine, SCHEMA).reset((topic, args.partition), args.offset):
            start = "the start of the log" if args.offset is None else args.offset
            print(f"{topic}/{args.partition} goes on at {start}")
            return 0
        print(f"no partition {topic}/{args.partition}; see `partitions show`", file=sys.stderr)
        return 1

    return await with_engine(SPEC, work)


async def _evaluate(args: argparse.Namespace) -> int:
    from services.scoring.training import evaluate  # noqa: PLC0415

    return await asyncio.to_thread(evaluate.main, args.rest)


if __name__ == "__main__":
    sys.exit(main(SPEC, _add_commands))
