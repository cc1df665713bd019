"""Command line of the manifests: `python -m deploy.cluster validate|run|apiserver`.

Exit status: 0 done, 1 failed (with the reason), 2 wrong usage.
"""

import argparse
import sys
import time
from pathlib import Path

from deploy.cluster import apiserver, play, rendered, started
from deploy.images import build, tools
from deploy.local.process import StackError


def main() -> int:
    """Parses and runs a command."""
    parser = argparse.ArgumentParser(prog="python -m deploy.cluster", description=__doc__)
    actions = parser.add_subparsers(required=True, metavar="COMMAND")
    for work, text in ((validate, "validate Compose file and manifests"), (run, "run them here")):
        actions.add_parser(work.__name__, help=text).set_defaults(work=work)
    asking = actions.add_parser("apiserver", help="ask a real API server, without a cluster")
    asking.add_argument("binary", type=Path, help="kube-apiserver")
    asking.set_defaults(work=ask)
    given = parser.parse_args()
    try:
        given.work(given)
    except (tools.ImagesError, StackError) as trouble:
        print(f"cluster: {trouble}", file=sys.stderr)
        return 1
    return 0


def validate(_: argparse.Namespace) -> None:
    """Validates the Compose file and every overlay, also with the optional components."""
    print(f"compose.yaml: {rendered.check_compose()} services")
    overlays = {name: rendered.overlay(name) for name in rendered.OVERLAYS}
    for name in rendered.OVERLAYS:
        own = "-".join([name, *rendered.OPTIONAL])
        overlays[own] = rendered.with_components(name, tools.HOME / own)
    for name, documents in overlays.items():
        rendered.check_overlay(name, documents, tools.HOME)
        print(f"overlay {name}: {len(documents)} documents, {' and '.join(rendered.VERSIONS)}")


def run(_: argparse.Namespace) -> None:
    """Runs the Compose file's own services and the small overlay."""
    tools.require()
    began = time.monotonic()
    build.ensure(build.SERVING)
    print(f"images: {time.monotonic() - began:.0f} s", flush=True)
    began = time.monotonic()
    started.run(rendered.composed())
    print(f"Compose file's own services ran here: {time.monotonic() - began:.0f} s", flush=True)
    began = time.monotonic()
    play.run(rendered.overlay("small"))
    print(f"overlay small ran here: {time.monotonic() - began:.0f} s")


def ask(given: argparse.Namespace) -> None:
    """Has an API server judge both overlays."""
    # Kinds of others it would know from their own definitions, which are not here.
    overlays = {name: rendered.with_schema(rendered.overlay(name)) for name in rendered.OVERLAYS}
    with apiserver.running(given.binary.absolute(), tools.HOME / "apiserver") as server:
        apiserver.check(server, overlays)


if __name__ == "__main__":
    sys.exit(main())
