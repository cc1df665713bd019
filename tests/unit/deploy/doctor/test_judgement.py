"""What the doctor concludes from facts that no test can plant on a real server, and its report."""

import json
from collections.abc import Mapping
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from deploy.doctor.database_judgement import (
    BudgetFacts,
    DatabaseFacts,
    RoleFacts,
    SchemaFacts,
    judge_budget,
    judge_database,
    judge_imports,
    judge_migrations,
    judge_role,
    judge_tokens,
)
from deploy.doctor.findings import Finding, Level, as_json, as_text, fail, ok, warn, worst
from deploy.doctor.kafka_judgement import (
    BrokerFacts,
    Reading,
    TopicFacts,
    judge_broker,
    judge_lag,
    judge_topics,
)
from deploy.doctor.process_judgement import (
    ClockFacts,
    ModelFacts,
    ProcessFacts,
    judge_clock,
    judge_model,
    judge_processes,
    judge_unasked,
)
from shared.contracts.topics import ACTIVITY, RAW

NOW = datetime(2026, 3, 1, 12, tzinfo=UTC)
WELL = DatabaseFacts(
    address="db:5432/x",
    version=150_004,
    standby=False,
    fsync=True,
    connections=10,
    connections_max=100,
)
READ = Reading("scoring", "t", 0, 5, 0, 10)


def _only(findings: list[Finding]) -> tuple[Level, str]:
    assert len(findings) == 1
    return findings[0].level, findings[0].what


@pytest.mark.parametrize(
    ("facts", "level", "word"),
    [
        (WELL, Level.OK, "PostgreSQL 15"),
        (replace(WELL, standby=True), Level.FAIL, "standby"),
        (replace(WELL, fsync=False), Level.FAIL, "fsync"),
        (replace(WELL, version=130_002), Level.WARN, "PostgreSQL 13"),
        (replace(WELL, connections=81), Level.WARN, "81 of 100"),
    ],
)
def test_database(facts: DatabaseFacts, level: Level, word: str) -> None:
    """A standby and a server that may lose what it has confirmed are failures."""
    found = _only(judge_database(facts))
    assert (found[0], word in found[1]) == (level, True)


@pytest.mark.parametrize(("fetch", "level"), [(None, 1), (11, 1), (13, 0), (17, 0), (99, 0)])
def test_broker(fetch: int | None, level: int) -> None:
    """A broker that is too old, or does not say, is a warning."""
    assert _only(judge_broker(BrokerFacts("b:9092", 3, fetch)))[0] == level


def test_topics() -> None:
    """Longer retention, larger messages and more partitions are well; one copy of three is not."""
    wide = {**ACTIVITY.settings, "retention.ms": "-1", "max.message.bytes": "99999999"}
    more = TopicFacts(12, 3, wide)
    assert _only(judge_topics([ACTIVITY], {ACTIVITY.name: more}, 3))[0] is Level.OK
    alone = replace(more, copies=1)
    assert "one copy" in _only(judge_topics([ACTIVITY], {ACTIVITY.name: alone}, 3))[1]
    assert _only(judge_topics([ACTIVITY], {ACTIVITY.name: alone}, 1))[0] is Level.OK
    small = replace(more, settings={**wide, "max.message.bytes": "1000000"})
    assert _only(judge_topics([ACTIVITY], {ACTIVITY.name: small}, 3))[0] is Level.FAIL
    found = _only(judge_topics([RAW], {}, 3))
    assert found == (Level.FAIL, f"{RAW.name} does not exist")


@pytest.mark.parametrize(("share", "level"), [(0.1, 0), (0.5, 1), (0.79, 1), (0.8, 2), (2.0, 2)])
def test_lag_against_retention(share: float, level: int) -> None:
    """Half of the retention is a warning, four fifths a failure; without retention, neither."""
    kept = timedelta(days=10)
    one = replace(READ, oldest=kept * share)
    assert _only(judge_lag("scoring", [one], {"t": kept}))[0] == level
    assert _only(judge_lag("scoring", [one], {"t": None}))[0] is Level.OK


def test_a_stopped_partition_names_its_command() -> None:
    """What to do depends on why it stopped: rewind a new log, resume behind a gap."""
    gap = replace(READ, next_offset=2, begin=4, stopped="the log begins at 4")
    lost = replace(READ, next_offset=50, stopped="the log ends at 10")
    other = replace(READ, stopped="record 4 is not the one we consumed")
    found = [judge_lag("scoring", [one], {})[0] for one in (gap, lost, other)]
    assert [each.level for each in found] == [Level.FAIL] * 3
    assert found[0].do == "python -m services.scoring partitions resume 0 --topic t --offset 4"
    assert all(each.do.endswith("partitions resume 0 --topic t") for each in found[1:])
    assert all("Kafka was lost" in each.do for each in found[1:])
    elsewhere = judge_lag("alerts", [replace(gap, service="alerts")], {})[0]
    assert elsewhere.do == "python -m services.alerts partitions resume t 0 --offset 4"


def test_what_nothing_has_read_yet() -> None:
    """A service that has never run, or another group's name."""
    assert _only(judge_lag("alerts", [], {})) == (Level.WARN, "alerts has read nothing yet")


def test_migrations_that_are_behind() -> None:
    """Tables of an older release name the command."""
    found = judge_migrations([SchemaFacts("alerts", "a1", "a2", frozenset({"a1", "a2"}))])
    assert _only(found)[0] is Level.FAIL
    assert found[0].do == "python -m services.alerts migrate"


def test_roles() -> None:
    """A plain role is well; one that makes roles is not."""
    plain = RoleFacts("app", superuser=False, bypasses=False)
    assert _only(judge_role(plain))[0] is Level.OK
    assert _only(judge_role(replace(plain, bypasses=True)))[0] is Level.WARN


def _token(**changes: Any) -> Mapping[str, Any]:
    row = {"id": 1, "name": "n", "scopes": ["tasks:write"], "revoked_at": None}
    return row | {"expires_at": None, "last_used_at": None} | changes


def test_tokens() -> None:
    """A token that expires soon warns, unless it was rotated; a revoked one never does."""
    soon = _token(expires_at=NOW + timedelta(days=3))
    assert _only(judge_tokens("alerts", [soon], NOW))[0] is Level.WARN
    assert _only(judge_tokens("alerts", [soon, _token(id=2)], NOW))[0] is Level.OK
    revoked = _token(id=3, name="x", scopes=["admin"], revoked_at=NOW)
    assert _only(judge_tokens("alerts", [_token(), revoked], NOW))[0] is Level.OK
    unused = _token(id=4, name="y", expires_at=NOW - timedelta(days=1))
    assert _only(judge_tokens("alerts", [_token(), unused], NOW))[0] is Level.OK


def test_an_import_that_brings_records_is_well() -> None:
    """Only one that has brought nothing for an hour rests."""
    running = ("jan", 3, NOW - timedelta(minutes=5))
    assert _only(judge_imports([running], NOW))[0] is Level.OK
    assert _only(judge_imports([("jan", 3, None)], NOW))[0] is Level.WARN


@pytest.mark.parametrize(
    ("warnings", "customers", "wanted", "days", "level"),
    [
        (100, 1_000, 10.0, 60.0, Level.OK),
        (126, 1_000, 10.0, 5.0, Level.WARN),
        (49, 1_000, 10.0, 60.0, Level.WARN),
        (49, 1_000, 10.0, 5.0, Level.OK),  # the month is not over
        (50, 99, 10.0, 60.0, Level.OK),  # too few customers
        (900, 1_000, None, 60.0, Level.OK),
        (0, 0, 10.0, 0.0, Level.OK),
    ],
)
def test_budget(
    warnings: int, customers: int, wanted: float | None, days: float, level: Level
) -> None:
    """Far over and far under the target are warnings, once they are more than chance."""
    assert _only(judge_budget(BudgetFacts(warnings, customers, wanted, days)))[0] is level


READY = ProcessFacts("scoring", "http://a", answered=True, claims="scoring", metrics=True)


def test_who_answers() -> None:
    """Another of our services, one that waits, one with a note, and two builds."""
    assert "alerts answers" in _only(judge_processes([replace(READY, claims="alerts")]))[1]
    waits = replace(READY, missing={"database": "PostgreSQL does not answer"})
    assert _only(judge_processes([waits])) == (
        Level.FAIL,
        "scoring at http://a is not ready: database: PostgreSQL does not answer",
    )
    assert _only(judge_processes([replace(READY, notes={"n": "w"})]))[0] is Level.WARN
    places = [("http://a", "1 a"), ("http://b", "2 b"), ("http://c", "1 a"), ("http://d", None)]
    found = judge_processes([replace(READY, url=url, build=build) for url, build in places])
    assert [each.level for each in found] == [Level.OK] * 4 + [Level.WARN]
    assert found[-1].what == (
        "the processes are of different builds. "
        "1 a: scoring at http://a, scoring at http://c; 2 b: scoring at http://b"
    )


@pytest.mark.parametrize(
    ("hosts", "asked", "found"),
    [
        ([], 1, []),
        (["a"], 1, []),
        (["a"], 2, []),  # two processes on one host
        (["a", "b"], 1, ["scoring runs on 2 hosts (a, b), and 1 process was asked"]),
        (["a", "b", "c"], 2, ["scoring runs on 3 hosts (a, b, c), and 2 processes were asked"]),
    ],
)
def test_a_replica_that_was_not_asked(hosts: list[str], asked: int, found: list[str]) -> None:
    """Its build, its readiness and its model are not known."""
    assert [each.what for each in judge_unasked(hosts, asked)] == found


def test_models_of_processes() -> None:
    """Every process must serve the promoted model; closed metrics say nothing."""
    facts = ModelFacts("m-1", "/srv", None, remote=False, hosts=["a"], processes=[])
    served = replace(facts, processes=[replace(READY, model="m-1")])
    assert _only(judge_model(served))[0] is Level.OK
    behind = replace(READY, url="http://b", model="m-0")
    other = replace(facts, processes=[behind, replace(READY, model="m-1")])
    assert _only(judge_model(other))[0] is Level.FAIL
    closed = replace(facts, processes=[replace(READY, metrics=False)])
    assert _only(judge_model(closed))[0] is Level.WARN
    rules = [replace(READY, model="rule-1"), replace(READY, url="http://b", model="rule-2")]
    assert _only(judge_model(replace(facts, promoted=None, processes=rules)))[0] is Level.FAIL


@given(ahead=st.floats(-1e6, 1e6), exact=st.floats(0, 10))
def test_clocks(ahead: float, exact: float) -> None:
    """Both directions count alike, and never more than the measure is exact."""
    level = _only(judge_clock(ClockFacts("x", ahead, exact)))[0]
    assert level == _only(judge_clock(ClockFacts("x", -ahead, exact)))[0]
    skew = abs(ahead) - exact
    assert level == (Level.FAIL if skew > 60 else Level.WARN if skew > 1 else Level.OK)


@given(st.lists(st.sampled_from([ok("a", "x"), warn("b", "y", "do"), fail("c", "z", "do")])))
def test_the_exit_status_is_the_worst_finding(findings: list[Finding]) -> None:
    """0 without any finding; JSON says the same."""
    levels = [each.level for each in findings]
    assert worst(findings) == max(levels, default=0)
    plain = json.loads(as_json(findings))
    assert plain["status"] == worst(findings).word
    assert len(plain["findings"]) == len(findings)


def test_the_report_keeps_commands_in_one_line_and_shows_control_characters() -> None:
    """A name from outside cannot move the cursor."""
    command = "python -m services.scoring imports end " + "x" * 200
    text = as_text([warn("imports", "long words " * 30 + "\x1b[2J", command)])
    assert command in text
    assert "\x1b" not in text
    assert max(map(len, text.replace(command, "").splitlines())) <= 100
