"""A server process of the local stack: started, stopped, killed, and never left behind.

Each server has a lock file that it and its guard hold open (`flock`) as long as any part of it
lives. So the kernel answers whether an earlier one still runs, and not a process id, which may
belong to another process by now.
"""

import contextlib
import fcntl
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import psutil

from deploy.local.waiting import POLL_S, until

GUARD = Path(__file__).with_name("guard.py")

LOG_TAIL_LINES = 20
PRIVATE_FILE = 0o600
PRIVATE_UMASK = 0o077
"""Permissions of what servers write: it contains customer data, and other users of the machine may
not read it."""
READY_S_MAX = 60.0
"""Longest wait for a server to answer, in seconds: Kafka takes 4-6 s on two idle cores."""

ANSWER_S_MAX = 10.0
"""Longest wait for an external server, in seconds: it either runs or it does not."""


class StackError(RuntimeError):
    """The local stack cannot do what was requested; the message has the remedy."""


def holders(lock: Path) -> list[psutil.Process]:
    """Returns the processes, visible to this user, that have the file `lock` open."""
    path = str(lock.resolve())
    found = []
    for process in psutil.process_iter():
        with contextlib.suppress(psutil.Error):  # ended meanwhile, or another user's
            if any(opened.path == path for opened in process.open_files()):
                found.append(process)
    return found


def lock_now(lock: Path) -> int | None:
    """Takes the lock and returns its descriptor, or None if another process holds it."""
    lock.parent.mkdir(parents=True, exist_ok=True)
    descriptor = os.open(lock, os.O_RDWR | os.O_CREAT, 0o600)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        os.close(descriptor)
        return None
    return descriptor


def lock_from_stale(lock: Path, *, grace_s: float) -> int:
    """Takes a server's lock; remains of a dead launcher have `grace_s` to end, then are killed."""
    deadline = time.monotonic() + grace_s
    killed = False
    while (descriptor := lock_now(lock)) is None:
        if time.monotonic() > deadline:
            if killed:
                raise StackError(
                    f"a process of an earlier run still holds {lock} and cannot be ended; "
                    f"end it by hand (`fuser {lock}` names it)"
                )
            for process in holders(lock):
                process.kill()
            killed = True
            deadline = time.monotonic() + grace_s
        time.sleep(POLL_S)
    return descriptor


@dataclass(slots=True)
class Server:
    """One server under a guard; all its data is in the folder `data`.

    `command` runs in `directory` with exactly `environment`, as `user` if given (needs root).
    Output goes to `directory/<name>.log`. `stop_signal` asks it to end; after `grace_s` seconds it
    is killed. `prepare` runs before each start, after every process of an earlier run has ended.
    """

    name: str
    command: Sequence[str]
    directory: Path
    data: Path
    environment: Mapping[str, str]
    stop_signal: signal.Signals = signal.SIGTERM
    grace_s: float = 10.0
    user: str | None = None
    prepare: Callable[[], None] = lambda: None
    pid: int = field(default=0, init=False)
    _guard: subprocess.Popen[bytes] | None = field(default=None, init=False)

    @property
    def log(self) -> Path:
        """The file with its output; appended to at each start."""
        return self.directory / f"{self.name}.log"

    @property
    def lock(self) -> Path:
        """The file held open for as long as any part of the server lives."""
        return self.directory / f"{self.name}.lock"

    def start(self) -> None:
        """Start it, after remains of an earlier, killed launcher have ended."""
        if self.running:
            return
        self.directory.mkdir(parents=True, exist_ok=True)
        lock = lock_from_stale(self.lock, grace_s=self.grace_s + 1)
        guard = [sys.executable, "-I", "-S", str(GUARD), "--keep", str(lock)]
        guard += ["--grace", str(self.grace_s), "--signal", self.stop_signal.name]
        guard += ["--user", self.user] if self.user else []
        try:
            self.prepare()
            self.log.touch(mode=PRIVATE_FILE)
            self.log.chmod(PRIVATE_FILE)  # also the file of an earlier version
            with self.log.open("ab") as log:
                self._guard = subprocess.Popen(
                    [*guard, "--", *self.command],
                    cwd=self.directory,
                    env=dict(self.environment),
                    stdin=subprocess.PIPE,
                    stdout=subprocess.PIPE,
                    stderr=log,
                    pass_fds=[lock],
                    umask=PRIVATE_UMASK,
                    start_new_session=True,  # Ctrl-C is for the launcher, which stops us in order
                )
        finally:
            os.close(lock)
        assert self._guard.stdout is not None  # noqa: S101 (for the type checker)
        line = self._guard.stdout.readline()
        self._guard.stdout.close()
        if not line:
            raise StackError(f"{self.name} did not start:\n{self.tail()}")
        self.pid = int(line)

    def wipe(self) -> None:
        """Remove its data, after remains of an earlier, killed launcher have ended."""
        lock = lock_from_stale(self.lock, grace_s=self.grace_s + 1)
        shutil.rmtree(self.data, ignore_errors=True)
        os.close(lock)

    @property
    def running(self) -> bool:
        """Whether it has been started and has not ended."""
        return self._guard is not None and self._guard.poll() is None

    @property
    def returncode(self) -> int | None:
        """Its exit status (128 + signal number if a signal ended it); None while it runs."""
        return None if self._guard is None else self._guard.poll()

    def stop(self) -> None:
        """Ask it to end, wait, and kill it when its grace period is over."""
        self.release()
        self.wait()

    def release(self) -> None:
        """Ask it to end and return at once."""
        if self._guard is not None and self._guard.stdin is not None:
            self._guard.stdin.close()

    def wait(self) -> int:
        """Wait until every part of it has ended; return its exit status."""
        if self._guard is None:
            return 0
        status = self._guard.wait()
        self.release()
        os.close(lock_from_stale(self.lock, grace_s=self.grace_s + 1))
        return status

    def kill(self) -> None:
        """End it with SIGKILL, as a crash would, and wait until it has ended."""
        if self.running:
            os.kill(self.pid, signal.SIGKILL)
        self.wait()

    def freeze(self) -> None:
        """Suspend it and its children (SIGSTOP), as a stalled machine would."""
        self._signal_all(signal.SIGSTOP)

    def thaw(self) -> None:
        """Let it run again after `freeze`."""
        self._signal_all(signal.SIGCONT)

    def _signal_all(self, number: signal.Signals) -> None:
        server = psutil.Process(self.pid)
        for process in (server, *server.children(recursive=True)):
            process.send_signal(number)

    def tail(self) -> str:
        """Return the last lines of its log, for an error message."""
        if not self.log.exists():
            return "(no log)"
        lines = self.log.read_text(errors="replace").splitlines()[-LOG_TAIL_LINES:]
        return "\n".join([*lines, f"(full log: {self.log})"])


class Managed:
    """A part of the stack, run by a `Server` of ours or (`server` is None) externally."""

    what: str

    def __init__(self, server: Server | None) -> None:
        self.server = server

    @property
    def address(self) -> str:
        """Its address for clients; may contain a password."""
        raise NotImplementedError

    def ready(self) -> bool:
        """Return whether it answers a real request now."""
        raise NotImplementedError

    def start(self) -> None:
        """Start it and return when it is ready."""
        self.launch()
        self.wait_ready()

    def launch(self) -> None:
        """Start it and return at once."""
        if self.server is not None:
            self.server.start()

    def wait_ready(self) -> None:
        """Return when it answers; raises `StackError` if it ends or takes too long."""
        limit_s = READY_S_MAX if self.server else ANSWER_S_MAX
        if until(lambda: self._ended() or self.ready(), limit_s=limit_s) and not self._ended():
            return
        if self.server is None:
            raise StackError(f"{self.what} does not answer: check its address, or unset it")
        raise StackError(f"{self.what} does not start:\n{self.server.tail()}")

    def _ended(self) -> bool:
        return self.server is not None and not self.server.running

    def release(self) -> None:
        """Ask it to end and return at once; does nothing to an external one."""
        if self.server is not None:
            self.server.release()

    def stop(self) -> None:
        """Ask it to end and wait until it has; does nothing to an external one."""
        if self.server is not None:
            self.server.stop()

    def restart(self) -> None:
        """Stop it in order and start it again with its data, at the same address."""
        self.ours.stop()
        self.start()

    def kill(self) -> None:
        """End it as a crash would."""
        self.ours.kill()

    def freeze(self) -> None:
        """Stall it until `thaw`."""
        self.ours.freeze()

    def thaw(self) -> None:
        """Let it go on after `freeze`."""
        self.ours.thaw()

    @property
    def ours(self) -> Server:
        """The process; raises `StackError` for an external one."""
        if self.server is None:
            raise StackError(f"{self.what} is not run by this stack: it cannot be disturbed")
        return self.server
