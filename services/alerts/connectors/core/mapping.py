"""Compares an endpoint's mapping with a CRM's description of its fields."""

from collections.abc import Mapping
from typing import Any

from services.alerts.connectors.core.config import FxiaokeConfig, ZohoConfig
from shared.kernel.errors import Invalid


def must_fit(
    config: ZohoConfig | FxiaokeConfig,
    name: str,
    known: Mapping[str, Any],
    mandatory: str,
    *more: str,
) -> None:
    """Raise Invalid, naming the field, for a mapping that does not fit.

    `known`: the fields of the module or object `name`, each as described; `mandatory`: the property
    of a field that a record must have; `more`: fields that records have beside the mapping.
    """
    for place in ("fields", "changed_fields", "closed_fields"):
        for field in getattr(config, place):
            if field not in known:
                raise Invalid(f"config.{place}.{field}", f"{name} has no such field")
    if config.key_field not in known:
        raise Invalid("config.key_field", f"{name} has no field {config.key_field}")
    given = {*config.fields, config.key_field, *more}
    for field, described in known.items():
        if isinstance(described, Mapping) and described.get(mandatory) and field not in given:
            raise Invalid("config.fields", f"{name} requires {field}: map it")
    for rule in config.verdicts:
        if rule.field not in known:
            raise Invalid("config.verdicts", f"{name} has no field {rule.field}")
