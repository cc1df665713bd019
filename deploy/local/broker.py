"""Chooses the stack's Kafka broker, in this one place, and manages it.

`BROKER=kafka|embedded` forces one. Else `KAFKA_BOOTSTRAP_SERVERS` names one that runs already. Else
it is Apache Kafka where it can run, and the embedded broker, with a warning, where it cannot.
"""

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Literal

from aiokafka.admin import AIOKafkaAdminClient
from aiokafka.errors import KafkaError

from deploy.local import apache_kafka, embedded_kafka
from deploy.local.process import Managed, Server, StackError
from deploy.local.waiting import LOOPBACK, answers, complete
from shared.kafka.settings import KafkaSettings

BrokerKind = Literal["kafka", "embedded", "external"]


class Broker(Managed):
    """A broker that answers at `settings.bootstrap_servers`."""

    what = "Kafka"

    def __init__(self, kind: BrokerKind, settings: KafkaSettings, server: Server | None) -> None:
        super().__init__(server)
        self.kind = kind
        self.settings = settings

    @property
    def address(self) -> str:
        """Its bootstrap servers."""
        return self.settings.bootstrap_servers

    def ready(self) -> bool:
        """Return whether it answers a metadata request."""
        if self.server is not None and not answers(int(self.address.rpartition(":")[2])):
            return False  # before it listens, a client would only log errors
        return complete(self._metadata())

    async def _metadata(self) -> bool:
        admin = AIOKafkaAdminClient(**self.settings.client_kwargs("local-stack"))
        try:
            await admin.start()
            return bool((await admin.describe_cluster())["brokers"])
        except (KafkaError, OSError):
            return False
        finally:
            await admin.close()


def choose(
    directory: Path,
    cache: Path,
    environ: Mapping[str, str],
    overrides: Mapping[str, str],
    announce: Callable[[str], None],
) -> Broker:
    """Returns the broker for `environ` and this machine; nothing is started yet.

    Data goes below `directory`, Kafka's jars below `cache`; `overrides` are settings of Apache
    Kafka. A stand-in is announced.
    """
    forced = environ.get("BROKER", "")
    if forced not in {"", "kafka", "embedded"}:
        raise StackError(f"BROKER={forced}: use kafka or embedded, or leave it unset")
    if not forced and environ.get("KAFKA_BOOTSTRAP_SERVERS"):
        return Broker("external", KafkaSettings(), None)
    if forced != "embedded":
        try:
            server, port = apache_kafka.server(directory / "kafka", cache, overrides)
            return Broker("kafka", local_settings(f"{LOOPBACK}:{port}"), server)
        except apache_kafka.Unavailable as missing:
            if forced:
                raise StackError(f"BROKER=kafka, but {missing}") from missing
            announce(f"Apache Kafka cannot run here: {missing}")
    announce(embedded_kafka.WARNING)
    server, port = embedded_kafka.server(directory / "embedded-kafka")
    return Broker("embedded", local_settings(f"{LOOPBACK}:{port}"), server)


def local_settings(bootstrap: str) -> KafkaSettings:
    """Returns settings for a broker of ours, whatever the environment has for another one."""
    return KafkaSettings(bootstrap_servers=bootstrap, security_protocol="PLAINTEXT")
