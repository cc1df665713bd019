"""Arguments of the doctor's command, apart from what it imports, which takes a second."""

import argparse

SERVICES = ("ingest", "scoring", "alerts")

EPILOG = """\
Reads the settings that the services read, and changes nothing. Exit status: 0 all is well,
1 there are warnings and no failure, 2 something has to be mended. EBBWATCH_DOCTOR_TOKEN: a token
for processes whose metrics are closed.
"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Adds the doctor's options."""
    parser.epilog = EPILOG
    parser.formatter_class = argparse.RawDescriptionHelpFormatter
    parser.add_argument("--json", action="store_true", help="print the findings as JSON")
    parser.add_argument(
        "--service",
        action="append",
        type=_address,
        default=[],
        metavar="NAME=URL",
        help="where a process of a service answers; repeat it for every replica (default: the "
        "host and port of the settings)",
    )
    parser.add_argument(
        "--broker-clock",
        action="store_true",
        help="measure the broker's clock too: makes a topic, and deletes it again",
    )


def _address(text: str) -> tuple[str, str]:
    name, mark, url = text.partition("=")
    if name not in SERVICES or not mark or not url.startswith(("http://", "https://")):
        raise argparse.ArgumentTypeError(
            f"{text!r} is no service's address: scoring=http://10.0.0.7:8082, for instance"
        )
    return name, url.rstrip("/")
