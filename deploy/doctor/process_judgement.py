"""Judges what was found at the services' ports, in the model store and on the clocks.

Facts in, findings out. No input or output.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final

from deploy.doctor.findings import Finding, fail, ok, warn

SKEW_S: Final = 1.0
"""Clocks that differ by more than a second: latencies and the order of events become wrong."""
SKEW_S_MAX: Final = 60.0
"""By more than a minute: tokens expire at the wrong time, and ingest refuses events as future."""


@dataclass(frozen=True, slots=True)
class ProcessFacts:
    """The answer at one address where a service should be."""

    service: str
    url: str
    answered: bool = False
    claims: str | None = None
    """The service that the answer names; None where it names none: then it is not ours."""
    build: str | None = None
    """Version and revision that the process reports; None where they cannot be read."""
    missing: Mapping[str, str] = field(default_factory=dict)
    """What it waits for, by check; empty while it is ready."""
    notes: Mapping[str, str] = field(default_factory=dict)
    model: str | None = None
    """Version of the model that serves in it; None where it cannot be read."""
    metrics: bool = False
    """Whether its metrics could be read."""


def judge_processes(found: Sequence[ProcessFacts]) -> list[Finding]:
    """Judges who answers at the services' addresses, and whether they are ready."""
    findings = [each for one in found for each in _process(one)]
    by_build: dict[str, list[str]] = {}
    for one in found:
        if one.build is not None:
            by_build.setdefault(one.build, []).append(f"{one.service} at {one.url}")
    if len(by_build) > 1:
        each = "; ".join(f"{build}: {', '.join(of)}" for build, of in sorted(by_build.items()))
        do = "finish the upgrade (docs/upgrading.md): restart the processes of the older build"
        findings.append(warn("services", f"the processes are of different builds. {each}", do))
    return findings


def judge_unasked(hosts: Sequence[str], asked: int) -> list[Finding]:
    """Judges whether every replica of scoring was asked; `hosts`: those that read for it."""
    if len(hosts) <= asked:
        return []
    many = "1 process was" if asked == 1 else f"{asked} processes were"
    what = f"scoring runs on {len(hosts)} hosts ({', '.join(hosts)}), and {many} asked"
    do = "name every replica, of all services: --service scoring=http://HOST:PORT"
    return [warn("services", what, do)]


def _process(one: ProcessFacts) -> list[Finding]:
    name = one.service
    port = f"EBBWATCH_{name.upper()}_PORT"
    elsewhere = f"--service {name}=URL names another address"
    if not one.answered:
        do = f"python -m services.{name} run; {elsewhere}"
        return [fail("services", f"nothing answers as {name} at {one.url}", do)]
    if one.claims is None:
        what = f"another program answers at {one.url}, where {name} should be"
        return [fail("services", what, f"stop it, or choose another port with {port}; {elsewhere}")]
    if one.claims != name:
        what = f"{one.claims} answers at {one.url}, where {name} should be"
        return [fail("services", what, f"set {port} right; {elsewhere}")]
    if one.missing:
        why = "; ".join(f"{check}: {reason}" for check, reason in sorted(one.missing.items()))
        return [
            fail("services", f"{name} at {one.url} is not ready: {why}", f"read the log of {name}")
        ]
    if one.notes:
        why = "; ".join(f"{note}: {reason}" for note, reason in sorted(one.notes.items()))
        do = f"see the other findings and the log of {name}"
        return [warn("services", f"{name} at {one.url} is ready, but {why}", do)]
    build = "" if one.build is None else f", {one.build}"
    return [ok("services", f"{name} is ready at {one.url}{build}")]


@dataclass(frozen=True, slots=True)
class ModelFacts:
    """The model that should serve, the store as seen from here, and what serves."""

    promoted: str | None
    """Version in the registry; None: the rule serves."""
    place: str
    trouble: str | None
    """Why the promoted model cannot be read from the store here; None where it can."""
    remote: bool
    """Whether the store is reached over the network, and is not a folder."""
    hosts: Sequence[str]
    """Hosts of the processes that read partitions for scoring."""
    processes: Sequence[ProcessFacts]
    """Of scoring."""


def judge_model(facts: ModelFacts) -> list[Finding]:
    """Judges whether every process of scoring has the promoted model."""
    findings = []
    if facts.promoted is not None and facts.trouble is not None:
        what = f"the promoted model {facts.promoted} cannot be read from {facts.place}"
        do = "set EBBWATCH_SCORING_MODEL_STORE as for the training, or restore the store's backup"
        findings.append(fail("model", f"{what}: {facts.trouble}", do))
    if not facts.remote and len(facts.hosts) > 1:
        shown = ", ".join(facts.hosts)
        what = (
            f"scoring runs on {len(facts.hosts)} hosts ({shown}), and its model store is a folder"
        )
        do = "make it one shared folder, or set EBBWATCH_SCORING_MODEL_STORE to s3://…"
        findings.append(warn("model", what, do))
    ours = [one for one in facts.processes if one.claims == "scoring"]
    served = {one.url: one.model for one in ours if one.model is not None}
    for url, version in served.items():
        if facts.promoted is not None and version != facts.promoted:
            what = f"{url} serves {version}, while {facts.promoted} is promoted"
            do = "give that process the same EBBWATCH_SCORING_MODEL_STORE, and read its log"
            findings.append(fail("model", what, do))
    if facts.promoted is None and len(set(served.values())) > 1:
        each = ", ".join(f"{url} {version}" for url, version in served.items())
        findings.append(
            fail("model", f"the processes serve different models: {each}", "restart them")
        )
    unread = [one.url for one in ours if not one.metrics]
    if unread:
        what = f"which model serves at {unread[0]} cannot be read: its metrics are closed"
        findings.append(
            warn("model", what, "set EBBWATCH_DOCTOR_TOKEN to a valid token of scoring")
        )
    if findings:
        return findings
    said = (
        "no process was asked" if not served else f"{len(served)} of {len(ours)} processes serve it"
    )
    if facts.promoted is None:
        return [ok("model", f"no model is promoted, so the rule serves; {said}")]
    return [ok("model", f"{facts.promoted} is promoted and can be read from {facts.place}; {said}")]


@dataclass(frozen=True, slots=True)
class ClockFacts:
    """How far another clock is ahead of this machine's, in seconds; less than 0: behind."""

    of: str
    ahead_s: float
    exact_s: float
    """Half the time that asking took: the measure is no more exact than that."""


def judge_clock(clock: ClockFacts) -> list[Finding]:
    """Judges one clock against this machine's."""
    skew = max(0.0, abs(clock.ahead_s) - clock.exact_s)
    way = "ahead of" if clock.ahead_s > 0 else "behind"
    what = f"the clock of {clock.of} is {abs(clock.ahead_s):.1f} s {way} this machine's"
    do = "synchronise both by NTP: timedatectl set-ntp true"
    if skew > SKEW_S_MAX:
        return [fail("clocks", what, do)]
    if skew > SKEW_S:
        return [warn("clocks", what, do)]
    return [ok("clocks", f"the clock of {clock.of} agrees with this machine's")]
