"""Judges what was found in PostgreSQL: facts in, findings out. No input or output."""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, Final

from deploy.doctor.findings import Finding, fail, ok, warn

TESTED_MAJOR: Final = 15
"""The oldest major version of PostgreSQL that the tests run on."""
CONNECTIONS_SHARE: Final = 0.8
"""Share of PostgreSQL's connections in use from which one more process may find none."""
EXPIRES_SOON: Final = timedelta(days=14)
"""Two weeks: enough to inform the holder of the token."""
USED_LATELY: Final = timedelta(days=7)
"""A token that was used within a week before it expired is probably refused now."""
IMPORT_RESTS: Final = timedelta(hours=1)
"""An import without a record for so long has probably ended without its marker."""
BUDGET_DAYS: Final = 30
"""The month of the budget, "per 100 customers and 30 days"."""
OVER: Final = 1.25
"""Warnings over the budget that are more than chance; its level was found on other months."""
UNDER: Final = 0.5
CUSTOMERS_MIN: Final = 100
"""Below so many customers the number of warnings is mostly chance."""

SCOPES: Final = {"ingest": "events:write", "scoring": "customers:read", "alerts": "tasks:write"}
"""The scope that a service's first token usually has."""

Row = Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class DatabaseFacts:
    """A server that answered."""

    address: str
    """Host, port and database; never the password."""
    version: int
    """As `server_version_num`: 150004 is 15.4."""
    standby: bool
    fsync: bool
    connections: int
    connections_max: int


def judge_database(facts: DatabaseFacts) -> list[Finding]:
    """Judges a server that answers."""
    major = facts.version // 10_000
    findings = []
    if facts.standby:
        findings.append(
            fail("database", f"{facts.address} is a standby: nothing can be written", "name the "
                 "primary in DATABASE_URL")
        )  # fmt: skip
    if not facts.fsync:
        findings.append(
            fail("database", "fsync is off: a power failure can damage every table",
                 "set fsync = on in postgresql.conf")
        )  # fmt: skip
    if major < TESTED_MAJOR:
        do = f"upgrade to PostgreSQL {TESTED_MAJOR} or newer, on which everything is tested"
        findings.append(warn("database", f"PostgreSQL {major} is older than any tested", do))
    if facts.connections > CONNECTIONS_SHARE * facts.connections_max:
        what = f"{facts.connections} of {facts.connections_max} connections are in use"
        findings.append(warn("database", what, "raise max_connections, or end idle programs"))
    used = f"{facts.connections} of {facts.connections_max} connections in use"
    answers = f"PostgreSQL {major} answers at {facts.address}: {used}"
    return findings or [ok("database", answers)]


@dataclass(frozen=True, slots=True)
class SchemaFacts:
    """A service's tables, and the newest revision that this release has."""

    service: str
    stored: str | None
    """None: the service has no tables."""
    head: str
    known: frozenset[str]
    """Every revision of this release."""


def judge_migrations(schemas: Sequence[SchemaFacts]) -> list[Finding]:
    """Judges whether each service's tables are those of this release."""
    findings = []
    for one in schemas:
        do = f"python -m services.{one.service} migrate"
        if one.stored is None:
            findings.append(fail("migrations", f"{one.service} has no tables", do))
        elif one.stored not in one.known:
            what = (
                f"{one.service}'s tables are at revision {one.stored}, which this release does not "
                "know: a newer one made them, or one from before the baseline"
            )
            do = "run the release that made them, or restore a backup from before it"
            findings.append(fail("migrations", what, do))
        elif one.stored != one.head:
            what = f"{one.service}'s tables are at {one.stored}, this release needs {one.head}"
            findings.append(fail("migrations", what, do))
    heads = ", ".join(f"{one.service} {one.head}" for one in schemas)
    return findings or [ok("migrations", f"every service's tables are at its newest: {heads}")]


@dataclass(frozen=True, slots=True)
class RoleFacts:
    """The role as which the services connect."""

    name: str
    superuser: bool
    bypasses: bool
    """Whether it passes row security or may make roles."""


def judge_role(role: RoleFacts) -> list[Finding]:
    """Judges whether the services connect with more rights than they need."""
    do = (
        "psql -c \"CREATE ROLE ebbwatch LOGIN PASSWORD '…'\" "
        '-c "GRANT CREATE ON DATABASE ebbwatch TO ebbwatch", and name it in DATABASE_URL'
    )
    if role.superuser:
        what = (
            f"the services connect as {role.name}, a superuser: a fault in one could read and "
            "change everything on the server"
        )
        return [warn("roles", what, do)]
    if role.bypasses:
        what = f"the role {role.name} may make roles or pass row security, which nothing here needs"
        return [warn("roles", what, f"psql -c 'ALTER ROLE {role.name} NOCREATEROLE NOBYPASSRLS'")]
    return [ok("roles", f"the services connect as {role.name}, which is no superuser")]


def judge_tokens(service: str, rows: Sequence[Row], now: datetime) -> list[Finding]:
    """Judges a service's tokens, rows as `Tokens.list_all` returns them; `now`: UTC."""
    command = f"python -m services.{service} tokens"
    valid = [row for row in rows if row["revoked_at"] is None and not _expired(row, now)]
    findings = []
    if not valid:
        what = f"{service} has no valid token: nobody can use its API"
        do = f"{command} create --name NAME --scope {SCOPES[service]} --days 365"
        findings.append(warn("tokens", what, do))
    names = {row["name"] for row in valid}
    for row in rows:
        if row["revoked_at"] is not None:
            continue
        called = f"{service}'s token {row['id']} ({row['name']})"
        if _expired(row, now):
            used = row["last_used_at"]
            if row["name"] not in names and used and row["expires_at"] - used < USED_LATELY:
                what = f"{called} expired {row['expires_at']:%F} and was in use until then"
                scope = " --scope ".join(row["scopes"])
                do = f"{command} create --name {row['name']} --scope {scope} --days 365"
                findings.append(warn("tokens", what, do))
        elif row["expires_at"] is None and "admin" in row["scopes"]:
            what = f"{called} may do everything and never expires"
            do = f"{command} revoke {row['id']}, and create one with --days and fewer scopes"
            findings.append(warn("tokens", what, do))
        elif row["expires_at"] is not None and row["expires_at"] - now < EXPIRES_SOON:
            what = f"{called} expires {row['expires_at']:%F}"
            if not _replaced(row, valid):
                findings.append(warn("tokens", what, f"{command} rotate {row['id']}"))
    return findings or [ok("tokens", f"{service}: {len(valid)} valid")]


def _expired(row: Row, now: datetime) -> bool:
    return row["expires_at"] is not None and row["expires_at"] <= now


def _replaced(row: Row, valid: Sequence[Row]) -> bool:
    """Returns whether a younger token of the same name is there: it was rotated."""
    return any(one["name"] == row["name"] and one["id"] > row["id"] for one in valid)


def judge_endpoints(rows: Sequence[Row], keys: Collection[str], now: datetime) -> list[Finding]:
    """Judges where tasks are sent.

    `rows`: id, disabled_at, disabled_reason, paused_at, failing_since, waiting (deliveries) and
    sealed_with (ids of keys) of each endpoint that is not deleted; `keys`: ids of the keys in the
    settings; `now`: UTC.
    """
    if not rows:
        return [
            warn("endpoints", "there is none: no task leaves Ebbwatch",
                 "python -m services.alerts endpoints create ID --url https://…")
        ]  # fmt: skip
    found = [each for row in rows if (each := _endpoint(row, keys, now)) is not None]
    return found or [ok("endpoints", f"{len(rows)} on, none failing")]


def _endpoint(row: Row, keys: Collection[str], now: datetime) -> Finding | None:
    name, enable = row["id"], f"python -m services.alerts endpoints enable {row['id']}"
    waits = f"{row['waiting']:,} messages wait for it"
    if row["disabled_at"] is not None:
        why = f"{name} was switched off {row['disabled_at']:%F %R}Z: {row['disabled_reason']}"
        return fail("endpoints", f"{why}; {waits}", f"mend the receiver, then {enable}")
    if missing := sorted(set(row["sealed_with"]) - set(keys)):
        what = f"{name} cannot be used: its secrets are sealed with the key {missing[0]}, which is"
        do = "put that key into EBBWATCH_ALERTS_SECRET_KEYS of alerts, behind the others"
        return fail("endpoints", f"{what} not in the settings; {waits}", do)
    if row["paused_at"] is not None:
        return warn(
            "endpoints", f"{name} is paused since {row['paused_at']:%F %R}Z; {waits}", enable
        )
    if row["failing_since"] is not None:
        hours = (now - row["failing_since"]).total_seconds() / 3600
        what = f"{name} has taken nothing for {hours:.1f} hours; {waits}"
        return warn("endpoints", what, "python -m services.alerts deliveries list")
    return None


def judge_imports(
    found: Sequence[tuple[str, int, datetime | None]], now: datetime
) -> list[Finding]:
    """Judges imports under way, given as name, partitions that rest, and newest arrival; UTC."""
    findings = []
    for name, partitions, newest in found:
        age = None if newest is None else now - newest
        if age is not None and age < IMPORT_RESTS:
            findings.append(ok("imports", f"{name!r} is under way in {partitions} partitions"))
            continue
        since = "" if newest is None else f" since {newest:%F %R}Z"
        what = (
            f"{name!r} has brought nothing{since} and was not ended: the customers of {partitions} "
            "partitions are not assessed for silence"
        )
        findings.append(warn("imports", what, f"python -m services.scoring imports end {name!r}"))
    return findings or [ok("imports", "none is under way")]


@dataclass(frozen=True, slots=True)
class BudgetFacts:
    """Warnings of the last `BUDGET_DAYS` days of business time."""

    warnings: int
    customers: int
    wanted: float | None
    """The policy's target, per 100 customers and 30 days; None: there is none."""
    days: float
    """Days since the first warning; the whole month has to be known for a verdict."""


def judge_budget(facts: BudgetFacts) -> list[Finding]:
    """Judges the number of warnings against the policy's target."""
    if facts.customers == 0:
        return [ok("budget", "no customer is known yet")]
    rate = 100 * facts.warnings / facts.customers
    what = (
        f"{facts.warnings:,} warnings of {facts.customers:,} customers in {BUDGET_DAYS} days: "
        f"{rate:.1f} per 100"
    )
    tune = "python -m services.alerts policies tune --warnings-per-100"
    if facts.wanted is None:
        return [ok("budget", f"{what}; the policy has no budget")]
    what += f", and the budget is {facts.wanted:g}"
    known = facts.days >= BUDGET_DAYS and facts.customers >= CUSTOMERS_MIN
    if rate > OVER * facts.wanted and facts.customers >= CUSTOMERS_MIN:
        return [warn("budget", what, f"{tune} {facts.wanted:g}, which finds the level anew")]
    if rate < UNDER * facts.wanted and known:
        do = f"see that events arrive, then {tune} {facts.wanted:g}"
        return [warn("budget", what, do)]
    return [ok("budget", what)]
