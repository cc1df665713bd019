"""Runs one server process and makes sure that it never outlives its launcher.

    python -I -S guard.py --grace 10 --signal SIGTERM [--user nobody] -- command …

The launcher holds the other end of this process's standard input. When that pipe closes (the
launcher stopped the server, or died in any way, kill -9 included) the server is asked to stop with
the signal given, and killed after the grace period. If this process itself is killed, the kernel
kills the server (parent-death signal, Linux).

A process of its own because the parent-death signal follows the *thread* that started the child,
and because a Python program with threads must not run code between fork and exec.

It prints the server's process id on its standard output, once, and exits as the server did (128 +
signal number if a signal ended it). It never restarts the server and never logs. Only the standard
library is used, so that it starts in about 20 ms.
"""

import argparse
import contextlib
import ctypes
import os
import pwd
import select
import signal
import subprocess
import sys
import time

PR_SET_PDEATHSIG = 1
LAUNCHER_CHECK_S = 1.0
"""How often to check whether the launcher lives, in seconds: a child that the launcher forked can
keep the pipe open after the launcher's death."""


def arguments() -> argparse.Namespace:
    """Parses what to run, how to stop it, and as which user."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--grace", type=float, required=True, help="seconds from stop to kill")
    parser.add_argument("--signal", required=True, help="the signal that asks it to stop")
    parser.add_argument("--user", help="run the server as this user (needs root)")
    parser.add_argument("--keep", type=int, required=True, help="descriptor the server inherits")
    parser.add_argument("command", nargs="+")
    return parser.parse_args()


def start(given: argparse.Namespace) -> subprocess.Popen[bytes]:
    """Start the server; its output goes to this process's standard error."""
    me = os.getpid()
    libc = ctypes.CDLL(None) if sys.platform == "linux" else None

    def die_with_guard() -> None:
        # After the change of user, which would clear it.
        if libc is not None:
            libc.prctl(PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0)
        if os.getppid() != me:
            os.kill(os.getpid(), signal.SIGKILL)

    account = pwd.getpwnam(given.user) if given.user else None
    return subprocess.Popen(
        given.command,
        stdin=subprocess.DEVNULL,
        stdout=sys.stderr,
        stderr=sys.stderr,
        pass_fds=[given.keep],
        user=account.pw_uid if account else None,
        group=account.pw_gid if account else None,
        extra_groups=[] if account else None,
        preexec_fn=die_with_guard,  # noqa: PLW1509 (this process has one thread)
    )


def wake_on_signals() -> int:
    """Returns a descriptor that becomes readable with the number of every signal that arrives."""
    readable, writable = os.pipe()
    os.set_blocking(writable, False)
    signal.set_wakeup_fd(writable)
    for number in (signal.SIGCHLD, signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
        signal.signal(number, lambda *_: None)
    return readable


def stop_wanted(wake: int, launcher: int) -> bool:
    """Waits; returns True when the pipe closed, the launcher died or a signal asks to stop."""
    ready, _, _ = select.select([sys.stdin, wake], [], [], LAUNCHER_CHECK_S)
    if sys.stdin in ready and not os.read(sys.stdin.fileno(), 1):
        return True
    if wake in ready and set(os.read(wake, 64)) - {signal.SIGCHLD}:
        return True
    return os.getppid() != launcher


def stop(server: subprocess.Popen[bytes], ask: signal.Signals, grace_s: float, wake: int) -> None:
    """Ask the server to stop; kill it when the grace period is over."""
    deadline = time.monotonic() + grace_s
    server.send_signal(ask)
    server.send_signal(signal.SIGCONT)  # a stopped process would not receive the first signal
    while server.poll() is None:
        left = deadline - time.monotonic()
        if left <= 0:
            server.kill()
            server.wait()
            return
        if select.select([wake], [], [], left)[0]:
            os.read(wake, 64)


def main() -> int:
    """Runs the server until it ends or has to stop; returns its exit status."""
    given = arguments()
    launcher = os.getppid()
    wake = wake_on_signals()
    server = start(given)
    with contextlib.suppress(BrokenPipeError):
        os.write(1, f"{server.pid}\n".encode())
    while server.poll() is None:
        if stop_wanted(wake, launcher):
            stop(server, signal.Signals[given.signal], given.grace, wake)
    return server.returncode if server.returncode >= 0 else 128 - server.returncode


if __name__ == "__main__":
    sys.exit(main())
