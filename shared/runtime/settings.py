"""Reads settings of every service: environment first, then files of a secrets folder.

`EBBWATCH_SECRETS_DIR` names a folder with one file per setting (the file's name is the variable's,
in any case), as Docker and Kubernetes mount secrets. Secrets are `SecretStr`: they never show in a
log, a trace or an error.
"""

import os
from collections.abc import Iterator
from typing import Annotated

from pydantic import Field, ValidationError
from pydantic_settings import BaseSettings, SettingsConfigDict


class Settings(BaseSettings):
    """Frozen base of all settings classes."""

    model_config = SettingsConfigDict(
        frozen=True,
        extra="ignore",
        populate_by_name=True,
        secrets_dir=os.environ.get("EBBWATCH_SECRETS_DIR"),
        hide_input_in_errors=True,
    )


def problems(error: ValidationError) -> Iterator[str]:
    """Yield what is wrong with settings, each with its environment variable; never a value."""
    prefixes = {kind.__name__: kind.model_config.get("env_prefix", "") for kind in _kinds(Settings)}
    for problem in error.errors(include_input=False, include_url=False):
        if not problem["loc"]:  # of several together, which the text names
            yield f"{error.title}: {problem['msg']}"
            continue
        name, *rest = map(str, problem["loc"])
        # In capitals it is a variable's whole name already, without the prefix of its kind.
        variable = name if name.isupper() else f"{prefixes.get(error.title, '')}{name}".upper()
        place = ".".join((variable, *rest))
        missing = problem["type"] == "missing"
        yield f"{place} is not set" if missing else f"{place}: {problem['msg']}"


def _kinds(kind: type[Settings]) -> Iterator[type[Settings]]:
    for each in kind.__subclasses__():
        yield each
        yield from _kinds(each)


ReportingCurrency = Annotated[
    str, Field(pattern=r"^[A-Z]{3}$", validation_alias="EBBWATCH_REPORTING_CURRENCY")
]
"""The one currency in which amounts become features: the same for ingest and scoring."""


class HttpSettings(Settings):
    """Where a service listens."""

    host: str = "127.0.0.1"
    """Loopback by default: a container sets 0.0.0.0 on purpose."""
    port: int = Field(0, ge=0, le=65_535)
    """0 takes a free port and logs it."""
    metrics_open: bool = True
    """Whether `/metrics` needs no token, as Prometheus is usually set up. It contains no customer
    data. Behind a public address, switch it off: then any valid token reads it."""
    openapi_open: bool = True
    """Whether `/openapi.json` needs no token. Its content is public in our source anyway."""
    instance: str = Field("", max_length=100, validation_alias="EBBWATCH_INSTANCE")
    """Sent with the probes' answers (`Ebbwatch-Instance`), so that a supervisor recognises the
    process it started."""

    audit_retention_days: int = Field(
        1_095, ge=365, le=36_500, validation_alias="EBBWATCH_AUDIT_RETENTION_DAYS"
    )
    """How long audit entries are kept; PostgreSQL refuses to delete younger ones than a year."""

    @classmethod
    def variable(cls, name: str) -> str:
        """Return the environment variable of a setting, for messages that name it."""
        return f"{cls.model_config.get('env_prefix', '')}{name}".upper()
