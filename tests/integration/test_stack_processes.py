"""The stack's command line under normal use and abuse: Ctrl-C, kill -9, a user's account."""

import itertools
import json
import os
import pwd
import shutil
import signal
import subprocess
import sys
from pathlib import Path

import psutil

from deploy.local.postgres import reachable
from deploy.local.process import holders
from deploy.local.stack import DESCRIPTION, KAFKA_CACHE, ROOT
from deploy.local.waiting import free_port, until

START_S_MAX = 90.0
GONE_S_MAX = 30.0
WRITE = """
import asyncio, asyncpg, os
async def main():
    connection = await asyncpg.connect(os.environ["DATABASE_URL"])
    await connection.execute("CREATE TABLE IF NOT EXISTS runs (at timestamptz DEFAULT now())")
    await connection.execute("INSERT INTO runs DEFAULT VALUES")
    count = await connection.fetchval("SELECT count(*) FROM runs")
    print(f"runs {count} uid {os.geteuid()}", flush=True)
    await connection.close()
asyncio.run(main())
"""


def command(folder: Path, *arguments: str) -> list[str]:
    return [sys.executable, "-m", "deploy.local", "--data", str(folder), *arguments]


def own_servers() -> dict[str, str]:
    """Return the environment without settings of other servers."""
    foreign = ("DATABASE_URL", "KAFKA_BOOTSTRAP_SERVERS")
    return {name: value for name, value in os.environ.items() if name not in foreign}


def start(folder: Path, **environment: str) -> subprocess.Popen[bytes]:
    """Start a stack in a process group of its own, as a terminal does; wait for its first write."""
    launcher = subprocess.Popen(
        command(folder, "run", "--", sys.executable, "-c", WRITE + "import time; time.sleep(600)"),
        cwd=ROOT,
        env=own_servers() | environment,
        stdout=subprocess.PIPE,
        start_new_session=True,
    )
    assert launcher.stdout is not None
    assert b"runs 1" in launcher.stdout.readline()
    launcher.stdout.close()
    return launcher


def left(folder: Path) -> list[str]:
    """Return the processes that use the folder."""
    found = []
    for process in psutil.process_iter():
        try:
            places = [*process.cmdline(), process.cwd()]
        except psutil.Error:
            continue
        if process.pid != os.getpid() and any(str(folder) in place for place in places):
            found.append(f"{process.pid} {' '.join(process.cmdline())[:120]}")
    return found


def assert_nothing_is_left(folder: Path) -> None:
    until(lambda: not left(folder), limit_s=GONE_S_MAX)
    assert left(folder) == []


def test_ctrl_c_leaves_no_process(public_folder: Path) -> None:
    launcher = start(public_folder)
    assert left(public_folder)
    os.killpg(launcher.pid, signal.SIGINT)  # a terminal sends it to the whole group
    assert launcher.wait(GONE_S_MAX) == 128 + signal.SIGINT
    assert left(public_folder) == []


def test_ctrl_c_while_it_starts_leaves_no_process(public_folder: Path) -> None:
    with subprocess.Popen(
        command(public_folder, "run", "--", "sleep", "600"),
        cwd=ROOT,
        env=own_servers(),
        start_new_session=True,
    ) as launcher:
        assert until(
            lambda: len(left(public_folder)) > 1, limit_s=START_S_MAX
        )  # a server is coming up
        os.killpg(launcher.pid, signal.SIGINT)
        assert launcher.wait(GONE_S_MAX) == 128 + signal.SIGINT
    assert_nothing_is_left(public_folder)


def test_killed_launcher_leaves_no_process_and_the_next_run_keeps_the_data(
    public_folder: Path,
) -> None:
    launcher = start(public_folder)
    described = json.loads((public_folder / DESCRIPTION).read_text())
    os.killpg(launcher.pid, signal.SIGKILL)
    launcher.wait()
    again = subprocess.run(
        command(public_folder, "run", "--", sys.executable, "-c", WRITE),
        cwd=ROOT,
        env=own_servers(),
        capture_output=True,
        check=False,
    )
    assert b"runs 2" in again.stdout, again.stderr
    assert json.loads((public_folder / DESCRIPTION).read_text()) == described  # same addresses
    assert_nothing_is_left(public_folder)


def test_status_and_down(public_folder: Path) -> None:
    def ask(what: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            command(public_folder, what), cwd=ROOT, capture_output=True, text=True, check=False
        )

    assert ask("status").returncode == 1
    assert "start one with `make up`" in ask("status").stderr
    launcher = start(public_folder, BROKER="embedded")
    shown = ask("status")
    assert shown.returncode == 0
    assert "export DATABASE_URL='postgresql://" in shown.stdout
    assert "every topic is there" in ask("topics").stdout
    assert ask("down").returncode == 0
    assert launcher.wait(GONE_S_MAX) == 128 + signal.SIGINT
    assert left(public_folder) == []


def test_up_runs_the_services_until_one_ends(public_folder: Path) -> None:
    ports = {f"EBBWATCH_{name}_PORT": str(free_port()) for name in ("INGEST", "SCORING", "ALERTS")}
    with subprocess.Popen(
        command(public_folder, "up"),
        cwd=ROOT,
        env=own_servers() | ports | {"BROKER": "embedded"},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    ) as launcher:
        assert launcher.stdout is not None
        assert launcher.stderr is not None
        shown = list(itertools.takewhile(lambda line: "Ctrl-C" not in line, launcher.stdout))
        assert any(f":{ports['EBBWATCH_SCORING_PORT']} " in line for line in shown), shown
        killed = holders(public_folder / "services" / "scoring.lock")
        for process in killed:
            process.kill()
        assert killed
        assert launcher.wait(GONE_S_MAX) == 1
        assert "scoring ended with" in launcher.stderr.read()
    assert left(public_folder) == []


def copied(folder: Path, owner: pwd.struct_passwd) -> Path:
    """Provide a working copy that belongs to `owner`, with the jars of this one."""
    copy = folder / "copy"
    for name in ("deploy", "shared", "services"):
        shutil.copytree(ROOT / name, copy / name, ignore=shutil.ignore_patterns("__pycache__"))
    if (KAFKA_CACHE / "jars").exists():
        shutil.copytree(KAFKA_CACHE / "jars", copy / ".local" / "kafka" / "jars")
    for path in (copy, *copy.rglob("*")):
        os.chown(path, owner.pw_uid, owner.pw_gid)
    return copy


def as_user(owner: pwd.struct_passwd) -> list[str]:
    """Return the command prefix that makes a command run as `owner`.

    Where the interpreter lies in root's home, which that user cannot enter, the command may read
    everything (and still write, signal and own only what is the user's).
    """
    setpriv = shutil.which("setpriv")
    assert setpriv, "install util-linux"
    run = [setpriv, "--reuid", str(owner.pw_uid), "--regid", str(owner.pw_gid), "--clear-groups"]
    if not all(reachable(path) for path in (Path(sys.executable).resolve(), Path(sys.prefix))):
        run += ["--inh-caps", "+dac_read_search", "--ambient-caps", "+dac_read_search"]
    return run


def test_works_for_root_and_for_a_user(public_folder: Path) -> None:
    """All other tests cover the account that runs them; root also tries a user's account."""
    owner = pwd.getpwnam("nobody") if os.geteuid() == 0 else pwd.getpwuid(os.geteuid())
    copy = copied(public_folder, owner)
    environment = own_servers() | {"HOME": str(copy), "PYTHONPATH": str(copy)}
    user = as_user(owner) if os.geteuid() == 0 else []
    done = subprocess.run(
        [*user, sys.executable, "-m", "deploy.local", "run", "--", sys.executable, "-c", WRITE],
        cwd=copy,
        env=environment,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.stdout == f"runs 1 uid {owner.pw_uid}\n", done.stderr
    assert (copy / ".local" / DESCRIPTION).stat().st_uid == owner.pw_uid
    assert_nothing_is_left(public_folder)


def test_root_can_work_in_a_private_folder(public_folder: Path) -> None:
    """PostgreSQL runs unprivileged also where only root may enter."""
    private = public_folder / "private"
    private.mkdir(mode=0o700)
    done = subprocess.run(
        command(private, "run", "--", sys.executable, "-c", WRITE),
        cwd=ROOT,
        env=own_servers() | {"BROKER": "embedded"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert "runs 1" in done.stdout, done.stderr
    cleaned = subprocess.run(command(private, "clean"), cwd=ROOT, check=False)
    assert cleaned.returncode == 0
    assert not private.exists()
