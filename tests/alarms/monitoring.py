"""Prometheus and Alertmanager as they are shipped, with shortened times, and a receiver of alarms.

The configuration and the rules are those of `deploy/prometheus`; replaced are addresses, the
intervals of scrapes and evaluations, and every time of the rules and of Alertmanager by one factor
(`tests.alarms.rules.shortened`).
"""

import json
import os
import shutil
import time
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

import httpx
import yaml

from deploy.local.process import Server, StackError
from deploy.local.waiting import LOOPBACK, free_port, until
from tests.alarms.rules import FOLDER, RULES, shortened
from tests.serving import Silent, serving

TOOLS: Final = ("prometheus", "promtool", "prometheus-alertmanager", "amtool")
INTERVAL: Final = "1s"
"""Of scrapes and evaluations in a live run; 15 s in the shipped configuration."""
START_S_MAX: Final = 30.0


def missing() -> list[str]:
    """Return the programs that are not installed here."""
    return [name for name in TOOLS if shutil.which(name) is None]


@dataclass(frozen=True, slots=True)
class Notice:
    """One alarm of one notification, as Alertmanager sent it."""

    at_s: float
    """Monotonic seconds of its arrival."""
    firing: bool
    labels: Mapping[str, str]
    annotations: Mapping[str, str]

    @property
    def name(self) -> str:
        """The alarm's name."""
        return self.labels["alertname"]

    @property
    def text(self) -> str:
        """What a person reads."""
        return f"{self.annotations['summary']}. {self.annotations['description']}"


@dataclass(slots=True)
class Monitoring:
    """What runs."""

    prometheus: str
    alertmanager: str
    notices: list[Notice] = field(default_factory=list)

    def firing(self) -> list[dict[str, Any]]:
        """Return the alarms that Prometheus holds for firing now."""
        found = httpx.get(f"{self.prometheus}/api/v1/alerts", timeout=10).json()
        return [each for each in found["data"]["alerts"] if each["state"] == "firing"]

    def held(self) -> list[dict[str, str]]:
        """Return the labels of the alarms that Alertmanager has, left out ones included."""
        found = httpx.get(f"{self.alertmanager}/api/v2/alerts", timeout=10).json()
        return [each["labels"] for each in found]

    def value(self, query: str) -> float | None:
        """Return the value of a query with one result; None where it has no result."""
        answer = httpx.get(f"{self.prometheus}/api/v1/query", params={"query": query}, timeout=10)
        found = answer.json()["data"]["result"]
        return float(found[0]["value"][1]) if found else None


@contextmanager
def monitoring(folder: Path, targets: Mapping[str, str]) -> Iterator[Monitoring]:
    """Run both on `targets` (`host:port` by job, those of the shipped configuration and others).

    On exit both have ended.
    """
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    ports = {name: free_port() for name in ("prometheus", "alertmanager")}
    addresses = {name: f"{LOOPBACK}:{port}" for name, port in ports.items()}
    made = Monitoring(f"http://{addresses['prometheus']}", f"http://{addresses['alertmanager']}")
    with ExitStack() as running:
        receiver = running.enter_context(_receiver(made.notices))
        _configure(folder, targets, addresses["alertmanager"], receiver)
        for server in _servers(folder, addresses):
            running.callback(server.stop)
            server.start()
        for url in (made.prometheus, made.alertmanager):
            if not until(lambda url=url: _ready(url), limit_s=START_S_MAX):  # type: ignore[misc]
                raise StackError(f"{url} does not get ready: its log is in {folder}")
        yield made


def _servers(folder: Path, addresses: Mapping[str, str]) -> Iterator[Server]:
    commands = {
        "alertmanager": ["prometheus-alertmanager", "--cluster.listen-address="],
        "prometheus": ["prometheus", "--storage.tsdb.retention.time=1d"],
    }
    for name, (program, *options) in commands.items():
        path = shutil.which(program)
        if path is None:
            raise StackError(f"no `{program}` here: apt-get install {program}")
        command = [
            path,
            f"--config.file={folder / name}.yml",
            f"--storage.{'tsdb.' if name == 'prometheus' else ''}path={folder / name}",
            f"--web.listen-address={addresses[name]}",
            *options,
        ]
        yield Server(name, command, folder, folder / name, os.environ, grace_s=5)


def _configure(folder: Path, targets: Mapping[str, str], alerts_to: str, receiver: str) -> None:
    (folder / "rules").mkdir()
    for path in RULES:
        (folder / "rules" / path.name).write_text(shortened(path.read_text()))
    config = yaml.safe_load((FOLDER / "prometheus.yml").read_text())
    config["global"] = dict.fromkeys(config["global"], INTERVAL)
    config["alerting"]["alertmanagers"][0]["static_configs"] = [{"targets": [alerts_to]}]
    for job in config["scrape_configs"]:
        job["static_configs"] = [{"targets": [targets[job["job_name"]]]}]
    shipped = {job["job_name"] for job in config["scrape_configs"]}
    config["scrape_configs"] += [
        {"job_name": name, "static_configs": [{"targets": [address]}]}
        for name, address in targets.items()
        if name not in shipped
    ]
    (folder / "prometheus.yml").write_text(yaml.safe_dump(config))
    sending = yaml.safe_load(shortened((FOLDER / "alertmanager.yml").read_text()))
    for each in sending["receivers"]:
        for webhook in each["webhook_configs"]:
            webhook["url"] = receiver
    (folder / "alertmanager.yml").write_text(yaml.safe_dump(sending))


def _ready(url: str) -> bool:
    try:
        return httpx.get(f"{url}/-/ready", timeout=2).is_success
    except httpx.TransportError:
        return False


@contextmanager
def _receiver(notices: list[Notice]) -> Iterator[str]:
    """Take Alertmanager's notifications; yields the address to send them to."""

    class Handler(Silent):
        def do_POST(self) -> None:
            now = time.monotonic()
            body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
            notices.extend(
                Notice(now, each["status"] == "firing", each["labels"], each["annotations"])
                for each in body["alerts"]
            )
            self.send_response(204)
            self.end_headers()

    with serving(Handler) as port:
        yield f"http://{LOOPBACK}:{port}/"
