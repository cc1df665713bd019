"""`train`: learns from stored events, registers the models, promotes the best that passes."""

import argparse
import asyncio
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

import msgspec
from sqlalchemy.ext.asyncio import AsyncEngine

from services.scoring.commands.service import add
from services.scoring.core.features.contracts import Labels
from services.scoring.core.monitoring import retraining
from services.scoring.main import serving_of, watch_of
from services.scoring.model.churn_model import ChurnModel
from services.scoring.model.loading import loads
from services.scoring.model.pooled_model import PooledModel
from services.scoring.model.store import ArtefactStore
from services.scoring.settings import ScoringSettings
from services.scoring.store import history as stored
from services.scoring.store.models import ModelRow, Models
from services.scoring.store.treatments import Treatments
from shared.event_files.arguments import add_reading, reading_of
from shared.kernel.errors import Invalid
from shared.runtime.arguments import count, days, instant
from shared.runtime.clock import SystemClock

if TYPE_CHECKING:
    from services.scoring.training.data.history import History
    from services.scoring.training.fit.candidates import Candidate, TrainingOutcome
    from services.scoring.training.fit.train import Executor
    from shared.event_files.options import ReadOptions


def add_commands(commands: Any) -> None:
    """Adds `train`."""
    learn = add(
        commands,
        "train",
        _train,
        "fit a model on the stored events; promote it if it passes the gate",
    )
    _add_options(learn)
    _add_retrain(commands)


def _add_retrain(commands: Any) -> None:
    again = add(
        commands,
        "retrain",
        _retrain,
        "train if it is time to, or if there is an alarm; else do nothing",
    )
    _add_options(again)
    again.add_argument(
        "--every-days", type=days, default=28, help="the schedule, since the last training"
    )
    again.add_argument(
        "--pause-days", type=days, default=7, help="an alarm trains at most so often"
    )


def _add_options(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--end", type=instant, help="learn from nothing at or after this (UTC)")
    parser.add_argument(
        "--events", type=Path, help="learn from this file instead of what is stored"
    )
    add_reading(parser)
    parser.add_argument(
        "--cluster", metavar="ADDRESS", help="train on this Dask scheduler's workers"
    )
    parser.add_argument("--spool", type=Path, help="folder for events that do not fit into memory")
    parser.add_argument("--horizon-days", type=days, help="silence that counts as churn")
    parser.add_argument("--threads", type=count, default=1, help="more rarely help: LightGBM spins")
    parser.add_argument(
        "--keep", action="store_true", help="register only; `models promote` makes it serve"
    )


@dataclass(frozen=True, slots=True)
class _Order:
    """Options of one training."""

    end: datetime | None
    """End of the training data; None: now, or the end of the file."""
    horizon_days: int
    others: tuple[int, ...]
    labels: Labels
    file: Path | None
    reading: "ReadOptions"
    threads: int
    promote: bool
    cluster: str | None
    spool: Path | None


def _order(args: argparse.Namespace, settings: ScoringSettings, now: datetime) -> _Order:
    horizon = args.horizon_days or settings.horizon_days
    if args.cluster is not None and args.spool is None:
        raise Invalid("--spool", "a cluster needs a folder that all its workers share")
    return _Order(
        end=args.end,
        horizon_days=horizon,
        others=() if settings.labels == "contractual" else settings.also_horizons_days,
        labels=settings.labels,
        file=args.events,
        reading=reading_of(args, now),
        threads=args.threads,
        promote=not args.keep,
        cluster=args.cluster,
        spool=args.spool,
    )


async def _train(args: argparse.Namespace, engine: AsyncEngine) -> int:
    settings = ScoringSettings()
    return await train(engine, settings, _order(args, settings, SystemClock().now()))


async def _retrain(args: argparse.Namespace, engine: AsyncEngine) -> int:
    settings, clock = ScoringSettings(), SystemClock()
    end: datetime = args.end or clock.now()
    models = Models(engine)
    async with models.training() as alone:
        if not alone:
            print("another training is under way")
            return 0
        serving = serving_of(settings, engine)
        await serving.refresh()
        alarms = await watch_of(settings, engine, serving, clock).alarms(end)
        last = await models.last_trained()
        why = retraining.due(last, end, alarms, args.every_days, args.pause_days)
        if why is None:
            print(f"nothing to do: trained {last:%F}, not yet due again")
            return 0
        print(f"training: {why}")
        return await train(engine, settings, _order(args, settings, clock.now()))


async def train(engine: AsyncEngine, settings: ScoringSettings, order: _Order) -> int:
    """Trains, registers, and promotes the best that passed; returns 1 if none could be trained."""
    models, artefacts = Models(engine), ArtefactStore(settings.model_store)
    serving = await models.serving()
    champion: ChurnModel | PooledModel | str | None = None
    if serving is not None:
        try:
            champion = loads(await asyncio.to_thread(artefacts.get, serving.digest))
        except Invalid as invalid:
            champion = serving.version
            print(f"{serving.version}, which serves, cannot be compared: {invalid}")
    learned = await _learn(engine, order, champion)
    for note in learned.notes:
        print(note)
    now = SystemClock().now()
    for candidate in learned.candidates:
        await models.register(await asyncio.to_thread(_row, candidate, artefacts, now))
        verdict = "passed" if candidate.decision.passed else "kept, not promoted"
        print(f"{candidate.model.version}: {verdict}")
        for reason in candidate.decision.reasons:
            print(f"  {reason}")
    best = learned.best(None if serving is None else serving.method) if order.promote else None
    if best is None:
        kept = "the rule" if serving is None else serving.version
        print(f"{kept} goes on serving")
    elif serving is not None and serving.version == best.model.version:
        print(f"{serving.version} serves already: nothing new was learned")
    else:
        await models.promote(best.model.version, "passed the gate", SystemClock().now())
        print(f"{best.model.version} serves from now on")
    return 0 if learned.candidates else 1


async def _learn(
    engine: AsyncEngine, order: _Order, champion: ChurnModel | PooledModel | str | None
) -> "TrainingOutcome":
    # Imported here: the service itself must not load the modules of training.
    from services.scoring.training.data.panel import RowOptions  # noqa: PLC0415
    from services.scoring.training.fit.candidates import learn  # noqa: PLC0415

    with (
        tempfile.TemporaryDirectory(prefix="ebbwatch-training-", dir=order.spool) as folder,
        _executor(order) as executor,
    ):
        history = await _history(engine, order, Path(folder))
        end = datetime.fromtimestamp(history.observed_until, UTC)
        if order.end is not None:
            end = order.end
        return await asyncio.to_thread(
            learn,
            history,
            end.timestamp(),
            order.horizon_days,
            champion=champion,
            asked=RowOptions(
                await Treatments(engine).windows(end),
                order.others,
                order.labels,
            ),
            executor=executor,
            progress=_show_progress,
        )


@contextmanager
def _executor(order: _Order) -> "Iterator[Executor]":
    """Yields what runs the training: one machine, or the workers of a cluster."""
    from services.scoring.training.fit.train import OneMachine  # noqa: PLC0415

    if order.cluster is None:
        yield OneMachine(order.threads)
        return
    import distributed  # noqa: PLC0415

    from services.scoring.training.fit.cluster import DaskCluster  # noqa: PLC0415

    connect: Any = distributed.Client  # untyped
    with connect(order.cluster) as client:
        yield DaskCluster(client, order.threads)


async def _history(engine: AsyncEngine, order: _Order, folder: Path) -> "History":
    """Reads the events to learn from, stored ones or a file's; onto disk where they are many."""
    from services.scoring.training.data.disk_history import IN_MEMORY_MAX, DiskHistoryWriter  # noqa: PLC0415
    from services.scoring.training.data.event_file import batches  # noqa: PLC0415
    from services.scoring.training.data.stored_events import batch_of  # noqa: PLC0415
    from shared.event_files.reader import EventFile  # noqa: PLC0415

    # A cluster's workers read the history from files.
    in_memory_max = IN_MEMORY_MAX if order.cluster is None else 0
    spool = DiskHistoryWriter(folder / "events", in_memory_max=in_memory_max)
    if order.file is not None:
        file = await asyncio.to_thread(EventFile, order.file, order.reading, folder)
        for batch in batches(file):
            await asyncio.to_thread(spool.add, batch)
            print(f"read {spool.events:,} events", file=sys.stderr)
        for line in file.read().lines():
            print(line, file=sys.stderr)
        return await asyncio.to_thread(spool.finish)
    async for payloads in stored.HistoryReader(engine).events():
        spool.add(await asyncio.to_thread(batch_of, payloads))
        print(f"read {spool.events:,} events", file=sys.stderr)
    end = order.end or SystemClock().now()
    return await asyncio.to_thread(spool.finish, end.timestamp())


def _row(candidate: "Candidate", artefacts: ArtefactStore, now: datetime) -> ModelRow:
    """Stores the artefacts of a candidate, and returns the registry row with their addresses."""
    model, sample = candidate.model, candidate.reference
    return ModelRow(
        version=model.version,
        digest=artefacts.put(candidate.data),
        method=model.method,
        feature_set=model.feature_set,
        horizon_days=model.horizon_days,
        created_at=now,
        trained_at=now,
        data_fingerprint=candidate.fingerprint,
        passed=candidate.decision.passed,
        gate=msgspec.json.encode(candidate.decision).decode(),
        report=candidate.report,
        reference_digest=None if sample is None else artefacts.put(sample),
    )


def _show_progress(what: str, done: int, total: int) -> None:
    print(f"{what} {done}/{total}", file=sys.stderr)
