"""What the handlers of the timers need of the world, beside `ports`: tasks that are due,
schedules, segments, and the subjects of the comparison."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Protocol

from services.alerts.core.effect import Effect, Subject
from services.alerts.core.task import Task
from shared.contracts.changes import CustomerChanged
from shared.contracts.events import Profile
from shared.postgres.engine import UnitOfWork


@dataclass(frozen=True, slots=True)
class CareFor:
    """A customer whom a schedule is about."""

    customer_id: str
    profile: Profile


@dataclass(frozen=True, slots=True)
class Load:
    """An owner's day: tasks allocated today, and tasks that wait for capacity."""

    taken: int
    waiting: int


class Effects(Protocol):
    """The subjects of the comparison, and the save rates that it measures."""

    async def subjects(
        self, work: UnitOfWork, policy: str, begin: datetime | None, end: datetime | None
    ) -> list[Subject]: ...
    async def unmeasured(self, work: UnitOfWork, policy: str) -> int: ...
    async def put_save_rates(
        self, work: UnitOfWork, rates: Mapping[str, tuple[float, Effect]], at: datetime
    ) -> None: ...


class CareRows(Protocol):
    """Which customers a schedule is about."""

    async def born_on(
        self, work: UnitOfWork, days: Sequence[str], grades: Sequence[str], after: str, most: int
    ) -> list[CareFor]: ...
    async def everybody(
        self, work: UnitOfWork, grades: Sequence[str], after: str, most: int
    ) -> list[CareFor]: ...
    async def unvisited(
        self,
        work: UnitOfWork,
        since: datetime,
        cause: str,
        grades: Sequence[str],
        after: str,
        most: int,
    ) -> list[CareFor]: ...
    async def first_entries(
        self, work: UnitOfWork, entries: Sequence[CustomerChanged]
    ) -> set[tuple[str, int]]: ...
    async def new_only(self, work: UnitOfWork, tasks: Sequence[Task]) -> list[Task]: ...
    async def stored(self, work: UnitOfWork, ids: Mapping[str, str]) -> set[str]: ...
    async def with_open_task(
        self, work: UnitOfWork, causes: Sequence[tuple[str, str]]
    ) -> set[tuple[str, str]]: ...
    async def entries(
        self, work: UnitOfWork, left: Sequence[CustomerChanged]
    ) -> set[tuple[str, str, int]]: ...


class DueTasks(Protocol):
    """Which tasks time has something to do with."""

    async def quiet_over(self, work: UnitOfWork, now: datetime, most: int) -> list[str]: ...
    async def unanswered(self, work: UnitOfWork, now: datetime, most: int) -> list[str]: ...
    async def expired(self, work: UnitOfWork, now: datetime, most: int) -> list[str]: ...
    async def waiting_owners(self, work: UnitOfWork, most: int) -> list[str]: ...
    async def loads(self, work: UnitOfWork, since: dict[str, datetime]) -> dict[str, Load]: ...
    async def most_worthwhile(
        self, work: UnitOfWork, owner_id: str, most: int, skip: int = 0
    ) -> list[str]: ...


class Traces(Protocol):
    """What is known of a customer as a person."""

    async def forget_names(self, work: UnitOfWork, customer_id: str) -> None: ...
    async def forget(self, work: UnitOfWork, customer_id: str) -> None: ...
