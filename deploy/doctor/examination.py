"""Carries out checks at once, each within its own time, so that none hides another's findings."""

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from typing import Final

import asyncpg
import structlog

from deploy.doctor import database_facts, kafka_facts
from deploy.doctor.findings import Finding, fail, warn

LIMIT_S: Final = 20.0
"""How long one check may take: several requests, each with a shorter limit of its own."""

BROKER: Final = "the broker"
DATABASE: Final = "PostgreSQL"

log = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True)
class Check:
    """A check: what it needs, and the work that gathers facts and judges them."""

    name: str
    look: Callable[[], Awaitable[list[Finding]]]
    needs: tuple[str, ...] = ()


async def examined(first: Sequence[Check], others: Sequence[Check]) -> list[Finding]:
    """Returns the findings in the order of the checks.

    `first`: whether broker and database answer, named by what they need. Where one does not, the
    others that need it are reported as not checked, at once.
    """
    begun = await asyncio.gather(*(_carried_out(check) for check in first))
    gone = {
        need
        for check, (answered, _) in zip(first, begun, strict=True)
        for need in check.needs
        if not answered
    }
    rest = await asyncio.gather(*(_if_possible(check, gone) for check in others))
    found = [findings for _, findings in begun] + list(rest)
    # Once: a check that is made for each service has the same reason not to be made.
    return list(dict.fromkeys(each for findings in found for each in findings))


async def _if_possible(check: Check, gone: set[str]) -> list[Finding]:
    missing = [need for need in check.needs if need in gone]
    if missing:
        what = f"not checked, because {' and '.join(missing)} cannot be reached"
        return [warn(check.name, what, "mend that, then run the doctor again")]
    return (await _carried_out(check))[1]


async def _carried_out(check: Check) -> tuple[bool, list[Finding]]:
    """Returns whether the check could be made, and its findings."""
    try:
        async with asyncio.timeout(LIMIT_S):
            return True, await check.look()
    except asyncpg.PostgresError as error:
        return False, [_refused(check, error)]
    except TimeoutError:
        why = f"no answer within {LIMIT_S:.0f} s"
    except (*kafka_facts.UNREACHABLE, *database_facts.UNREACHABLE) as error:
        # By its kind only: the text of some names the address with its password.
        why = f"no answer: {type(error).__name__}"
    except Exception as error:
        # A fault of ours must not hide the other findings either.
        log.exception("check failed", check=check.name)
        why = f"this check failed by a fault of its own: {type(error).__name__}"
    return False, [fail(check.name, f"{why}{_of(check)}", _remedy(check))]


def _of(check: Check) -> str:
    return f" ({', '.join(check.needs)})" if check.needs else ""


def _refused(check: Check, error: asyncpg.PostgresError) -> Finding:
    missing = (asyncpg.UndefinedTableError, asyncpg.UndefinedColumnError)
    if isinstance(error, (*missing, asyncpg.InvalidSchemaNameError)):
        what = "not checked, because tables are missing or of another release"
        return warn(check.name, what, "see the finding on migrations")
    if isinstance(error, asyncpg.InsufficientPrivilegeError):
        what = f"not checked, because PostgreSQL refuses: {error}"
        return warn(check.name, what, "run the doctor with the services' DATABASE_URL")
    return fail(check.name, f"PostgreSQL refuses: {error}", _remedy(check))


def _remedy(check: Check) -> str:
    if check.needs == (BROKER,):
        return "start the broker, or set KAFKA_BOOTSTRAP_SERVERS and KAFKA_* (README.md)"
    if check.needs == (DATABASE,):
        return "start PostgreSQL, or set DATABASE_URL (README.md)"
    return "run the doctor again; if it stays, report it with the log above"
