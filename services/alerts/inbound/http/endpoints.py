"""HTTP routes that create, test, change, pause and delete endpoints; all require `endpoints:write`.

A key is returned only in the response to the request that generated it.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Annotated, Any, Protocol, get_args

from fastapi import Depends, FastAPI, Request, Response
from pydantic import BaseModel, ConfigDict, Field, SecretStr, field_validator

from services.alerts.connectors.core.limits import within
from services.alerts.core.webhook_payload import Kind
from services.alerts.delivery.core.endpoint import (
    ID_PATTERN,
    OVERLAP_HOURS_MAX,
    Endpoint,
    Payload,
    Route,
)
from services.alerts.delivery.core.endpoint import Kind as ConnectorKind
from services.alerts.delivery.send_sample import SendSample
from services.alerts.delivery.store.endpoint_admin import (
    EndpointAdmin,
    FromSettings,
    NoEndpoint,
    Shown,
)
from services.alerts.delivery.store.endpoint_secrets import GeneratedSecret, Scheme
from services.alerts.store.audited import ENDPOINT
from shared.http.access import Tokens, require
from shared.http.declared import audits
from shared.http.fields import Number, Whole
from shared.http.problems import problem
from shared.runtime.clock import Clock

TEXT_LENGTH_MAX = 2_000
"""Most characters of a URL or of a filter value: what common servers accept as a URL."""

FILTERS_MAX = 500
"""Most values of one filter, such as the owners of one region."""

SECRETS_MAX = 10
"""Most secrets of one endpoint: more than any connector has."""

Text = Annotated[str, Field(min_length=1, max_length=TEXT_LENGTH_MAX)]
Filter = Annotated[tuple[Text, ...], Field(max_length=FILTERS_MAX)]


class RouteBody(BaseModel):
    """The filter of the messages that an endpoint receives; an empty list matches all."""

    model_config = ConfigDict(extra="forbid")

    event_types: Filter = ()
    owner_ids: Filter = ()
    queues: Filter = ()
    policies: Filter = ()

    @field_validator("event_types")
    @classmethod
    def _are_known(cls, value: tuple[str, ...]) -> tuple[str, ...]:
        if unknown := sorted(set(value) - set(get_args(Kind))):
            raise ValueError(f"{unknown} not among {sorted(get_args(Kind))}")
        return value


class EndpointDefinition(BaseModel):
    """The definition of an endpoint, without its id, kind and secrets."""

    model_config = ConfigDict(extra="forbid", hide_input_in_errors=True)

    url: Text | None = None
    config: dict[str, Any] = {}
    route: RouteBody = RouteBody()
    payload: Payload = "full"
    concurrency_max: Whole = Field(16, ge=1, le=256)
    rate_per_s: Annotated[Number, Field(gt=0, le=10_000)] | None = None
    burst: Whole = Field(1, ge=1, le=10_000)


class NewEndpoint(EndpointDefinition):
    """An endpoint to create."""

    id: str = Field(pattern=ID_PATTERN)
    kind: ConnectorKind = "webhook"
    scheme: Scheme = "v1"
    """Signature scheme of the key that is generated for a webhook."""
    secrets: dict[str, SecretStr] = Field({}, max_length=SECRETS_MAX)
    """A connector's secrets, issued by the other system. A webhook's key is generated here."""


class Rotation(BaseModel):
    """The replacement of a webhook's key."""

    model_config = ConfigDict(extra="forbid")

    scheme: Scheme = "v1"
    overlap_hours: Number = Field(24, ge=0, le=OVERLAP_HOURS_MAX)


class NewSecret(BaseModel):
    """A secret's value."""

    model_config = ConfigDict(extra="forbid", hide_input_in_errors=True)

    value: SecretStr = Field(min_length=1, max_length=8_000)


class SecretView(BaseModel):
    """A secret without its value."""

    name: str
    created_at: datetime
    expires_at: datetime | None
    public_key: str | None


class EndpointView(BaseModel):
    """An endpoint and its state. Times are UTC."""

    id: str
    source: str
    kind: str
    url: str | None
    config: dict[str, Any]
    route: RouteBody
    payload: str
    concurrency_max: int
    rate_per_s: float | None
    burst: int
    created_at: datetime
    paused_at: datetime | None
    disabled_at: datetime | None
    disabled_reason: str | None
    failing_since: datetime | None
    secrets: list[SecretView]


class EndpointList(BaseModel):
    """Every endpoint."""

    items: list[EndpointView]


class MadeView(BaseModel):
    """An endpoint with a new key, which is shown only once."""

    endpoint: EndpointView
    secret: str | None
    public_key: str | None


class SampleView(BaseModel):
    """The receiver's answer to a sample."""

    result: str
    response_status: int | None
    duration_ms: float
    response_head: str
    error: str | None


class CheckRemote(Protocol):
    """Compares an endpoint with the definitions in the system behind it.

    Raises Invalid, which names what does not fit. `given`: the secrets of a new endpoint; None: the
    stored ones are used.
    """

    async def __call__(
        self, endpoint: Endpoint, given: Mapping[str, str] | None = None
    ) -> None: ...


@dataclass(frozen=True, slots=True)
class Managing:
    """The dependencies of the endpoint routes."""

    admin: EndpointAdmin
    send_sample: SendSample
    check_remote: CheckRemote
    clock: Clock


def add_endpoints(app: FastAPI, tokens: Tokens, managing: Managing) -> None:
    """Add `/v1/endpoints`."""
    rights = [Depends(require(tokens, "endpoints:write"))]

    @app.exception_handler(FromSettings)
    async def _from_settings(_: Request, error: FromSettings) -> Response:
        where = f"{error} is defined in EBBWATCH_ALERTS_ENDPOINTS: change it there"
        return problem(409, "Request refused", where)

    @app.exception_handler(NoEndpoint)
    async def _no_endpoint(_: Request, error: NoEndpoint) -> Response:
        return problem(404, "Request refused", f"no endpoint {str(error)!r}")

    _add_making(app, managing, rights)
    _add_running(app, managing, rights)


def _add_making(app: FastAPI, managing: Managing, rights: list[Any]) -> None:
    admin, clock = managing.admin, managing.clock

    @app.get("/v1/endpoints", dependencies=rights)
    async def list_endpoints() -> EndpointList:
        """List every endpoint, without its secrets."""
        return EndpointList(items=[_view(shown) for shown in await admin.list_all()])

    @app.get("/v1/endpoints/{endpoint_id}", dependencies=rights)
    async def read_endpoint(endpoint_id: str) -> EndpointView:
        """Return one endpoint."""
        return _view(await admin.find(endpoint_id))

    @app.post("/v1/endpoints", dependencies=rights, status_code=201)
    @audits("kept", ENDPOINT)
    async def create_endpoint(body: NewEndpoint) -> MadeView:
        """Create an endpoint. A webhook's key is in this answer and is not shown again."""
        given = {name: value.get_secret_value() for name, value in body.secrets.items()}
        endpoint = _endpoint(body.id, body.kind, body)
        await managing.check_remote(endpoint, given)
        made = await admin.create(endpoint, given, body.scheme, clock.now())
        return _made(await admin.find(body.id), made)

    @app.put("/v1/endpoints/{endpoint_id}", dependencies=rights)
    @audits("kept", ENDPOINT)
    async def change_endpoint(endpoint_id: str, body: EndpointDefinition) -> EndpointView:
        """Replace the definition of an endpoint; its kind and secrets stay."""
        before = await admin.find(endpoint_id)
        endpoint = _endpoint(endpoint_id, before.row["kind"], body)
        await managing.check_remote(endpoint)
        await admin.change(endpoint)
        return _view(await admin.find(endpoint_id))

    @app.post("/v1/endpoints/{endpoint_id}/rotate", dependencies=rights)
    @audits("kept", ENDPOINT)
    async def rotate(endpoint_id: str, body: Rotation) -> MadeView:
        """Generate a new key for a webhook; the old one signs each attempt too for a while."""
        made = await admin.rotate(endpoint_id, body.scheme, body.overlap_hours, clock.now())
        return _made(await admin.find(endpoint_id), made)

    @app.put("/v1/endpoints/{endpoint_id}/secrets/{name}", dependencies=rights)
    @audits("kept", ENDPOINT)
    async def put_secret(endpoint_id: str, name: str, body: NewSecret) -> EndpointView:
        """Replace a connector's secret."""
        value = body.value.get_secret_value()
        await admin.put_secret(endpoint_id, name, value, clock.now())
        return _view(await admin.find(endpoint_id))

    @app.delete("/v1/endpoints/{endpoint_id}", dependencies=rights, status_code=204)
    @audits("kept", ENDPOINT)
    async def delete_endpoint(endpoint_id: str) -> None:
        """Delete an endpoint; deliveries that wait for it count as failed."""
        await admin.delete(endpoint_id, clock.now())


def _add_running(app: FastAPI, managing: Managing, rights: list[Any]) -> None:
    admin, clock = managing.admin, managing.clock

    @app.post("/v1/endpoints/{endpoint_id}/test", dependencies=rights)
    @audits("kept")
    async def send_sample(endpoint_id: str) -> SampleView:
        """Send a sample now and return the answer; nothing is queued or repeated."""
        answer = await managing.send_sample(endpoint_id)
        return SampleView(
            result=answer.result,
            response_status=answer.status,
            duration_ms=answer.duration_ms,
            response_head=answer.head,
            error=answer.error,
        )

    @app.post("/v1/endpoints/{endpoint_id}/pause", dependencies=rights)
    @audits("kept", ENDPOINT)
    async def pause(endpoint_id: str) -> EndpointView:
        """Pause an endpoint: new deliveries wait."""
        await admin.pause(endpoint_id, clock.now())
        return _view(await admin.find(endpoint_id))

    @app.post("/v1/endpoints/{endpoint_id}/enable", dependencies=rights)
    @audits("kept", ENDPOINT)
    async def enable(endpoint_id: str) -> EndpointView:
        """Enable an endpoint after a pause or after the sender had switched it off."""
        await admin.enable(endpoint_id)
        return _view(await admin.find(endpoint_id))


def _endpoint(endpoint_id: str, kind: ConnectorKind, body: EndpointDefinition) -> Endpoint:
    return within(
        Endpoint(
            id=endpoint_id,
            kind=kind,
            url=body.url,
            config=body.config,
            route=Route(**body.route.model_dump()),
            payload=body.payload,
            concurrency_max=body.concurrency_max,
            rate_per_s=body.rate_per_s,
            burst=body.burst,
        )
    )


def _view(shown: Shown) -> EndpointView:
    return EndpointView.model_validate({**shown.row, "secrets": list(shown.secrets)})


def _made(shown: Shown, made: GeneratedSecret | None) -> MadeView:
    return MadeView(
        endpoint=_view(shown),
        secret=made.secret if made else None,
        public_key=made.public_key if made else None,
    )
