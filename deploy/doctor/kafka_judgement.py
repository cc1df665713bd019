"""Judges what was found at the broker: facts in, findings out. No input or output."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import timedelta
from typing import Final

from deploy.doctor.findings import Finding, fail, ok, warn
from shared.contracts.topics import Topic

FETCH: Final = 1
"""Kafka's number of the request that reads records; its newest version tells a broker's age."""
RELEASES: Final = ((11, "2.3"), (12, "2.7"), (13, "3.1"), (15, "3.5"), (16, "3.7"), (17, "3.9"))
"""Newest version of that request, and the first release of Apache Kafka with it."""
TESTED_FETCH: Final = 13
"""Brokers before it are older than any that we know to work."""

LATE_SHARE: Final = 0.5
"""Share of a topic's retention at which a reader's lag is a warning: half the time is left."""
LOST_SHARE: Final = 0.8
"""Share at which it is a failure: the rest is a night, of a week's retention."""

TOPICS: Final = "python -m deploy.local topics"
KAFKA_LOST: Final = "docs/operations.md, 'Kafka was lost', says which; then "


@dataclass(frozen=True, slots=True)
class BrokerFacts:
    """A broker that answered."""

    address: str
    brokers: int
    fetch_version: int | None
    """Newest version of the request that reads records; None where it was not given."""


def judge_broker(facts: BrokerFacts) -> list[Finding]:
    """Judges a broker that answers."""
    known = [name for version, name in RELEASES if version <= (facts.fetch_version or 0)]
    release = f"Kafka {known[-1]} or newer" if known else "a broker of unknown age"
    many = "1 broker" if facts.brokers == 1 else f"{facts.brokers} brokers"
    what = f"{release} answers at {facts.address}: {many}"
    if (facts.fetch_version or 0) < TESTED_FETCH:
        return [warn("broker", what, "use Apache Kafka 4, with which everything is tested")]
    return [ok("broker", what)]


@dataclass(frozen=True, slots=True)
class TopicFacts:
    """A topic as it is on the broker."""

    partitions: int
    copies: int
    settings: Mapping[str, str]


def judge_topics(
    wanted: Sequence[Topic], found: Mapping[str, TopicFacts], brokers: int
) -> list[Finding]:
    """Judges each topic that the services use against its contract, by the name in use."""
    findings = [each for topic in wanted for each in _topic(topic, found.get(topic.name), brokers)]
    return findings or [ok("topics", f"all {len(wanted)} exist and are set as the services need")]


def _topic(wanted: Topic, found: TopicFacts | None, brokers: int) -> list[Finding]:
    name = wanted.name
    if found is None:
        return [fail("topics", f"{name} does not exist", TOPICS)]
    findings = []
    if found.partitions < wanted.partitions:
        findings.append(
            warn(
                "topics",
                f"{name} has {found.partitions} partitions instead of {wanted.partitions}: so many "
                "processes at most share its work",
                "add partitions with Kafka's own tools; the services take them by themselves",
            )
        )
    if found.copies == 1 and brokers > 1:
        findings.append(
            warn(
                "topics",
                f"{name} has one copy although there are {brokers} brokers: one disk can lose it",
                "raise its replication factor with kafka-reassign-partitions",
            )
        )
    return [*findings, *_settings(wanted, found.settings)]


def _settings(topic: Topic, found: Mapping[str, str]) -> list[Finding]:
    findings = []
    for name, value in _effective(topic).items():
        has = found.get(name)
        if has is None or has == value or _enough(name, has, value):
            continue
        harm = _HARM.get((name, value), _HARM.get((name, ""), ""))
        what = f"{topic.name} has {name}={has} instead of {value}: {harm}"
        make = warn if name in _WARNED else fail
        findings.append(make("topics", what, _alter(topic.name, name, value)))
    return findings


_WARNED: Final = frozenset({"retention.ms", "message.timestamp.type"})
_HARM: Final = {
    ("cleanup.policy", "compact"): "what a new reader needs of each customer would be deleted",
    ("cleanup.policy", "delete"): "records of a customer that were not read yet may disappear",
    ("retention.ms", ""): "the services may stand still for a shorter time only",
    ("max.message.bytes", ""): "a large event would be refused instead of parked with its reason",
    ("message.timestamp.type", ""): "latency is not measured from the arrival, and records with "
    "old times are dropped at once",
}


def _effective(topic: Topic) -> dict[str, str]:
    return {"cleanup.policy": "delete", **topic.settings}


def _enough(name: str, has: str, value: str) -> bool:
    if name not in {"retention.ms", "max.message.bytes"}:
        return False
    number = int(has)
    return number >= int(value) or (name == "retention.ms" and number < 0)


def _alter(topic: str, name: str, value: str) -> str:
    return (
        "kafka-configs.sh --bootstrap-server … --alter --entity-type topics "
        f"--entity-name {topic} --add-config {name}={value}"
    )


@dataclass(frozen=True, slots=True)
class Reading:
    """How far a service has read one partition."""

    service: str
    topic: str
    partition: int
    next_offset: int | None
    """None: nothing was read yet."""
    begin: int
    end: int
    """Offsets of the log's first record and behind its last; both 0 where it has no such
    partition."""
    oldest: timedelta | None = None
    """Age of the first unread record; None where nothing waits, or it could not be read."""
    stopped: str | None = None
    """Why the partition stopped; None while it does not."""
    compacted: bool = False

    @property
    def place(self) -> str:
        """The partition's name."""
        return f"{self.topic}/{self.partition}"

    @property
    def behind(self) -> int:
        """Records to read, markers of transactions included."""
        return max(0, self.end - max(self.next_offset or 0, self.begin))

    def resume(self, offset: int | None) -> str:
        """The command that lets it go on at an offset; None: at the start of the log."""
        at = "" if offset is None else f" --offset {offset}"
        which = (
            f"{self.partition} --topic {self.topic}"
            if self.service == "scoring"
            else f"{self.topic} {self.partition}"
        )
        return f"python -m services.{self.service} partitions resume {which}{at}"


def judge_lag(
    service: str, readings: Sequence[Reading], retention: Mapping[str, timedelta | None]
) -> list[Finding]:
    """Judges a service's distance from the logs' ends against the topics' retention."""
    if not readings:
        do = f"python -m services.{service} run"
        return [warn("lag", f"{service} has read nothing yet", do)]
    findings = [each for reading in readings if (each := _partition(reading)) is not None]
    by_topic: dict[str, list[Reading]] = {}
    for one in readings:
        by_topic.setdefault(one.topic, []).append(one)
    late = (_late(some, retention.get(topic)) for topic, some in by_topic.items())
    findings += [each for each in late if each is not None]
    if not findings:
        waiting = sum(one.behind for one in readings)
        names = ", ".join(sorted(by_topic))
        what = f"{service} reads {len(readings)} partitions of {names}: {waiting:,} records wait"
        return [ok("lag", what)]
    return findings


def _partition(one: Reading) -> Finding | None:
    """Returns what is wrong with one partition; None where it can be read on."""
    why = f"{one.service} stopped reading {one.place}: {one.stopped}"
    if one.next_offset is not None and one.next_offset > one.end:
        what = (
            why
            if one.stopped
            else f"{one.place} ends at {one.end}, before offset {one.next_offset} that "
            f"{one.service} has reached: the log was lost or made anew"
        )
        return fail("lag", what, KAFKA_LOST + one.resume(None))
    if one.next_offset is not None and one.next_offset < one.begin and not one.compacted:
        lost = one.begin - one.next_offset
        what = f"{lost:,} records of {one.place} were deleted before {one.service} read them"
        return fail("lag", why if one.stopped else what, one.resume(one.begin))
    if one.stopped:
        # Neither end is passed: the last record differs, so it is another log.
        return fail("lag", why, KAFKA_LOST + one.resume(None))
    return None


def _late(some: Sequence[Reading], retention: timedelta | None) -> Finding | None:
    known = [one for one in some if one.oldest is not None]
    if retention is None or not known:
        return None
    worst = max(known, key=lambda one: one.oldest or timedelta())
    age = worst.oldest or timedelta()
    share = age / retention
    if share < LATE_SHARE:
        return None
    what = (
        f"{worst.service} is {_span(age)} behind in {worst.place} ({worst.behind:,} records), and "
        f"the broker deletes records after {_span(retention)}"
    )
    do = "start more processes of it, see /readyz of those that run, or raise retention.ms"
    return (fail if share >= LOST_SHARE else warn)("lag", what, do)


def _span(time: timedelta) -> str:
    """Returns a time as people write it.

    >>> _span(timedelta(hours=50)), _span(timedelta(minutes=90)), _span(timedelta(seconds=4))
    ('2.1 days', '1.5 hours', '4 seconds')
    """
    for unit, length in (("days", 86_400), ("hours", 3_600), ("minutes", 60)):
        if time.total_seconds() >= length:
            return f"{time.total_seconds() / length:.1f} {unit}"
    return f"{time.total_seconds():.0f} seconds"
