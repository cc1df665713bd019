"""Settings of shared adapters: what the clients receive, and secrets that are never shown."""

import os
import ssl
import subprocess
import sys
from datetime import UTC, datetime
from pathlib import Path

import pytest
from pydantic import Field, SecretStr, ValidationError
from pydantic_settings import SettingsConfigDict

from shared.kafka.settings import KafkaSettings
from shared.postgres.settings import PostgresSettings
from shared.runtime.settings import Settings, problems
from tests.fakes.certificates import Authority

PASSWORD = "hush-hush"
NOW = datetime.now(UTC)


def test_plaintext_settings_contain_nothing_about_sasl_or_tls() -> None:
    """Address, name, protocol and age of the metadata; nothing about SASL or TLS."""
    settings = KafkaSettings(bootstrap_servers="a:1,b:2", security_protocol="PLAINTEXT")
    assert settings.client_kwargs("scoring") == {
        "bootstrap_servers": "a:1,b:2",
        "client_id": "ebbwatch-scoring",
        "security_protocol": "PLAINTEXT",
        "metadata_max_age_ms": 30_000,
    }


@pytest.mark.parametrize("mechanism", ["PLAIN", "SCRAM-SHA-256", "SCRAM-SHA-512"])
@pytest.mark.parametrize("protocol", ["SASL_PLAINTEXT", "SASL_SSL"])
def test_sasl_settings_have_mechanism_user_and_password(protocol: str, mechanism: str) -> None:
    """Mechanism, user and password, as the client names them."""
    settings = KafkaSettings.model_validate(
        {
            "security_protocol": protocol,
            "sasl_mechanism": mechanism,
            "sasl_username": "scoring",
            "sasl_password": PASSWORD,
        }
    )
    kwargs = settings.client_kwargs("test")
    assert kwargs["security_protocol"] == protocol
    assert kwargs["sasl_mechanism"] == mechanism
    assert kwargs["sasl_plain_username"] == "scoring"
    assert kwargs["sasl_plain_password"] == PASSWORD
    assert ("ssl_context" in kwargs) == (protocol == "SASL_SSL")


def test_tls_checks_certificates_and_names(tmp_path: Path) -> None:
    """Certificates and names are checked against the given authority.

    A client certificate is passed on where given.
    """
    authority = Authority("ours", NOW)
    ca = authority.write(tmp_path / "ca.pem")
    certificate, key = authority.issue(tmp_path / "client", "client", NOW)
    settings = KafkaSettings(
        security_protocol="SSL",
        ssl_cafile=str(ca),
        ssl_certfile=str(certificate),
        ssl_keyfile=str(key),
    )
    context = settings.client_kwargs("test")["ssl_context"]
    assert isinstance(context, ssl.SSLContext)
    assert context.verify_mode is ssl.CERT_REQUIRED
    assert context.check_hostname
    [trusted] = context.get_ca_certs()
    assert trusted["subject"] == ((("commonName", "ours"),),)


def test_the_machines_authorities_by_default() -> None:
    """Without a file the authorities of the machine are used, and certificates still verified."""
    context = KafkaSettings(security_protocol="SSL").client_kwargs("test")["ssl_context"]
    assert context.verify_mode is ssl.CERT_REQUIRED
    assert context.check_hostname


def test_no_secret_shows() -> None:
    """Secrets are not in `repr`, `str` or a dump, nor in the error about another setting."""
    kafka = KafkaSettings(sasl_username="scoring", sasl_password=SecretStr(PASSWORD))
    postgres = PostgresSettings(url=SecretStr(f"postgresql://u:{PASSWORD}@h/d"))
    for settings in (kafka, postgres):
        shown = (repr(settings), str(settings), settings.model_dump_json())
        assert not any(PASSWORD in text for text in shown)
    with pytest.raises(ValidationError) as error:
        KafkaSettings.model_validate({"security_protocol": "TLS", "sasl_password": PASSWORD})
    assert PASSWORD not in str(error.value)
    with pytest.raises(ValidationError) as error:
        PostgresSettings.model_validate({"url": f"postgresql://u:{PASSWORD}@h/d", "pool_size": "x"})
    assert PASSWORD not in str(error.value)


def test_a_secrets_folder(tmp_path: Path) -> None:
    """One file per setting, as Docker and Kubernetes mount them; the environment has precedence."""
    (tmp_path / "DATABASE_URL").write_text(f"postgresql://u:{PASSWORD}@h/d\n")
    (tmp_path / "kafka_sasl_password").write_text(PASSWORD)
    (tmp_path / "KAFKA_SASL_USERNAME").write_text("of the file")
    program = (
        "from shared.kafka.settings import KafkaSettings as K\n"
        "from shared.postgres.settings import PostgresSettings as P\n"
        "print(K().sasl_password.get_secret_value(), K().sasl_username)\n"
        "print(P().url.get_secret_value())\n"
    )
    environment = {
        name: value
        for name, value in os.environ.items()
        if not name.startswith(("KAFKA_", "DATABASE_"))
    }
    environment |= {"EBBWATCH_SECRETS_DIR": str(tmp_path), "KAFKA_SASL_USERNAME": "of the shell"}
    done = subprocess.run(
        [sys.executable, "-c", program],
        env=environment,
        capture_output=True,
        text=True,
        check=True,
    )
    assert done.stdout.split() == [PASSWORD, "of", "the", "shell", f"postgresql://u:{PASSWORD}@h/d"]


def test_settings_do_not_change() -> None:
    """They are read once and are immutable afterwards."""
    with pytest.raises(ValidationError):
        KafkaSettings().bootstrap_servers = "elsewhere"  # type: ignore[misc] # what must not work


class Lanes(Settings):
    """Settings with a bound, for the test."""

    model_config = SettingsConfigDict(env_prefix="EBBWATCH_TEST_")

    lanes: int = Field(1, ge=1)
    names: tuple[int, ...] = ()
    url: SecretStr = Field(validation_alias="TEST_URL")


def test_a_wrong_setting_is_named_by_its_variable(monkeypatch: pytest.MonkeyPatch) -> None:
    """With what is wrong, and never with its value."""
    monkeypatch.setenv("EBBWATCH_TEST_LANES", "0")
    monkeypatch.setenv("EBBWATCH_TEST_NAMES", f'[1, "{PASSWORD}"]')
    with pytest.raises(ValidationError) as raised:
        Lanes()
    lanes, names, url = problems(raised.value)
    assert lanes == "EBBWATCH_TEST_LANES: Input should be greater than or equal to 1"
    assert names.startswith("EBBWATCH_TEST_NAMES.1: ")
    assert PASSWORD not in names
    assert url == "TEST_URL is not set"
