"""Runs Ebbwatch's services as processes of the demo (and of the end-to-end tests).

Each runs under the local stack's guard, so that it never outlives the demo; its output is in
`<folder>/logs/<name>.log`. Every wait ends: when its condition holds, when a service has ended, or
after a named time, with an error that names the log.
"""

import asyncio
import json
import os
import secrets
import subprocess
import sys
import time
from base64 import b64encode
from collections.abc import Awaitable, Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from itertools import count
from pathlib import Path
from types import TracebackType
from typing import Literal, NamedTuple, Self

import httpx
from prometheus_client.parser import text_string_to_metric_families

from deploy.demo.progress import Reached
from deploy.local.process import Server
from deploy.local.services import GRACE_S
from deploy.local.stack import ROOT
from deploy.local.waiting import LOOPBACK, free_port

NAMES = ("ingest", "scoring", "alerts")
DEFAULTS = {"EBBWATCH_SCORING_LANES": "1"}
"""What the demo sets unless the environment does. With five processes on two cores none is idle for
a second lane, which would double the transactions of a day (decision 14)."""
PREPARE_COMMANDS = 2 * len(NAMES)
"""Commands that `Services.prepare` carries out."""
CRM = "sample-crm"

COMMAND_S_MAX = 900.0
"""Longest time for a command that only touches tables, in seconds: it takes 1-3 s on an idle
machine, and minutes on a busy slow laptop. It only ends what hangs."""
READY_S_MAX = 60.0
"""Longest time until a service is ready, in seconds: it takes 2-5 s on two busy cores."""
KEPT = "the rule goes on serving"
"""The last line printed by a training when the gate let no model serve."""
LOOK_S = 0.05
"""Pause between two checks of a condition, in seconds."""


class DemoError(RuntimeError):
    """The demo cannot go on; the message names where to find the cause."""


class DatabaseUrls(NamedTuple):
    """PostgreSQL's URL for each role of a service."""

    owner: str
    """For `migrate`."""
    runtime: str


class Services:
    """The three services and the sample CRM, configured for a replay, in the folder `data`.

    `environment` has the addresses of Kafka and PostgreSQL. Use as a context manager: on exit,
    everything that was started has ended.
    """

    def __init__(
        self,
        data: Path,
        environment: Mapping[str, str],
        *,
        clock: Literal["replay", "live"] = "replay",
        first_base_s: float = 1.0,  # a year passes in a minute: it is not waited for
        databases: Mapping[str, DatabaseUrls] | None = None,
        root: Path = ROOT,
    ) -> None:
        """`databases`: by service, where each has roles of its own. `root`: the working copy that
        runs, which may be one of another release."""
        self._data = data
        self._clock = clock
        self._first_base_s = first_base_s
        self._databases = databases or {}
        self.logs = data / "logs"
        (self.logs / "commands.log").unlink(missing_ok=True)
        self._root = root
        self._environment = {**DEFAULTS, **os.environ, **environment, "PYTHONPATH": str(root)}
        self._ports: dict[str, int] = {}
        self._servers: dict[str, Server] = {}

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.stop()

    def beside(self, data: Path, root: Path) -> "Services":
        """Return services of another working copy with the same settings, and ports of their own.

        Both may run at the same time. The sample CRM stays with these, once `start` was called.
        """
        other = Services(
            data, self._environment, clock=self._clock, databases=self._databases, root=root
        )
        other._ports = {name: free_port() for name in NAMES}
        other._environment |= other._port_settings()
        return other

    def url(self, name: str) -> str:
        """Return a service's HTTP address, once `start` was called."""
        return f"http://{LOOPBACK}:{self._ports[name]}"

    def prepare(self, reached: Reached = lambda _: None) -> dict[str, str]:
        """Create every service's tables and an admin token for each; returns the tokens.

        `reached` is called with how many of `PREPARE_COMMANDS` have ended.
        """
        done = count(1)

        def one(name: str) -> str:
            self.command(name, "migrate")
            reached(next(done))
            create = ("tokens", "create", "--name", "demo", "--scope", "admin")
            token = self.command(name, *create).strip()
            reached(next(done))
            return token

        with ThreadPoolExecutor(len(NAMES)) as threads:
            return dict(zip(NAMES, threads.map(one, NAMES), strict=True))

    def command(self, name: str, *arguments: str) -> str:
        """Run an operator command of a service and return what it prints."""
        return self.module(f"services.{name}", *arguments, of=name)

    def module(self, module: str, *arguments: str, of: str = "") -> str:
        """Run any module as `python -m` does, with the settings of the service `of`.

        What it logs goes to `logs/commands.log`.
        """
        shown = f"python -m {module} {' '.join(arguments)}"
        try:
            done = subprocess.run(
                [sys.executable, "-m", module, *arguments],
                cwd=self._root,
                env=self._environment_of(of, *arguments),
                capture_output=True,
                text=True,
                check=False,
                timeout=COMMAND_S_MAX,
                stdin=subprocess.DEVNULL,
            )
        except subprocess.TimeoutExpired as late:
            raise DemoError(f"`{shown}` took longer than {COMMAND_S_MAX:.0f} s") from late
        self.logs.mkdir(parents=True, exist_ok=True)
        with (self.logs / "commands.log").open("a") as log:
            log.write(done.stderr)
        if done.returncode:
            raise DemoError(f"`{shown}` failed:\n{done.stdout}{done.stderr}")
        return done.stdout

    def start(self, *names: str) -> None:
        """Start services, or the sample CRM, and return at once."""
        if not self._ports:
            self._configure()
        for name in names:
            command = ["deploy.local.sample_crm"] if name == CRM else [f"services.{name}", "run"]
            self._servers[name] = self._process(name, *command)
            self._servers[name].start()

    async def ready(self, *names: str) -> None:
        """Return when these services are ready."""
        async with httpx.AsyncClient() as client:
            for name in names:
                path = "/stats" if name == CRM else "/readyz"

                async def answers(url: str = self.url(name) + path) -> bool:
                    return (await client.get(url)).is_success

                await self.wait(answers, f"{name} to be ready", READY_S_MAX)

    async def counted(self, name: str, *metrics: str) -> float:
        """Return the sum of these metrics of a service, over all their labels."""
        async with httpx.AsyncClient() as client:
            text = (await client.get(f"{self.url(name)}/metrics")).text
        return sum(
            sample.value
            for family in text_string_to_metric_families(text)
            for sample in family.samples
            if sample.name in metrics
        )

    async def train(self, end: str, horizon_days: int, limit_s: float) -> str:
        """Fit a model on the events stored before `end`; returns what scoring serves after it.

        That is the new model, or the rule where the gate let none pass: with a few households a
        model cannot be distinguished from luck.
        """
        arguments = ["train", "--end", end, "--horizon-days", str(horizon_days)]
        training = self._process("train", "services.scoring", *arguments)

        async def ended() -> bool:
            return not training.running

        training.start()
        try:
            await self.wait(ended, "the training", limit_s)
        finally:
            training.stop()
        if training.returncode:
            raise DemoError(f"the training failed:\n{training.tail()}")
        told = training.log.read_text().splitlines()[-1]
        if told == KEPT:
            return told
        version = told.split()[0]
        scoring = self._servers["scoring"]

        async def serves() -> bool:
            # Its log reports this first: the metric follows only with the next event.
            return version in scoring.log.read_text()

        await self.wait(serves, f"scoring to serve {version}", READY_S_MAX)
        return told

    async def wait(self, check: Callable[[], Awaitable[bool]], what: str, limit_s: float) -> None:
        """Return when `check()` holds; raises DemoError after `limit_s` or if a service ends."""
        deadline = time.monotonic() + limit_s
        while not await _holds(check):
            for server in self._servers.values():
                if not server.running:
                    raise DemoError(f"{server.name} has ended:\n{server.tail()}")
            if time.monotonic() > deadline:
                raise DemoError(
                    f"waited {limit_s:.0f} s for {what}, in vain: the services' logs are in "
                    f"{self.logs}"
                )
            await asyncio.sleep(LOOK_S)

    def runs(self, name: str) -> bool:
        """Return whether a service was started and has not ended."""
        return name in self._servers and self._servers[name].running

    def pid(self, name: str) -> int:
        """Return the process id of a service that was started."""
        return self._servers[name].pid

    def tail(self, name: str) -> str:
        """Return the last lines of a service's log."""
        return self._servers[name].tail()

    def kill(self, name: str) -> None:
        """End a service as a crash would (SIGKILL); `start` brings it back."""
        self._servers.pop(name).kill()

    def stop(self, *names: str) -> dict[str, int | None]:
        """Stop these, or everything that runs, and wait until it has ended; safe to repeat.

        Returns their exit statuses.
        """
        servers = [self._servers.pop(name) for name in names or tuple(self._servers)]
        for server in servers:
            server.release()
        for server in servers:
            server.stop()
        return {server.name: server.returncode for server in servers}

    def variables(self) -> dict[str, str]:
        """Return the environment of the services, once `start` was called."""
        return dict(self._environment)

    def _process(self, name: str, module: str, *arguments: str) -> Server:
        command = [sys.executable, "-m", module, *arguments]
        environment = self._environment_of(name, *arguments)
        return Server(name, command, self.logs, self._data, environment, grace_s=GRACE_S)

    def _environment_of(self, name: str, *arguments: str) -> dict[str, str]:
        urls = self._databases.get(name)
        if urls is None:
            return self._environment
        url = urls.owner if arguments[:1] == ("migrate",) else urls.runtime
        return self._environment | {"DATABASE_URL": url}

    def _port_settings(self) -> dict[str, str]:
        return {f"EBBWATCH_{name.upper()}_PORT": str(self._ports[name]) for name in NAMES}

    def _configure(self) -> None:
        """Choose ports, as late as possible: a free port is free only for a while."""
        self._ports = {name: free_port() for name in (*NAMES, CRM)}
        secret = "whsec_" + b64encode(secrets.token_bytes(32)).decode()
        endpoint = {"id": CRM, "url": f"{self.url(CRM)}/webhooks", "secrets": [secret]}
        self._environment |= {
            **self._port_settings(),
            "EBBWATCH_SCORING_CLOCK": self._clock,
            "EBBWATCH_SCORING_VALUE_FIRST_S": str(self._first_base_s),
            "EBBWATCH_SCORING_MODEL_STORE": str(self._data.absolute() / "models"),
            "EBBWATCH_ALERTS_CLOCK": self._clock,
            "EBBWATCH_ALERTS_ENDPOINTS": json.dumps([endpoint]),
            "EBBWATCH_ALERTS_DELIVERY_ALLOWED_NETWORKS": "127.0.0.0/8",
            "EBBWATCH_ALERTS_DELIVERY_HTTPS_ONLY": "false",
            "SAMPLE_CRM_PORT": str(self._ports[CRM]),
            "SAMPLE_CRM_WEBHOOK_SECRET": secret,
        }


async def _holds(check: Callable[[], Awaitable[bool]]) -> bool:
    """Returns the result of `check()`; False while a service cannot be reached."""
    try:
        return await check()
    except httpx.TransportError:
        return False
