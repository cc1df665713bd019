"""The launcher of the local stack; a Python process stands in for each server."""

import os
import signal
import socket
import subprocess
import sys
from pathlib import Path

import psutil
import pytest

from deploy.local import broker, services, waiting
from deploy.local.broker import Broker
from deploy.local.postgres import reachable
from deploy.local.process import Server, StackError, lock_now
from deploy.local.stack import LocalStack
from deploy.local.waiting import LOOPBACK, PORTS, free_port, is_free, kept_port, until
from services.alerts.delivery.core.encryption_key import key_of as aes_key
from shared.contracts.topics import ALL

GONE_S_MAX = 10.0
DEAF = (
    "import signal, time; signal.signal(signal.SIGTERM, signal.SIG_IGN); "
    "print('ready', flush=True); time.sleep(600)"
)
LAUNCHER = """
import sys, time
from pathlib import Path
from deploy.local.process import Server
folder = Path(sys.argv[1])
server = Server("fake", [sys.executable, "-c", sys.argv[2]], folder, folder, {}, grace_s=0.5)
server.start()
print(server.pid, flush=True)
time.sleep(600)
"""


def sleeper(folder: Path, code: str = "import time; time.sleep(600)") -> Server:
    return Server("fake", [sys.executable, "-c", code], folder, folder, {}, grace_s=0.5)


def is_gone(server: Server) -> bool:
    """Return whether no part of the server lives: its lock can be taken."""
    if (descriptor := lock_now(server.lock)) is None:
        return False
    os.close(descriptor)
    return True


def test_server_starts_and_stops(tmp_path: Path) -> None:
    server = sleeper(tmp_path)
    server.start()
    assert server.running
    assert psutil.pid_exists(server.pid)
    server.stop()
    assert not server.running
    assert server.returncode == 128 + signal.SIGTERM
    assert is_gone(server)


def test_server_that_will_not_stop_is_killed(tmp_path: Path) -> None:
    server = sleeper(tmp_path, DEAF)
    server.start()
    assert until(lambda: "ready" in server.log.read_text(), limit_s=GONE_S_MAX)
    server.stop()
    assert server.returncode == 128 + signal.SIGKILL
    assert is_gone(server)


def test_frozen_server_can_be_stopped(tmp_path: Path) -> None:
    server = sleeper(tmp_path)
    server.start()
    server.freeze()
    frozen = psutil.Process(server.pid)
    assert until(lambda: frozen.status() == psutil.STATUS_STOPPED, limit_s=GONE_S_MAX)
    server.stop()
    assert server.returncode == 128 + signal.SIGTERM


def test_exit_status_and_log_of_a_server_that_ends(tmp_path: Path) -> None:
    server = sleeper(tmp_path, "import sys; print('no disk'); sys.exit(3)")
    server.start()
    assert server.wait() == 3
    assert "no disk" in server.tail()


@pytest.mark.parametrize("code", ["import time; print('ready', flush=True); time.sleep(600)", DEAF])
def test_server_ends_with_a_killed_launcher(tmp_path: Path, code: str) -> None:
    with subprocess.Popen(
        [sys.executable, "-c", LAUNCHER, str(tmp_path), code], stdout=subprocess.PIPE, text=True
    ) as launcher:
        assert launcher.stdout is not None
        pid = int(launcher.stdout.readline())
        assert until(lambda: "ready" in sleeper(tmp_path).log.read_text(), limit_s=GONE_S_MAX)
        launcher.kill()
    assert until(lambda: is_gone(sleeper(tmp_path)), limit_s=GONE_S_MAX)
    assert not psutil.pid_exists(pid)


def test_server_ends_with_a_killed_guard(tmp_path: Path) -> None:
    server = sleeper(tmp_path)
    server.start()
    psutil.Process(server.pid).parent().kill()  # type: ignore[union-attr]  # its guard
    assert until(lambda: is_gone(server), limit_s=GONE_S_MAX)
    server.wait()


def test_start_ends_what_an_earlier_run_left(tmp_path: Path) -> None:
    """The process that holds the server's lock is ended, and no other."""
    lock = str(tmp_path / "fake.lock")
    hold = (
        "import fcntl, sys, time; f = open(sys.argv[1], 'w'); fcntl.flock(f, fcntl.LOCK_EX); "
        "print('held', flush=True); time.sleep(600)"
    )
    with (
        subprocess.Popen([sys.executable, "-c", hold, lock], stdout=subprocess.PIPE) as stale,
        subprocess.Popen([sys.executable, "-c", "import time; time.sleep(600)"]) as bystander,
    ):
        assert stale.stdout is not None
        assert stale.stdout.readline() == b"held\n"
        server = sleeper(tmp_path)
        server.start()
        assert stale.wait(GONE_S_MAX) == -signal.SIGKILL
        assert bystander.poll() is None
        bystander.kill()
        server.stop()


def test_wipe_removes_the_data_and_nothing_else(tmp_path: Path) -> None:
    server = Server("fake", ["true"], tmp_path, tmp_path / "data", {})
    (tmp_path / "data").mkdir()
    (tmp_path / "port").write_text("1")
    server.wipe()
    assert sorted(path.name for path in tmp_path.iterdir()) == ["fake.lock", "port"]


def test_port_is_kept_while_it_is_free(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(waiting, "LET_GO_S", 0.1)
    port = kept_port(tmp_path / "port")
    assert port in PORTS
    assert kept_port(tmp_path / "port") == port
    with socket.socket() as occupant:
        occupant.bind((LOOPBACK, port))
        occupant.listen()
        assert not is_free(port)
        assert kept_port(tmp_path / "port") != port


def choose(tmp_path: Path, environ: dict[str, str], shown: list[str]) -> Broker:
    return broker.choose(tmp_path, tmp_path / "cache", environ, {}, shown.append)


def test_configured_broker_is_used_and_not_started(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("KAFKA_BOOTSTRAP_SERVERS", "broker.example:9092")
    chosen = choose(tmp_path, dict(os.environ, BROKER=""), [])
    assert (chosen.kind, chosen.address, chosen.server) == ("external", "broker.example:9092", None)
    with pytest.raises(StackError, match="not run by this stack"):
        chosen.kill()


def test_forced_broker_wins_over_a_configured_one(tmp_path: Path) -> None:
    environ = {"KAFKA_BOOTSTRAP_SERVERS": "broker.example:9092", "BROKER": "embedded"}
    shown: list[str] = []
    assert choose(tmp_path, environ, shown).kind == "embedded"
    assert any("loses recent records" in message for message in shown)


@pytest.mark.parametrize("missing", ["java", "mvn"])
def test_without_java_or_maven(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, missing: str
) -> None:
    """The embedded broker is used with a warning; where Apache Kafka is forced, it is an error."""
    tools = tmp_path / "tools"
    tools.mkdir()
    if missing == "mvn":
        (tools / "java").write_text("#!/bin/sh\necho 'openjdk version \"21.0.1\"' >&2\n")
        (tools / "java").chmod(0o755)
    monkeypatch.setenv("PATH", str(tools))
    monkeypatch.delenv("JAVA_HOME", raising=False)
    shown: list[str] = []
    assert choose(tmp_path, {}, shown).kind == "embedded"
    assert f"no `{missing}` found" in shown[0]
    with pytest.raises(StackError, match=f"BROKER=kafka, but no `{missing}` found: install"):
        choose(tmp_path, {"BROKER": "kafka"}, shown)


def test_old_java_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    java = tmp_path / "bin" / "java"
    java.parent.mkdir()
    java.write_text("#!/bin/sh\necho 'openjdk version \"11.0.2\" 2019-01-15' >&2\n")
    java.chmod(0o755)
    monkeypatch.setenv("JAVA_HOME", str(tmp_path))
    with pytest.raises(StackError, match="is not Java >= 17"):
        choose(tmp_path, {"BROKER": "kafka"}, [])


def test_unreachable_registry_is_named_and_asked_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A failed download leaves no marker behind: with the registry back, Kafka is there."""
    tools = tmp_path / "tools"
    tools.mkdir()
    for name, script in {
        "java": "echo 'openjdk version \"21.0.1\"' >&2",
        "mvn": "echo '[ERROR] Could not transfer artifact'; exit 1",
    }.items():
        (tools / name).write_text(f"#!/bin/sh\n{script}\n")
        (tools / name).chmod(0o755)
    monkeypatch.setenv("PATH", str(tools), prepend=os.pathsep)
    monkeypatch.delenv("JAVA_HOME", raising=False)
    shown: list[str] = []
    assert choose(tmp_path, {}, shown).kind == "embedded"
    assert "Could not transfer artifact" in shown[0]
    (tools / "mvn").write_text(
        '#!/bin/sh\nfor a; do case $a in -Dout*) mkdir "${a#*=}"; esac; done\n'
    )
    assert choose(tmp_path, {}, shown).kind == "kafka"


def test_unknown_broker_is_refused(tmp_path: Path) -> None:
    with pytest.raises(StackError, match="use kafka or embedded"):
        choose(tmp_path, {"BROKER": "redpanda"}, [])


def test_second_stack_on_the_same_data_is_refused(tmp_path: Path) -> None:
    descriptor = lock_now(tmp_path / "stack.lock")
    assert descriptor is not None
    with pytest.raises(StackError, match=f"in use by process {os.getpid()}: stop it"):
        LocalStack(tmp_path).start()
    os.close(descriptor)


def test_reachable_looks_at_every_folder_above(tmp_path: Path) -> None:
    inner = tmp_path / "a" / "b"
    inner.mkdir(parents=True)
    inner.chmod(0o700)
    assert not reachable(inner / "data")
    assert reachable(Path("/usr/lib"))


def test_kafka_lets_in_what_every_topic_lets_in() -> None:
    from deploy.local.apache_kafka import message_bytes_max  # noqa: PLC0415

    for topic in ALL:
        assert int(topic.settings.get("max.message.bytes", 0)) <= message_bytes_max()


def test_free_ports_lie_below_those_of_outgoing_connections() -> None:
    assert all(free_port() in PORTS for _ in range(20))
    assert PORTS.stop <= 32_768


def test_make_up_lets_alerts_send_to_this_machine_with_a_key_that_is_kept(tmp_path: Path) -> None:
    data = tmp_path / "data"
    first = services.development(data, {})
    assert first["EBBWATCH_ALERTS_DELIVERY_ALLOWED_NETWORKS"] == "127.0.0.0/8"
    assert first["EBBWATCH_ALERTS_DELIVERY_HTTPS_ONLY"] == "false"
    assert len(aes_key(first["EBBWATCH_ALERTS_SECRET_KEYS"])) == 32
    assert services.development(data, {}) == first
    assert (data / services.ALERTS_KEY).stat().st_mode & 0o077 == 0
    assert services.development(tmp_path / "other", {}) != first


def test_settings_of_the_environment_replace_those_of_make_up(tmp_path: Path) -> None:
    own = {"EBBWATCH_ALERTS_DELIVERY_HTTPS_ONLY": "true", "OTHER": "x"}
    made = services.development(tmp_path, own)
    assert made["EBBWATCH_ALERTS_DELIVERY_HTTPS_ONLY"] == "true"
    assert "OTHER" not in made
