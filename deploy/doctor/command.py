"""The command `doctor`: reads the settings, carries out every check, prints the findings."""

import argparse
import asyncio
import logging

from deploy.doctor import configured
from deploy.doctor.checks import Checks
from deploy.doctor.examination import examined
from deploy.doctor.findings import as_json, as_text, worst
from shared.observability.logging import configure_logging
from shared.runtime.clock import SystemClock


def run(given: argparse.Namespace) -> int:
    """Runs the doctor; returns the exit status."""
    configure_logging("doctor", "WARNING")
    # What a library logs of an address that does not answer is one of the findings.
    logging.getLogger("aiokafka").setLevel(logging.CRITICAL + 1)
    settings, findings = configured.read(given.service)
    checks = Checks(settings, SystemClock().now(), given.broker_clock)
    findings += asyncio.run(examined(checks.first(), checks.others()))
    print(as_json(findings) if given.json else as_text(findings))
    return worst(findings).value
