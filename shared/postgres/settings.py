"""Connection settings of PostgreSQL."""

from pydantic import Field, SecretStr
from pydantic_settings import SettingsConfigDict

from shared.runtime.settings import Settings


class PostgresSettings(Settings):
    """`DATABASE_URL` is a libpq URL; `?sslmode=verify-full&sslrootcert=...` turns TLS on."""

    model_config = SettingsConfigDict(env_prefix="POSTGRES_", populate_by_name=True)

    url: SecretStr = Field(validation_alias="DATABASE_URL")
    pool_size: int = 5
    """Connections a process keeps; a service uses one per loop plus HTTP reads."""
    connect_timeout_s: float = 10.0
    statement_timeout_ms: int = 30_000
    """Longest statement of a service; a batch of 2,000 takes 50 ms."""
    idle_in_transaction_timeout_ms: int = 10_000
    """A worker frozen between statements loses its locks after this time."""
