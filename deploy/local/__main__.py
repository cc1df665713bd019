"""Command line of the local stack: `python -m deploy.local up|run|topics|status|down|...`.

Exit status: 0 done, 1 failed (the message has the remedy), 2 wrong usage; `run` returns its
command's own, `doctor` 0 well, 1 warnings, 2 failures.
"""

import argparse
import asyncio
import contextlib
import importlib
import json
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

from deploy.doctor.arguments import add_arguments
from deploy.local import apache_kafka, broker, postgres, services, topics
from deploy.local.process import Server, StackError, holders
from deploy.local.stack import DATA, DESCRIPTION, KAFKA_CACHE, LOCK, ROOT, LocalStack, announce
from deploy.local.waiting import LOOPBACK, until
from shared.kafka.settings import KafkaSettings

ADDRESSES = ("KAFKA_BOOTSTRAP_SERVERS", "DATABASE_URL")
STOP_S_MAX = 60.0
"""Longest wait for a stack to stop, in seconds: three services drain, then two servers end."""
WATCH_S = 0.5
"""How often `up` checks whether a service has ended, in seconds."""


def main() -> int:
    """Parses and runs a command."""
    parser = argparse.ArgumentParser(prog="python -m deploy.local", description=__doc__)
    parser.add_argument(
        "--data", type=Path, default=DATA, help="folder of the stack's data (default: .local)"
    )
    commands = parser.add_subparsers(required=True, metavar="COMMAND")
    for name, work, text in (
        ("up", up, "run the stack, the topics, the tables and the services until Ctrl-C"),
        ("topics", make_topics, "create the topics on the broker that is configured or runs here"),
        ("status", status, "show whether the stack runs and how to reach it"),
        ("down", down, "stop the stack that runs on this data"),
        ("prepare", prepare, "fetch what the stack needs, so that the first start is quick"),
        ("clean", clean, "stop every stack of this working copy and remove all their data"),
    ):
        commands.add_parser(name, help=text).set_defaults(work=work)
    run_parser = commands.add_parser("run", help="run a command beside the stack: run -- CMD")
    run_parser.add_argument("argv", nargs="+", metavar="CMD")
    run_parser.set_defaults(work=run)
    doctor_parser = commands.add_parser("doctor", help="find out what is wrong, and what to do")
    add_arguments(doctor_parser)
    doctor_parser.set_defaults(work=doctor)
    given = parser.parse_args()
    for number in (signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, interrupt)
    try:
        status_: int = given.work(given)
    except (StackError, topics.TopicMismatch) as trouble:
        print(f"local stack: {trouble}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        return 128 + signal.SIGINT
    return status_


def interrupt(*_: object) -> None:
    """Take SIGTERM and SIGHUP as Ctrl-C: stop everything in order."""
    raise KeyboardInterrupt


def up(given: argparse.Namespace) -> int:
    """Runs the whole stack, until Ctrl-C or until a service ends by itself."""
    services.check_ports(os.environ)
    with LocalStack(given.data) as stack:
        ours = stack.environment() | services.development(given.data, os.environ)
        environment = {**os.environ, **ours}
        show(ours, stack.broker)
        asyncio.run(topics.create(stack.kafka.settings))
        services.migrate(environment, ROOT)
        with running_services(environment, given.data.absolute() / "services") as processes:
            for process in processes:
                services.wait_ready(process)
                address = f"http://{LOOPBACK}:{services.port(process.name, environment)}"
                print(f"  {process.name:8} {address}  log: {process.log}")
            print("Ctrl-C stops everything; the data stays.", flush=True)
            while all(process.running for process in processes):
                time.sleep(WATCH_S)
            dead = next(process for process in processes if not process.running)
            raise StackError(f"{dead.name} ended with {dead.returncode}:\n{dead.tail()}")


@contextlib.contextmanager
def running_services(environment: dict[str, str], data: Path) -> Iterator[list[Server]]:
    """Runs the services, started together and stopped together."""
    processes = [services.server(name, environment, ROOT, data) for name in services.PORTS]
    try:
        for process in processes:
            process.start()
        yield processes
    finally:
        for process in processes:
            process.release()
        for process in processes:
            process.stop()


def run(given: argparse.Namespace) -> int:
    """Runs the command with the stack's variables; returns its exit status."""
    with LocalStack(given.data) as stack:
        asyncio.run(topics.create(stack.kafka.settings))
        command = subprocess.Popen(given.argv, env={**os.environ, **stack.environment()})
        try:
            return command.wait()
        except KeyboardInterrupt:
            command.terminate()  # a Ctrl-C has reached it already, SIGTERM has not
            command.wait()
            raise


def make_topics(given: argparse.Namespace) -> int:
    """Creates missing topics."""
    if os.environ.get("KAFKA_BOOTSTRAP_SERVERS"):
        settings = KafkaSettings()
    else:
        settings = broker.local_settings(described(given.data)["KAFKA_BOOTSTRAP_SERVERS"])
    created = asyncio.run(topics.create(settings))
    print("created:", ", ".join(created) if created else "nothing, every topic is there")
    return 0


def described(data: Path) -> dict[str, str]:
    """Returns the variables of the stack that runs on `data`."""
    if not holders(data / LOCK):
        raise StackError(f"no stack runs on {data}: start one with `make up`")
    found: dict[str, str] = json.loads((data / DESCRIPTION).read_text())
    return found


def status(given: argparse.Namespace) -> int:
    """Prints variables for a shell, or fails with status 1."""
    found = described(given.data)
    kind = found.pop("broker")
    show(found | services.development(given.data, os.environ), kind)
    return 0


def show(environment: dict[str, str], kind: str) -> None:
    """Prints how to reach the stack, ready to paste into a shell."""
    print(f"# broker: {kind}")
    for name, value in environment.items():
        print(f"export {name}='{value}'")


def doctor(given: argparse.Namespace) -> int:
    """Examines what the environment names; without any address in it, the stack on this data."""
    if not {*ADDRESSES, "EBBWATCH_SECRETS_DIR"} & os.environ.keys():
        try:
            found = described(given.data)
        except StackError as nothing:
            print(f"doctor: {nothing}", file=sys.stderr)
            print(f"Another installation: set {' and '.join(ADDRESSES)}", file=sys.stderr)
            return 2  # 1 would mean that there are warnings only
        found.pop("broker")
        os.environ.update(found | services.development(given.data, os.environ))
    # Imports the services, which takes a second that the other commands need not wait.
    status_: int = importlib.import_module("deploy.doctor.command").run(given)
    return status_


def down(given: argparse.Namespace) -> int:
    """Stops the process that runs the stack, and waits for it."""
    return 0 if stop(given.data) else 1


def stop(data: Path) -> bool:
    """Stops the stack on `data`; returns whether it has stopped; True if none ran."""
    for process in holders(data / LOCK):
        process.send_signal(signal.SIGTERM)
    return until(lambda: not holders(data / LOCK), limit_s=STOP_S_MAX)


def prepare(_: argparse.Namespace) -> int:
    """Fetches Kafka's jars where Apache Kafka can run; prints a notice where it cannot."""
    if os.environ.get("BROKER") == "embedded" or os.environ.get("KAFKA_BOOTSTRAP_SERVERS"):
        return 0
    try:
        apache_kafka.java()
        apache_kafka.jars(KAFKA_CACHE)
    except apache_kafka.Unavailable as missing:
        if os.environ.get("BROKER") == "kafka":
            raise
        announce(f"Apache Kafka cannot run here: {missing}")
    return 0


def clean(given: argparse.Namespace) -> int:
    """Stops and removes every stack below the data folder, the jars included."""
    for lock in given.data.rglob(LOCK):
        if not stop(lock.parent):
            raise StackError(f"the stack on {lock.parent} does not stop: see `status`")
        elsewhere = postgres.home(lock.parent / "postgres")
        shutil.rmtree(elsewhere, ignore_errors=True)
    shutil.rmtree(given.data, ignore_errors=True)
    return 0


if __name__ == "__main__":
    sys.exit(main())
