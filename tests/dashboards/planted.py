"""A target with the series of panels that are empty while nothing is wrong.

It shows that their queries find something once it is there.
"""

from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from typing import Final

from deploy.grafana.lint import EVERYWHERE, Known, selectors
from deploy.local.waiting import LOOPBACK
from tests.serving import Silent, serving

JOB: Final = "planted"


def exposition(exprs: Iterable[str], known: Known) -> str:
    """Return a scrape with one series per selector of the queries, each with the value 1.

    A label has the value that the selector asks for, or "x".
    """
    lines = set()
    for expr in exprs:
        for selector in selectors(expr):
            name = selector.name or ""
            labels = dict.fromkeys(sorted(known.labels[name] - EVERYWHERE), "x")
            labels |= {
                each.name: each.value
                for each in selector.matchers.matchers
                if each.name not in EVERYWHERE
            }
            shown = ",".join(f'{label}="{value}"' for label, value in labels.items())
            lines.add(f"{name}{{{shown}}} 1\n")
    return "".join(sorted(lines))


@contextmanager
def planted(text: str) -> Iterator[str]:
    """Serve the scrape; yields `host:port`."""

    class Handler(Silent):
        def do_GET(self) -> None:
            self.send_response(200)
            self.send_header("Content-Type", "text/plain; version=0.0.4")
            self.end_headers()
            self.wfile.write(text.encode())

    with serving(Handler) as port:
        yield f"{LOOPBACK}:{port}"
