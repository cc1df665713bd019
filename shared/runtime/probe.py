"""Asks a service on this machine whether it is ready: the health check of a container.

    python -m shared.runtime.probe EBBWATCH_INGEST_PORT

The variable names the port. Exit status: 0 ready, 1 not, 2 wrong usage.
"""

import os
import sys
from http.client import HTTPConnection

TIMEOUT_S = 4.0
"""Seconds to wait for the answer: more than the service takes to ask what it depends on."""
READY = 200


def main(arguments: list[str]) -> int:
    """Asks `/readyz` on the port that the named variable holds; prints what is missing."""
    port = os.environ.get(arguments[0], "") if len(arguments) == 1 else ""
    if not port.isdecimal():
        print("name the variable that holds the port: EBBWATCH_INGEST_PORT=8081", file=sys.stderr)
        return 2
    connection = HTTPConnection("127.0.0.1", int(port), timeout=TIMEOUT_S)
    try:
        connection.request("GET", "/readyz")
        answer = connection.getresponse()
        text = answer.read(4_096).decode(errors="replace")
    except OSError as error:
        text, status = str(error), 0
    else:
        status = answer.status
    finally:
        connection.close()
    print(text)
    return 0 if status == READY else 1


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
