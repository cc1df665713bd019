"""Alerts' settings, read from `EBBWATCH_ALERTS_*`."""

import json
from pathlib import Path
from typing import Annotated, Literal, Self

from pydantic import (
    BaseModel,
    ConfigDict,
    Field,
    FilePath,
    HttpUrl,
    SecretStr,
    field_validator,
    model_validator,
)
from pydantic_settings import NoDecode, SettingsConfigDict

from services.alerts.delivery.core.blocked_networks import Network
from services.alerts.delivery.core.encryption_key import key_of as aes_key
from services.alerts.delivery.core.endpoint import (
    ID_PATTERN,
    Endpoint,
    Payload,
    Route,
)
from services.alerts.delivery.core.retry import DELAYS_S
from services.alerts.delivery.core.signature import check
from shared.contracts import topics
from shared.kernel.errors import Invalid
from shared.runtime.settings import HttpSettings

POLICY_FILE = Path(__file__).parent / "policies" / "default.yaml"

SECRETS_MAX = 11
"""The current secret and at most ten old ones that are being replaced."""

LEASE_MARGIN_S = 2.0
"""Longest time from the end of an attempt to the commit that records it."""


class EndpointSettings(BaseModel):
    """An endpoint that tasks are sent to. Its secrets are never stored in the database."""

    model_config = ConfigDict(frozen=True, extra="forbid", hide_input_in_errors=True)

    id: str = Field(pattern=ID_PATTERN)
    """Name of the endpoint in the log, in metrics and for operators. Keep it if the URL changes."""
    url: HttpUrl
    secrets: tuple[SecretStr, ...] = Field(min_length=1, max_length=SECRETS_MAX)
    """`whsec_...` or `whsk_...`; several while one replaces another: each attempt is signed
    with all of them."""
    event_types: tuple[str, ...] = ()
    owner_ids: tuple[str, ...] = ()
    payload: Payload = "full"
    concurrency_max: int = Field(16, ge=1, le=256)
    rate_per_s: float | None = Field(None, gt=0)
    burst: int = Field(1, ge=1)

    def endpoint(self) -> Endpoint:
        """Return the endpoint, without its secrets."""
        return Endpoint(
            id=self.id,
            url=str(self.url),
            route=Route(event_types=self.event_types, owner_ids=self.owner_ids),
            payload=self.payload,
            concurrency_max=self.concurrency_max,
            rate_per_s=self.rate_per_s,
            burst=self.burst,
        )

    @field_validator("secrets")
    @classmethod
    def _are_keys(cls, secrets: tuple[SecretStr, ...]) -> tuple[SecretStr, ...]:
        for secret in secrets:
            try:
                check(secret.get_secret_value())
            except Invalid as wrong:
                raise ValueError(wrong.reason) from None
        return secrets


class AlertsSettings(HttpSettings):
    """The settings that differ between deployments."""

    model_config = SettingsConfigDict(env_prefix="EBBWATCH_ALERTS_")

    port: int = 8083
    risk_topic: str = topics.RISK.name
    activity_topic: str = topics.ACTIVITY.name
    changes_topic: str = topics.CHANGES.name
    treatment_topic: str = topics.TREATMENT.name
    dead_letter_topic: str = topics.DEAD_LETTER.name
    group: str = "alerts"

    clock: Literal["live", "replay"] = "live"
    """Source of business time for owners' actions and timers: the wall clock, or in a replay the
    newest tick. Everything else takes business time from the messages."""

    risk_batch_records_max: int = Field(2_000, ge=1, le=20_000)
    """Assessments decided in one transaction: well under a second, even if each raises a task."""
    activity_batch_records_max: int = Field(5_000, ge=1, le=20_000)
    """Events read in one transaction. Only some of them are written: purchases, refunds and
    profiles."""

    changes_batch_records_max: int = Field(2_000, ge=1, le=20_000)
    """Changes of classifications read in one transaction."""

    policy_file: FilePath = POLICY_FILE
    """YAML of the first policy. Once one is stored, the stored one counts."""
    keep_days: int = Field(180, ge=1, le=3_650)
    """Days of business time for which assessments and purchases are kept: how far back a policy can
    be tried. Set at least the longest horizon, since outcomes are measured from purchases."""
    feedback_days: int = Field(730, ge=1, le=3_650)
    """Days of business time for which feedback is kept: two years, to see what recurs."""
    task_days: int = Field(1_095, ge=400, le=36_500)
    """Days of business time from its opening for which a closed task is kept, with what was done
    about it: three years, in which claims are usually barred. Open tasks stay."""
    message_days: int = Field(400, ge=366, le=3_650)
    """Days of business time for which messages to customers are kept: longer than any frequency cap
    counts them."""
    late_days: float = Field(2.0, ge=0, le=30)
    """Days to wait for late purchases after the end of a window before it is measured."""

    endpoints: Annotated[tuple[EndpointSettings, ...], NoDecode] = ()
    """JSON: `[{"id": "crm", "url": "https://...", "secrets": ["whsec_..."]}]`."""
    secret_keys: Annotated[tuple[SecretStr, ...], NoDecode] = ()
    """Keys that encrypt endpoints' secrets in the database, base64 of 32 random bytes each,
    separated by commas: the first encrypts, all decrypt. Needed once an endpoint is made through
    the API."""
    delivery_allowed_networks: Annotated[tuple[Network, ...], NoDecode] = ()
    """Networks outside of the public internet that endpoints may be in, separated by commas:
    `10.20.0.0/16`. All other private addresses are refused."""
    delivery_https_only: bool = True
    """Whether every address of an endpoint must be https, also those of `endpoints`. An existing
    endpoint with another address is switched off. False is for a development machine."""
    delivery_concurrency_max: int = Field(64, ge=1, le=256)
    """Most concurrent requests to one endpoint in one process, even if the endpoint allows more."""
    delivery_timeout_s: float = Field(15.0, gt=0, le=60)
    """Timeout of one attempt as a whole; Standard Webhooks advises 15 to 30 s."""
    delivery_delays_s: tuple[float, ...] = Field(DELAYS_S, min_length=1, max_length=20)
    """Seconds before each attempt, from the one before it. The number of them is the number
    of attempts."""
    delivery_lease_s: float = Field(60.0, gt=0)
    """Duration of a delivery's lease; after a crash of its process, a delivery waits this long."""
    delivery_log_days: int = Field(30, ge=15, le=3_650)
    """Days for which attempts and ended deliveries are kept; more than the 14 days within which
    failed deliveries may be sent again."""
    delivery_poll_ms: float = Field(100.0, gt=0)
    """Milliseconds between polls for deliveries that were not announced within this process."""

    @field_validator("secret_keys", "delivery_allowed_networks", mode="before")
    @classmethod
    def _by_comma(cls, value: object) -> object:
        return (
            [x.strip() for x in value.split(",") if x.strip()] if isinstance(value, str) else value
        )

    @field_validator("secret_keys")
    @classmethod
    def _are_aes_keys(cls, keys: tuple[SecretStr, ...]) -> tuple[SecretStr, ...]:
        for key in keys:
            try:
                aes_key(key.get_secret_value())
            except Invalid as wrong:
                raise ValueError(wrong.reason) from None
        return keys

    @field_validator("endpoints", mode="before")
    @classmethod
    def _from_json(cls, value: object) -> object:
        if not isinstance(value, str):
            return value
        try:
            return json.loads(value)
        except ValueError:
            raise ValueError("must be a JSON list of endpoints") from None

    @field_validator("endpoints")
    @classmethod
    def _are_distinct(cls, value: tuple[EndpointSettings, ...]) -> tuple[EndpointSettings, ...]:
        if len({endpoint.id for endpoint in value}) != len(value):
            raise ValueError("every endpoint needs an id of its own")
        return value

    @model_validator(mode="after")
    def _lease_outlasts_attempt(self) -> Self:
        shortest = 2 * (self.delivery_timeout_s + LEASE_MARGIN_S)
        if self.delivery_lease_s < shortest:
            raise ValueError(
                f"delivery_lease_s must be at least {shortest:g}, twice an attempt: one half to "
                "wait in the queue, the other to be sent before a second worker may send it"
            )
        return self
