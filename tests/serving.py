"""Serves HTTP on a free port of loopback, for tests that play another program."""

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

from deploy.local.waiting import LOOPBACK


class Silent(BaseHTTPRequestHandler):
    """A handler that prints nothing about its requests."""

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002 (inherited)
        """Print nothing."""


@contextmanager
def serving(handler: type[BaseHTTPRequestHandler]) -> Iterator[int]:
    """Serve by the handler; yields the port. On exit the server has ended."""
    with ThreadingHTTPServer((LOOPBACK, 0), handler) as server:
        thread = threading.Thread(target=server.serve_forever, daemon=True)
        thread.start()
        try:
            yield server.server_port
        finally:
            server.shutdown()
            thread.join()
