"""HTTP routes of the policy and of owners' records.

Reading requires a token with `customers:read` or `policy:write`, changing one with `policy:write`.
"""

from datetime import datetime, timedelta
from typing import Annotated, Any, Final

import msgspec
from fastapi import Body, Depends, FastAPI, HTTPException, Path, Query
from pydantic import BaseModel, ConfigDict, Field

from services.alerts.core.dry_run import DryRunResult
from services.alerts.core.owner import OwnerRecord
from services.alerts.core.policy_document import difference, plain
from services.alerts.handlers.dry_run_policy import CUSTOMERS_MAX
from services.alerts.inbound.http.dependencies import Parts
from services.alerts.inbound.policy_document import read_document
from services.alerts.store.audited import OWNER, POLICY
from services.alerts.store.policies import Version
from shared.contracts.events import ID_LENGTH_MAX
from shared.http.access import require
from shared.http.declared import audits
from shared.http.fields import Instant, Whole, ZoneName
from shared.http.paging import Cursor, Limit, decoded, page_of, whole
from shared.postgres.engine import unit_of_work

VERSION_MAX = 2**31 - 1
OwnerId = Annotated[str, Path(min_length=1, max_length=ID_LENGTH_MAX)]
"""Any owner id that events may contain, also one with slashes."""
DRY_RUN_DAYS = 90
DRY_RUN: Final = "/v1/policy/dry-run"


class PolicyView(BaseModel):
    """A version of the policy, and who changed what."""

    version: int
    actor: str
    note: str | None
    created_at: datetime
    diff: str
    """Unified diff against the version before."""
    document: dict[str, Any]


class PolicyPage(BaseModel):
    """Versions, newest first."""

    items: list[PolicyView]
    next: str | None


class WarnedView(BaseModel):
    """A customer who would have been warned about."""

    customer_id: str
    at: datetime
    cause: str
    value_at_risk: float


class TriedView(BaseModel):
    """What a policy would have done."""

    customers: int
    assessments: int
    raised: int
    joined: int
    """Causes that joined an open task."""
    held_out: int
    why: dict[str, int]
    """Assessments by the row of the decision table that applied."""
    by_band: dict[str, int]
    by_cause: dict[str, int]
    by_grade: dict[str, int]
    by_playbook: dict[str, int]
    by_queue: dict[str, int]
    judged: int
    """Tasks that can be judged: the rest of the customer's lapse length is over."""
    precision: float | None
    """Share of the judged tasks after which the customer bought nothing in that rest; the next two
    fields are its 95 % interval."""
    precision_low: float
    precision_high: float
    most_at_risk: list[WarnedView]


class DryRunView(BaseModel):
    """A policy compared with the one in force, on the same customers."""

    begin: datetime
    end: datetime
    this: TriedView
    in_force: TriedView
    diff: str


class OwnerBody(BaseModel):
    """An owner's record. A field that is left out is unlimited or absent."""

    model_config = ConfigDict(extra="forbid")

    name: str | None = Field(None, max_length=200)
    time_zone: ZoneName | None = None
    capacity_per_day: Annotated[Whole, Field(ge=0, le=10_000)] | None = None
    manager_id: str | None = Field(None, min_length=1, max_length=ID_LENGTH_MAX)
    fallback_id: str | None = Field(None, min_length=1, max_length=ID_LENGTH_MAX)


class OwnerView(OwnerBody):
    """An owner's record."""

    id: str


class OwnerPage(BaseModel):
    """Owners by id."""

    items: list[OwnerView]
    next: str | None


def add_policies(app: FastAPI, parts: Parts) -> None:
    """Add `/v1/policy`."""
    reads = [Depends(require(parts.tokens, "customers:read", "policy:write"))]
    writer = require(parts.tokens, "policy:write")

    @app.get("/v1/policy", dependencies=reads, tags=["policy"])
    async def read_policy() -> PolicyView:
        """Return the policy in force."""
        async with unit_of_work(parts.engine) as work:
            newest = await parts.policies.versions(work, None, 1)
        if not newest:
            raise HTTPException(404, "no policy is stored yet: the service stores one at its start")
        return _view(newest[0])

    @app.get("/v1/policy/versions", dependencies=reads, tags=["policy"])
    async def list_versions(cursor: Cursor = None, limit: Limit = 50) -> PolicyPage:
        """List the versions with who changed what, newest first."""
        before = None if cursor is None else whole(decoded(cursor))
        async with unit_of_work(parts.engine) as work:
            found = await parts.policies.versions(work, before, limit + 1)
        page, after = page_of(found, limit, lambda each: each.version)
        return PolicyPage(items=[_view(each) for each in page], next=after)

    @app.put("/v1/policy", tags=["policy"])
    @audits("kept", POLICY)
    async def put_policy(
        document: Annotated[dict[str, Any], Body()],
        actor: Annotated[str, Depends(writer)],
        expected: Annotated[int | None, Query(ge=0, le=VERSION_MAX)] = None,
        note: Annotated[str | None, Query(max_length=1_000)] = None,
    ) -> PolicyView:
        """Store a new version, which applies from the next assessment on.

        An unchanged document makes no new version. `expected`: the version that was changed;
        refused when it is not the newest any more.
        """
        policy = read_document(document)
        async with unit_of_work(parts.engine) as work:
            made = await parts.policies.put(
                work, policy, actor, parts.clock.now(), note=note, expected=expected
            )
        return _view(made)


def add_owners(app: FastAPI, parts: Parts) -> None:
    """Add `/v1/owners`."""
    reads = [Depends(require(parts.tokens, "customers:read", "policy:write"))]
    writer = require(parts.tokens, "policy:write")

    @app.get("/v1/owners", dependencies=reads, tags=["owners"])
    async def list_owners(cursor: Cursor = None, limit: Limit = 50) -> OwnerPage:
        """List owners' records by id."""
        after = None if cursor is None else decoded(cursor)
        async with unit_of_work(parts.engine) as work:
            found = await parts.policies.owners_page(work, after, limit + 1)
        page, after = page_of(found, limit, lambda each: each.id)
        items = [OwnerView(**msgspec.structs.asdict(each)) for each in page]
        return OwnerPage(items=items, next=after)

    @app.put("/v1/owners/{owner_id:path}", tags=["owners"])
    @audits("personal", OWNER)
    async def put_owner(
        owner_id: OwnerId, body: OwnerBody, actor: Annotated[str, Depends(writer)]
    ) -> OwnerView:
        """Store an owner's record; it replaces an earlier one."""
        record = OwnerRecord(id=owner_id, **body.model_dump())
        async with unit_of_work(parts.engine) as work:
            await parts.policies.put_owner(work, record, actor, parts.clock.now())
        return OwnerView(id=owner_id, **body.model_dump())


def add_dry_run(app: FastAPI, parts: Parts) -> None:
    """Add `/v1/policy/dry-run`."""
    reads = [Depends(require(parts.tokens, "customers:read"))]

    @app.post(DRY_RUN, dependencies=reads, tags=["policy"])
    @audits("reads")
    async def dry_run(
        document: Annotated[dict[str, Any], Body()],
        begin: Instant | None = None,
        end: Instant | None = None,
        customers: Annotated[int, Query(ge=1, le=CUSTOMERS_MAX)] = 5_000,
    ) -> DryRunView:
        """Return what a policy would have raised on the stored assessments.

        The same is returned for the policy in force. The default period is the last 90 days; no
        task is raised.
        """
        policy = read_document(document)
        async with unit_of_work(parts.engine) as work:
            _, current = await parts.policies.current(work)
            now = await parts.business_clock.now(work)
        until = end or now
        since = begin or until - timedelta(days=DRY_RUN_DAYS)
        tried, ours = await parts.try_policy([policy, current], since, until, customers)
        return DryRunView(
            begin=since, end=until, this=_dry_run_view(tried), in_force=_dry_run_view(ours),
            diff="\n".join(difference(current, policy)),
        )  # fmt: skip


def _dry_run_view(tried: DryRunResult) -> TriedView:
    return TriedView.model_validate(tried, from_attributes=True)


def _view(version: Version) -> PolicyView:
    return PolicyView(
        version=version.version,
        actor=version.actor,
        note=version.note,
        created_at=version.created_at,
        diff=version.diff,
        document=plain(version.policy),
    )
