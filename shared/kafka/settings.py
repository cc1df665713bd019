"""Connection settings of Kafka for every client, SASL and TLS included."""

import ssl
from typing import Any, Literal

from pydantic import SecretStr
from pydantic_settings import SettingsConfigDict

from shared.runtime.settings import Settings


class KafkaSettings(Settings):
    """Read from `KAFKA_*`. Passwords may come from the secrets folder."""

    model_config = SettingsConfigDict(env_prefix="KAFKA_")

    bootstrap_servers: str = "127.0.0.1:9092"
    security_protocol: Literal["PLAINTEXT", "SSL", "SASL_PLAINTEXT", "SASL_SSL"] = "PLAINTEXT"
    sasl_mechanism: Literal["PLAIN", "SCRAM-SHA-256", "SCRAM-SHA-512"] = "PLAIN"
    sasl_username: str | None = None
    sasl_password: SecretStr | None = None
    ssl_cafile: str | None = None
    ssl_certfile: str | None = None
    ssl_keyfile: str | None = None
    metadata_max_age_ms: int = 30_000
    """How soon every client learns of added partitions; one small request each time. Until all
    have, a customer's events go to two partitions: aiokafka's five minutes would be long."""

    def client_kwargs(self, client: str) -> dict[str, Any]:
        """Return keyword arguments for an aiokafka client named `client` in the broker's logs."""
        kwargs: dict[str, Any] = {
            "bootstrap_servers": self.bootstrap_servers,
            "client_id": f"ebbwatch-{client}",
            "security_protocol": self.security_protocol,
            "metadata_max_age_ms": self.metadata_max_age_ms,
        }
        if self.security_protocol.startswith("SASL"):
            kwargs["sasl_mechanism"] = self.sasl_mechanism
            kwargs["sasl_plain_username"] = self.sasl_username
            if self.sasl_password is not None:
                kwargs["sasl_plain_password"] = self.sasl_password.get_secret_value()
        if self.security_protocol.endswith("SSL"):
            context = ssl.create_default_context(cafile=self.ssl_cafile)
            if self.ssl_certfile is not None:
                context.load_cert_chain(self.ssl_certfile, self.ssl_keyfile)
            kwargs["ssl_context"] = context
        return kwargs
