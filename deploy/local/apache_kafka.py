"""Apache Kafka 4 as one plain Java process: broker and controller in one, KRaft, one node.

Maven fetches the jars by `kafka/pom.xml`; they are kept until that file changes. Not for
production: one replica, no access control, loopback only.
"""

import fcntl
import hashlib
import os
import re
import shutil
import subprocess
import uuid
from base64 import urlsafe_b64encode
from collections.abc import Mapping
from pathlib import Path

from deploy.local.process import Server, StackError
from deploy.local.waiting import LOOPBACK, kept_port
from shared.contracts.topics import ALL

POM = Path(__file__).parent / "kafka" / "pom.xml"
LOGGING = POM.with_name("log4j2.properties")
JAVA_VERSION_MIN = 17
RESOLVE_S_MAX = 300.0
"""Longest wait for Maven, in seconds: 45 MB over a slow line."""

JVM = (
    "-Xms256m",
    "-Xmx512m",  # the page cache does the work; 512 MB leaves room for the rest on 4 GB
    "-XX:+UseSerialGC",  # no collector threads beside two busy cores
    "-XX:TieredStopAtLevel=1",  # C1 only: starts sooner, and a local broker is not the bottleneck
    "-Xshare:auto",
    "-Djava.net.preferIPv4Stack=true",
    "-Djava.awt.headless=true",
)


class Unavailable(StackError):  # noqa: N818 (describes Kafka, not an error)
    """Apache Kafka cannot run on this machine; the message names what is missing."""


def java() -> Path:
    """Returns the `java` to use: `JAVA_HOME`'s, else the one on the path, if it is new enough."""
    home = os.environ.get("JAVA_HOME")
    found = str(Path(home, "bin", "java")) if home else shutil.which("java")
    if found is None or not Path(found).exists():
        raise Unavailable(f"no `java` found: install a Java runtime >= {JAVA_VERSION_MIN}")
    shown = subprocess.run([found, "-version"], capture_output=True, text=True, check=False)
    version = re.search(r'version "(\d+)', shown.stderr)
    if version is None or int(version[1]) < JAVA_VERSION_MIN:
        raise Unavailable(
            f"{found} is not Java >= {JAVA_VERSION_MIN}: install one, or point JAVA_HOME at it"
        )
    return Path(found)


def jars(cache: Path) -> Path:
    """Returns the folder with the broker's jars, filled by Maven unless it already is.

    The marker file is written last and carries the hash of the pom, so an interrupted or outdated
    download is repeated.
    """
    folder = cache / "jars"
    marker = folder / "complete"
    wanted = hashlib.sha256(POM.read_bytes()).hexdigest()
    cache.mkdir(parents=True, exist_ok=True)
    with (cache / "jars.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not marker.exists() or marker.read_text() != wanted:
            shutil.rmtree(folder, ignore_errors=True)
            resolve(folder)
            marker.write_text(wanted)
    return folder


def resolve(folder: Path) -> None:
    """Runs Maven to copy the jars named by the pom into `folder`."""
    maven = shutil.which("mvn")
    if maven is None:
        raise Unavailable("no `mvn` found: install Maven")
    command = [maven, "-q", "-B", "-f", str(POM), "dependency:copy-dependencies"]
    command += ["-DincludeScope=runtime", f"-DoutputDirectory={folder.absolute()}"]
    try:
        done = subprocess.run(
            command,
            capture_output=True,
            text=True,
            check=False,
            timeout=RESOLVE_S_MAX,
            stdin=subprocess.DEVNULL,
        )
    except subprocess.TimeoutExpired as late:
        raise Unavailable(f"Maven did not finish in {RESOLVE_S_MAX:.0f} s") from late
    if done.returncode:
        reason = next((line for line in done.stdout.splitlines() if "ERROR" in line), "")
        raise Unavailable(f"Maven could not fetch Kafka's jars: {reason[:300]}")


def properties(data: Path, port: int, controller_port: int) -> dict[str, str]:
    """Returns the broker's settings; sizes follow the largest message of the contracts."""
    return {
        "process.roles": "broker,controller",
        "node.id": "1",
        "controller.quorum.voters": f"1@{LOOPBACK}:{controller_port}",
        "listeners": f"PLAINTEXT://{LOOPBACK}:{port},CONTROLLER://{LOOPBACK}:{controller_port}",
        "advertised.listeners": f"PLAINTEXT://{LOOPBACK}:{port}",
        "listener.security.protocol.map": "PLAINTEXT:PLAINTEXT,CONTROLLER:PLAINTEXT",
        "controller.listener.names": "CONTROLLER",
        "inter.broker.listener.name": "PLAINTEXT",
        "log.dirs": str(data),
        "auto.create.topics.enable": "false",
        "message.max.bytes": str(message_bytes_max()),
        # A killed broker registers again only when its last session is over (9 s by default).
        "broker.session.timeout.ms": "3000",
        "broker.heartbeat.interval.ms": "1000",
        # How often an idle controller writes a record; half a second by default.
        "metadata.max.idle.interval.ms": "5000",
        "group.initial.rebalance.delay.ms": "0",  # a lone consumer need not wait for others
        "group.min.session.timeout.ms": "1000",  # tests of lost consumers must not last
        "offsets.topic.replication.factor": "1",
        "offsets.topic.num.partitions": "2",
        "transaction.state.log.replication.factor": "1",
        "transaction.state.log.min.isr": "1",
        "transaction.state.log.num.partitions": "2",
        "share.coordinator.state.topic.replication.factor": "1",
        "share.coordinator.state.topic.min.isr": "1",
        # One thread reads and writes, two work: enough for a few clients on a few cores.
        "num.network.threads": "1",
        "num.io.threads": "2",
        "log.cleaner.dedupe.buffer.size": str(16 * 1024 * 1024),  # the default is 128 MB of heap
    }


def message_bytes_max() -> int:
    """Returns the largest message that any topic of the contracts accepts, in bytes."""
    return max(int(topic.settings.get("max.message.bytes", 0)) for topic in ALL)


def server(directory: Path, cache: Path, overrides: Mapping[str, str]) -> tuple[Server, int]:
    """Returns the broker with its data in `directory`, and its client port.

    `overrides` are broker settings that replace or extend ours (a further listener, for example).
    Raises `Unavailable` where Java, Maven or the artifacts are missing.
    """
    run = [str(java()), *JVM, f"-Dlog4j2.configurationFile={LOGGING}"]
    run += ["-cp", f"{jars(cache).absolute()}/*"]
    directory.mkdir(parents=True, exist_ok=True)
    data = directory.absolute() / "data"
    port = kept_port(directory / "port")
    settings = properties(data, port, kept_port(directory / "controller-port"))
    settings.update(overrides)
    file = directory.absolute() / "server.properties"
    file.write_text("".join(f"{key}={value}\n" for key, value in sorted(settings.items())))
    process = Server(
        "kafka",
        [*run, "kafka.Kafka", str(file)],
        directory,
        data,
        {"PATH": os.environ.get("PATH", os.defpath), "LANG": "C.UTF-8"},
        grace_s=15.0,
        prepare=lambda: format_storage(run, file, data),
    )
    return process, port


def format_storage(run: list[str], file: Path, data: Path) -> None:
    """Gives the data directory a random cluster id, unless it has one."""
    if (data / "meta.properties").exists():
        return
    cluster = urlsafe_b64encode(uuid.uuid4().bytes).decode().rstrip("=")
    command = [*run, "kafka.tools.StorageTool", "format"]
    command += [f"--cluster-id={cluster}", f"--config={file}"]  # the id may begin with a dash
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        raise StackError(f"formatting Kafka's storage failed:\n{done.stdout}{done.stderr}")
