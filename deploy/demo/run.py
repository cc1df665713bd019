"""The demo from beginning to end: its steps, and what is measured on the way."""

import asyncio
import json
import logging
import shutil
import time
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

import httpx
import msgspec
import polars as pl
from rich.console import Console

from deploy.demo import summary
from deploy.demo.backlog import ALERTS, INGEST, SCORING, Backlog, Backpressure
from deploy.demo.dataset import (
    BACKFILL_END,
    DATA_END,
    PanelHistory,
    customer_id,
    household_of,
    load,
)
from deploy.demo.figures import RECEIVED, Measured, Received, faults, figures, warnings
from deploy.demo.judgement import ReceivedWarning, judge
from deploy.demo.progress import Step, step
from deploy.demo.replayer import Replayer, days
from deploy.demo.services import CRM, NAMES, PREPARE_COMMANDS, DemoError, Services
from deploy.local import topics
from deploy.local.stack import LocalStack
from deploy.local.waiting import complete
from shared.contracts.topics import ACTIVITY, ALL, DEAD_LETTER
from shared.kafka.producer import Producer
from shared.kafka.settings import KafkaSettings
from shared.runtime.clock import SystemClock

DATABASE = "ebbwatch_demo"
HORIZON_DAYS = 28
"""Silence that counts as lost: a supermarket's regular skips four weeks one time in ten."""

JUDGED_UNTIL = datetime(2017, 12, 4, tzinfo=UTC)
"""Silences that begin later could reach 28 days only after the data end."""

STALL_S_MAX = 300.0
"""Longest wait for the services to process what they were given, in seconds; loading the history
takes 20-40 s on two cores."""
TRAINING_S_MAX = 600.0
"""Longest training, in seconds; it takes 20-40 s on two cores."""

SEGMENTS = {
    "quiet-high-value": "tier == 'high' && silence_over_gap_mean > 2.0",
    "coupon-users": "campaigns_redeemed >= 1.0",
}
"""A user's segment rules, as examples."""

TASK_CHANGES = ("ebbwatch_alerts_tasks_raised_total", "ebbwatch_alerts_tasks_closed_total")
"""Alerts' counters of task changes; each change is sent to the CRM once."""


@dataclass(frozen=True, slots=True)
class DemoOptions:
    """The options of the command line. `None` means all of them."""

    data: Path
    """Folder for the servers' data and the logs; emptied at the start."""
    output: Path
    """Where the figures go, as JSON."""
    households: int | None = None
    days: int | None = None
    """Days to replay after the silent part."""


def run(options: DemoOptions, console: Console) -> int:
    """Runs the demo and prints the results; returns the exit status.

    Raises StackError or DemoError when a step fails. In any case all processes are stopped.
    """
    began = time.monotonic()
    with ExitStack() as opened:
        with step(console, "Start Kafka and PostgreSQL") as current:
            stack = LocalStack(options.data, wipe=True, announce=console.print)
            opened.enter_context(stack)
            current.note = f"{stack.broker} at {stack.kafka_bootstrap}"
        with step(console, "Create tables, topics and tokens", PREPARE_COMMANDS) as current:
            _clear(options.data)
            _log_to(options.data / "logs" / "demo.log")
            _prepare(stack)
            database = {"DATABASE_URL": stack.postgres.fresh(DATABASE)}
            services = opened.enter_context(Services(options.data, stack.environment() | database))
            tokens = services.prepare(current.reached)
            for name, rule in SEGMENTS.items():
                services.command("scoring", "segments", "define", name, rule)
        with step(console, "Read a year of a supermarket panel") as current:
            history = load(options.households)
            current.note = f"{len(history.profiles):,} households, {history.events:,} events"
        scenario = Scenario(options, console, stack.kafka.settings, services, history)
        measured = asyncio.run(scenario.play(stack.broker, tokens, began))
    return _tell(options, console, history, measured)


class Crm:
    """Reads what the sample CRM received."""

    def __init__(self, client: httpx.AsyncClient, url: str) -> None:
        self._client = client
        self._url = url

    async def stats(self) -> dict[str, int]:
        """Return its counts: accepted, duplicates, signature_failures."""
        answer = await self._client.get(f"{self._url}/stats")
        return msgspec.json.decode(answer.content, type=dict[str, int])

    async def messages(self) -> list[Received]:
        """Return every accepted webhook, in the order of arrival."""
        answer = await self._client.get(f"{self._url}/messages")
        return RECEIVED.decode(answer.content)


class Scenario:
    """The steps that need running servers."""

    def __init__(
        self,
        options: DemoOptions,
        console: Console,
        kafka: KafkaSettings,
        services: Services,
        history: PanelHistory,
    ) -> None:
        self._days = options.days or (DATA_END - BACKFILL_END).days + 1
        self._console = console
        self._kafka = kafka
        self._services = services
        self._history = history
        self._report_file = options.output.parent / "segments.html"
        self._producer = Producer(kafka, "demo-replayer")
        self._replayer = Replayer(self._producer, SystemClock())

    async def play(self, broker: str, tokens: Mapping[str, str], began: float) -> Measured:
        """Load, train, replay, and collect what the CRM received."""
        try:
            async with Backlog(self._kafka) as backlog, httpx.AsyncClient() as client:
                await self._start(tokens)
                crm = Crm(client, self._services.url(CRM))
                backfilled, backfill_s = await self._backfill(backlog)
                await self._train()
                told_before = (await crm.stats())["accepted"]
                replayed, replay_s = await self._replay(backlog)
                await self._deliver(backlog, crm)
                await self._report()
                copies = self._replayer.controls * ACTIVITY.partitions
                return Measured(
                    broker=broker,
                    backfilled=backfilled,
                    replayed=replayed,
                    accepted=await backlog.written(ACTIVITY) - copies,
                    dead_lettered=await backlog.written(DEAD_LETTER),
                    told_during_backfill=told_before,
                    backfill_s=backfill_s,
                    replay_s=replay_s,
                    total_s=time.monotonic() - began,
                    crm=await crm.stats(),
                    received=await crm.messages(),
                    tick_sent_ms=self._replayer.tick_sent_ms,
                )
        finally:
            await self._producer.close()

    async def _start(self, tokens: Mapping[str, str]) -> None:
        with step(self._console, "Start ingest, scoring, alerts and a sample CRM") as current:
            self._services.start(CRM, *NAMES)
            await self._services.ready(CRM, *NAMES)
            current.note = f"logs in {self._services.logs}"
        for name, token in tokens.items():
            url = self._services.url(name)
            self._console.print(f"  {name:<8} {url}  token {token}", soft_wrap=True)

    async def _backfill(self, backlog: Backlog) -> tuple[int, float]:
        past = self._history.until(BACKFILL_END)
        title = f"Load the history until {BACKFILL_END:%-d %B %Y}, silently"
        with step(self._console, title, past.events) as current:
            sent = await self._replayer.backfill(past.stream())
            await self._replayer.end_backfill(BACKFILL_END)
            await self._caught_up(backlog, current, sent)
            seconds = current.seconds
            current.note = f"{sent / seconds:,.0f} events/s"
        return sent, seconds

    async def _train(self) -> None:
        title = f"Train: who will buy nothing for {HORIZON_DAYS} days?"
        with step(self._console, title) as current:
            current.note = await self._services.train(
                BACKFILL_END.isoformat(), HORIZON_DAYS, TRAINING_S_MAX
            )

    async def _replay(self, backlog: Backlog) -> tuple[int, float]:
        dealt = days(self._history.since(BACKFILL_END).stream(), BACKFILL_END, self._days)
        total = sum(len(day.bodies) for day in dealt)
        pace = Backpressure(backlog, INGEST, SCORING)

        async def catch_up(records: int) -> None:
            async def done() -> bool:
                return await pace.within(records)

            await self._services.wait(done, "ingest and scoring to keep up", STALL_S_MAX)

        title = f"Replay the {self._days} days that follow, as live"
        with step(self._console, title, total) as current:

            def report(sent: int) -> None:
                pace.sent(sent + self._replayer.controls * ACTIVITY.partitions)
                current.reached(sent)

            sent = await self._replayer.replay(dealt, catch_up, report)
            await self._caught_up(backlog, current, sent)
            seconds = current.seconds
            current.note = f"{sent / seconds:,.0f} events/s"
        return sent, seconds

    async def _caught_up(self, backlog: Backlog, current: Step, sent: int) -> None:
        async def done() -> bool:
            left = await backlog.behind(INGEST, SCORING)
            current.reached(max(0, sent - left))
            return left == 0

        await self._services.wait(done, "ingest and scoring to catch up", STALL_S_MAX)

    async def _report(self) -> None:
        with step(self._console, "Report on value and segments") as current:
            out = str(self._report_file)
            await asyncio.to_thread(self._services.command, "scoring", "report", "--out", out)
            current.note = out

    async def _deliver(self, backlog: Backlog, crm: Crm) -> None:
        async def decided() -> bool:
            return await backlog.behind(*ALERTS) == 0

        async def delivered() -> bool:
            changes = await self._services.counted("alerts", *TASK_CHANGES)
            return (await crm.stats())["accepted"] >= changes

        with step(self._console, "Deliver the last tasks"):
            await self._services.wait(decided, "alerts to catch up", STALL_S_MAX)
            await self._services.wait(delivered, "the CRM to have every task", STALL_S_MAX)


def _clear(data: Path) -> None:
    """Removes what an earlier run left; called when the stack's lock shows that it has ended."""
    shutil.rmtree(data / "models", ignore_errors=True)
    for log in (data / "logs").glob("*.log"):
        log.unlink()


def _log_to(file: Path) -> None:
    """Sends the Kafka client's log messages to a file beside the services' logs, not to the
    display."""
    file.parent.mkdir(parents=True, exist_ok=True)
    logging.basicConfig(filename=file, format="%(asctime)s %(levelname)s %(name)s %(message)s")


def _prepare(stack: LocalStack) -> None:
    """Creates the topics; refuses a broker that already has records of ours."""

    async def records() -> int:
        await topics.create(stack.kafka.settings)
        async with Backlog(stack.kafka.settings) as backlog:
            return sum([await backlog.written(topic) for topic in ALL])

    if complete(records()):
        raise DemoError(
            f"the topics at {stack.kafka_bootstrap} are in use, and the demo would mix with what "
            "is there: unset KAFKA_BOOTSTRAP_SERVERS, or delete the ebbwatch.* topics"
        )


def _write_warnings(path: Path, told: Sequence[ReceivedWarning]) -> None:
    """Writes the warnings with the data set's own ids, in the format that judges read."""
    lines = [f"{household_of(one.customer)},{one.at.isoformat()},{one.cause}" for one in told]
    path.write_text("\n".join(["customer_id,at,cause", *lines, ""]))


def _tell(options: DemoOptions, console: Console, history: PanelHistory, measured: Measured) -> int:
    purchases = history.purchases.select(
        pl.col("household_id").map_elements(customer_id, pl.String).alias("customer"),
        "time",
        "amount",
    )
    told = warnings(measured.received)
    judgement = judge(purchases, told, BACKFILL_END, JUDGED_UNTIL)
    _write_warnings(options.output.with_name("warnings.csv"), told)
    found = figures(measured, judgement)
    options.output.parent.mkdir(parents=True, exist_ok=True)
    options.output.write_text(json.dumps(found, indent=2) + "\n")
    summary.show(console, found, measured.received, purchases, DATA_END)
    console.print(f"Figures: {options.output}; logs: {options.data / 'logs'}")
    wrong = faults(found)
    for fault in wrong:
        console.print(f"[red]✗ {fault}[/]")
    return 1 if wrong else 0
