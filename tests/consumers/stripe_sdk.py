"""Signs bodies as Stripe's official Python library does: {"secret", "at", "body"} on the input.

Run by .venv-consumers, whose packages are not ours. Prints the header, after the library has taken
its own signature for genuine.
"""

import json
import sys

from stripe import WebhookSignature


def main() -> None:
    """Print the signature's header."""
    given = json.load(sys.stdin)
    body, secret = given["body"], given["secret"]
    header = WebhookSignature.generate_signature_header(body, secret, given["at"])
    assert WebhookSignature.verify_header(body, header, secret)
    print(json.dumps(header))


if __name__ == "__main__":
    main()
