"""Command line of the manifests: `python -m deploy.cluster check [--static]`.

Exit status: 0 done, 1 failed (with the reason), 2 wrong usage.
"""

import argparse
import sys
import time

from deploy.cluster import play, rendered
from deploy.images import build, tools
from deploy.local.process import StackError


def main() -> int:
    """Parses and runs a command."""
    parser = argparse.ArgumentParser(prog="python -m deploy.cluster", description=__doc__)
    actions = parser.add_subparsers(required=True, metavar="COMMAND")
    checking = actions.add_parser("check", help="validate Compose file and manifests, and run them")
    checking.add_argument("--static", action="store_true", help="validate, and run nothing")
    given = parser.parse_args()
    try:
        check(static=given.static)
    except (tools.ImagesError, StackError) as trouble:
        print(f"cluster: {trouble}", file=sys.stderr)
        return 1
    return 0


def check(*, static: bool) -> None:
    """Validates the Compose file and every overlay, then runs the small one."""
    print(f"compose.yaml: {rendered.check_compose()} services")
    for name in rendered.OVERLAYS:
        count = rendered.check_overlay(name, tools.HOME)
        print(f"overlay {name}: {count} documents, {' and '.join(rendered.VERSIONS)}")
    if static:
        return
    tools.require()
    began = time.monotonic()
    build.build(build.SERVING, build.base())
    print(f"images: {time.monotonic() - began:.0f} s", flush=True)
    began = time.monotonic()
    play.run(rendered.overlay("small"))
    print(f"overlay small ran here: {time.monotonic() - began:.0f} s")


if __name__ == "__main__":
    sys.exit(main())
