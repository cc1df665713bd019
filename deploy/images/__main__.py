"""Command line of the images: `python -m deploy.images build|check|probe`.

Exit status: 0 done, 1 failed (with the reason), 2 wrong usage; `probe` returns 3 where this machine
cannot run containers.
"""

import argparse
import sys
import time

from deploy.images import build, check, probe, tools
from deploy.local.process import StackError


def main() -> int:
    """Parses and runs a command."""
    parser = argparse.ArgumentParser(prog="python -m deploy.images", description=__doc__)
    actions = parser.add_subparsers(required=True, metavar="COMMAND")
    building = actions.add_parser("build", help="build images and print their sizes")
    building.add_argument("--base", help="image to build on (default: one of Debian's packages)")
    building.add_argument(
        "targets", nargs="*", metavar="TARGET", help=f"of {', '.join(build.SIZES_MAX)}"
    )
    building.set_defaults(work=make)
    checking = actions.add_parser("check", help="build the services' images and run them")
    checking.add_argument("--base", help="image to build on (default: one of Debian's packages)")
    checking.set_defaults(work=make_and_run, targets=list(build.SERVING))
    probing = actions.add_parser("probe", help="find out whether containers can run here")
    probing.set_defaults(work=find_out, targets=[], failed=probe.CANNOT)
    parser.set_defaults(failed=1)
    given = parser.parse_args()
    if unknown := set(given.targets) - set(build.SIZES_MAX):
        parser.error(f"no target {', '.join(sorted(unknown))}: {', '.join(build.SIZES_MAX)}")
    try:
        given.work(given)
    except (tools.ImagesError, StackError) as trouble:
        print(f"images: {trouble}", file=sys.stderr)
        failed: int = given.failed
        return failed
    return 0


def make(given: argparse.Namespace) -> None:
    """Builds the targets (all if none is given) and prints their sizes."""
    tools.require()
    began = time.monotonic()
    base = given.base or build.base()
    print(f"base: {base}, {time.monotonic() - began:.0f} s", flush=True)
    began = time.monotonic()
    targets = given.targets or list(build.SIZES_MAX)
    build.build(targets, base)
    print(f"{', '.join(targets)}: {time.monotonic() - began:.0f} s", flush=True)
    check.sizes(targets)


def make_and_run(given: argparse.Namespace) -> None:
    """Builds the services' images, judges their sizes and runs them."""
    make(given)
    began = time.monotonic()
    check.run()
    print(f"images run as they should: {time.monotonic() - began:.0f} s")


def find_out(_: argparse.Namespace) -> None:
    """Tries to run a container."""
    probe.probe()
    print("containers run here")


if __name__ == "__main__":
    sys.exit(main())
