"""Segment's official Python library at work: makes calls, and prints what it counts as failed.

Run by .venv-consumers, whose packages are not ours. Input: {"host", "writeKey", "gzip", "calls":
[[method, arguments]…]}.
"""

import json
import sys
from datetime import datetime
from typing import Any

from segment.analytics.client import Client


def main() -> None:
    """Make the calls and print the failures that the library reports."""
    given = json.load(sys.stdin)
    failed: list[str] = []

    def on_error(error: Any, items: Any) -> None:
        failed.append(f"{error} ({len(items)} calls)")

    client = Client(
        given["writeKey"], host=given["host"], gzip=given["gzip"], on_error=on_error, max_retries=0
    )
    for method, arguments in given["calls"]:
        if "timestamp" in arguments:
            arguments["timestamp"] = datetime.fromisoformat(arguments["timestamp"])
        getattr(client, method)(**arguments)
    client.flush()
    client.join()
    print(json.dumps(failed))


if __name__ == "__main__":
    main()
