"""Ingest's settings, read from `EBBWATCH_INGEST_*`."""

from pathlib import Path
from typing import Annotated
from urllib.parse import urlsplit

from pydantic import Field, SecretStr, field_validator
from pydantic_settings import NoDecode, SettingsConfigDict

from services.ingest.core.flood import SHARE_MAX
from services.ingest.core.unknown import UnknownFields
from shared.contracts import topics
from shared.runtime.settings import HttpSettings, ReportingCurrency


class IngestSettings(HttpSettings):
    """Everything about ingest that differs between deployments."""

    model_config = SettingsConfigDict(env_prefix="EBBWATCH_INGEST_")

    port: int = 8081
    raw_topics: Annotated[tuple[str, ...], NoDecode] = Field((topics.RAW.name,), min_length=1)
    """Separated by commas; the first one receives what comes over HTTP."""
    activity_topic: str = topics.ACTIVITY.name
    dead_letter_topic: str = topics.DEAD_LETTER.name
    group: str = "ingest"
    """Kafka's consumer groups are `ebbwatch-<group>` and `ebbwatch-<group>-dead-letters`."""

    batch_records_max: int = Field(2_000, ge=1, le=20_000)
    """Records decided on at once: about 100 ms of work, so a stop is never far away."""

    reporting_currency: ReportingCurrency = "USD"
    rates_file: Path | None = None
    """CSV with the columns currency, from, rate: what one unit is worth in the reporting currency
    from a day (UTC) on. Without it only the reporting currency is accepted."""

    unknown_fields: UnknownFields = "typos"
    """What happens to an event with a field in `data` that its type does not have. `typos`: it is
    refused where the name is nearly that of a known field which is missing (`ammount`), since
    the known field's value would be missing from every figure; any other field is noted, so that
    a source may send more than we read. `refuse`: always refused. `note`: never. Notes are
    returned in the HTTP answer (`noted`) and counted (`ebbwatch_ingest_noted`)."""

    http_refused_bytes_per_minute: int = Field(8 * 1024 * 1024, ge=0)
    """Bytes of events refused over HTTP that a process keeps as dead letters in a minute, each with
    4 KiB for its headers and its row: two large requests, or 2,000 small events. The same
    content is kept once a day. What exceeds it (with 0: everything) is only reported in the HTTP
    answer; `ebbwatch_ingest_http_refused` counts what was kept, known and dropped."""

    dead_letter_content_days: int = Field(30, ge=0, le=3_650)
    """Days after which the content of a replayed or discarded dead letter is deleted; those that
    wait keep theirs, and the facts about all stay."""

    http_events_per_minute: int = Field(1_200_000, ge=1_000)
    """Events that one token, or one signed source, may send over HTTP to a process within a minute:
    what a process takes at its full speed. Beyond it the answer is 429 with `Retry-After`."""

    http_sources: SecretStr = SecretStr("")
    """Sources of signed webhooks, as JSON: by name, each with `signature` (shopify, woocommerce,
    stripe), one or two `secrets`, and `mapping` where it is not the shipped one of that name. Best
    a file of the secrets folder (`EBBWATCH_SECRETS_DIR`)."""

    registry_url: str | None = None
    """Address of a Confluent Schema Registry, or of one with its API; with it, raw records that
    name a schema (Avro, Protobuf, JSON Schema) are decoded. Without it they are refused."""

    registry_user: str = ""
    registry_password: SecretStr = SecretStr("")
    """Basic authentication; Confluent Cloud's API key and its secret."""

    registry_cafile: Path | None = None
    """File of the authorities (PEM) that signed its certificate, instead of the system's."""

    registry_topics: Annotated[tuple[str, ...], NoDecode] = ()
    """Separated by commas: the raw topics, or topics with a mapping, of which every record must
    name a schema; records of others are not looked up. Without any, a record of any topic is
    decoded where it names a schema, and one that does not is taken as JSON."""

    flood_share_max: float = Field(SHARE_MAX, gt=0)
    """Share of refused records, of the last 1,000, that stops the intake; above 1: never."""

    @field_validator("registry_url")
    @classmethod
    def _address(cls, value: str | None) -> str | None:
        if not value:
            return None
        found = urlsplit(value)
        if found.scheme not in ("http", "https") or not found.hostname or found.query:
            raise ValueError("not an address such as https://registry.example.com:8081")
        if found.username is not None:
            raise ValueError("give user and password as EBBWATCH_INGEST_REGISTRY_USER, …_PASSWORD")
        return value

    @field_validator("raw_topics", "registry_topics", mode="before")
    @classmethod
    def _split(cls, value: object) -> object:
        return tuple(filter(None, value.split(","))) if isinstance(value, str) else value
