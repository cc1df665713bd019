"""A stack of its own with TLS and SASL switched on, and its users."""

import os
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from urllib.parse import urlsplit, urlunsplit

from pydantic import SecretStr

from deploy.local import apache_kafka, postgres
from deploy.local.stack import KAFKA_CACHE, LocalStack
from deploy.local.waiting import LOOPBACK, free_port
from shared.kafka.settings import KafkaSettings
from tests.fakes.certificates import Authority

USER, PASSWORD = "scoring", "hush-hush"
SCRAM = "SCRAM-SHA-256"


@dataclass(frozen=True, slots=True)
class Secured:
    """The addresses and credentials of the secured servers."""

    stack: LocalStack
    ports: dict[str, int]
    authority: Path
    """The certificate that clients should trust."""
    stranger: Path
    """A certificate authority that signed nothing here."""

    def kafka(self, protocol: str, **changes: object) -> KafkaSettings:
        """Return the settings of a correct client, with these changes."""
        return KafkaSettings.model_validate(
            {
                "bootstrap_servers": f"{LOOPBACK}:{self.ports[protocol]}",
                "security_protocol": protocol,
                "sasl_username": USER,
                "sasl_password": SecretStr(PASSWORD),
                "ssl_cafile": str(self.authority),
                **changes,
            }
        )

    def database_url(self, authority: Path, mode: str = "verify-full", host: str = "") -> str:
        """Return the database's address with libpq's TLS parameters."""
        parts = urlsplit(self.stack.database_url)
        at = parts.netloc.replace(LOOPBACK, host or LOOPBACK)
        query = f"sslmode={mode}&sslrootcert={authority}"
        return urlunsplit(parts._replace(netloc=at, query=query))


@contextmanager
def running(data: Path) -> Iterator[Secured]:
    """Run the stack with its data below `data`."""
    now = datetime.now(UTC)
    home = postgres.home(data / "postgres")
    authority, stranger = Authority("ours", now), Authority("a stranger", now)
    certificate, key = authority.issue(home / "server", "server", now)
    key.chmod(0o600)
    postgres.Installation(data / "postgres").own(key)
    ports = {name: free_port() for name in ("PLAINTEXT", "SASL_PLAINTEXT", "SSL", "SASL_SSL")}
    (data / "kafka").mkdir(exist_ok=True)
    (data / "kafka" / "port").write_text(str(ports["PLAINTEXT"]))
    both = data / "kafka" / "server.pem"
    both.touch(mode=0o600)
    both.write_bytes(key.read_bytes() + certificate.read_bytes())
    stack = LocalStack(
        data,
        wipe=True,
        environ={"BROKER": "kafka"},
        kafka_settings=_listeners(ports, data, both),
        postgres_settings={
            "ssl": "on",
            "ssl_cert_file": str(certificate),
            "ssl_key_file": str(key),
        },
    )
    with stack:
        _add_scram_user(stack.kafka_bootstrap)
        yield Secured(
            stack,
            ports,
            authority.write(data / "authority.pem"),
            stranger.write(data / "stranger.pem"),
        )


def _listeners(ports: dict[str, int], data: Path, keystore: Path) -> dict[str, str]:
    """Return one listener for each protocol, on one broker."""
    controller = free_port()
    (data / "kafka" / "controller-port").write_text(str(controller))
    plain = (
        "org.apache.kafka.common.security.plain.PlainLoginModule required "
        f'user_{USER}="{PASSWORD}";'
    )
    scram = "org.apache.kafka.common.security.scram.ScramLoginModule required;"
    settings = {
        "listeners": ",".join(f"{name}://{LOOPBACK}:{port}" for name, port in ports.items())
        + f",CONTROLLER://{LOOPBACK}:{controller}",
        "advertised.listeners": ",".join(
            f"{name}://{LOOPBACK}:{port}" for name, port in ports.items()
        ),
        "listener.security.protocol.map": ",".join(f"{name}:{name}" for name in ports)
        + ",CONTROLLER:PLAINTEXT",
        "sasl.enabled.mechanisms": f"PLAIN,{SCRAM}",
        "ssl.keystore.type": "PEM",
        "ssl.keystore.location": str(keystore),
    }
    for name in ("sasl_plaintext", "sasl_ssl"):
        settings[f"listener.name.{name}.plain.sasl.jaas.config"] = plain
        settings[f"listener.name.{name}.scram-sha-256.sasl.jaas.config"] = scram
    return settings


def _add_scram_user(bootstrap: str) -> None:
    command = [str(apache_kafka.java()), "-cp", f"{apache_kafka.jars(KAFKA_CACHE)}/*"]
    command += ["kafka.admin.ConfigCommand", "--bootstrap-server", bootstrap, "--alter"]
    command += ["--entity-type", "users", "--entity-name", USER]
    command += ["--add-config", f"{SCRAM}=[password={PASSWORD}]"]
    environment = {"PATH": os.environ.get("PATH", os.defpath)}
    done = subprocess.run(command, capture_output=True, text=True, check=False, env=environment)
    assert done.returncode == 0, done.stdout + done.stderr
