"""Fills the fields of a CRM's record from a task, by an administrator's templates.

For example `{"Subject": "Win back {{ customer.name }}"}` -> `{"Subject": "Win back Ann"}`.
Templates are a small part of Jinja2 (`template_grammar`); they see the task as webhooks publish it,
and `key`, `owner`, `reasons_text`, `risk_percent`. A wrong template is found when it is saved, not
when a task waits.
"""

import math
from collections.abc import Mapping
from datetime import UTC, datetime
from functools import lru_cache
from typing import Any, Final, Literal
from zoneinfo import ZoneInfo

from jinja2 import TemplateError, meta
from pydantic import BaseModel, ConfigDict, Field

from services.alerts.connectors.core import template_grammar
from services.alerts.connectors.core.notice import Notice
from services.alerts.core.webhook_payload import TaskPayload
from shared.kernel.errors import Invalid

TEMPLATE_LENGTH_MAX: Final = 2_000
"""Characters of one template: longer text belongs to the playbook, not to a field."""
FIELDS_MAX: Final = 100
"""Fields of one mapping."""
TEMPLATES_LENGTH_MAX: Final = 20_000
"""Characters of all templates of a mapping, which are compiled at once: at worst that takes a
second."""
TEMPLATES_CACHED: Final = 2_000
"""Compiled templates cached in a process: all fields of some dozens of endpoints."""

Type = Literal["text", "number", "integer", "boolean", "date", "milliseconds", "list", "record"]
"""Types that a CRM requires: `milliseconds` a Unix time, `list` a list of one text, `record` an
object with an `id`. `date` and `milliseconds` read an ISO 8601 time."""


class Templated(BaseModel):
    """One field: a template, and the type that its text is converted to."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    template: str = Field(max_length=TEMPLATE_LENGTH_MAX)
    type: Type = "text"


Fields = dict[str, str | Templated]
"""Field of the CRM's record -> template. A field with an empty result is left out."""

NAMES: Final = frozenset(TaskPayload.__struct_fields__) | {
    *("type", "key", "owner_remote", "reasons_text", "risk_percent"),
}
"""Names that a template may use."""


def check(fields: Mapping[str, str | Templated], place: str) -> None:
    """Raise Invalid, naming the field, for a mapping with a template that cannot be used."""
    if len(fields) > FIELDS_MAX:
        raise Invalid(place, f"at most {FIELDS_MAX} fields")
    texts = {name: v if isinstance(v, str) else v.template for name, v in fields.items()}
    if sum(map(len, texts.values())) > TEMPLATES_LENGTH_MAX:
        raise Invalid(place, f"at most {TEMPLATES_LENGTH_MAX:,} characters of templates")
    for name, text in texts.items():
        where = f"{place}.{name}"
        if len(text) > TEMPLATE_LENGTH_MAX:
            raise Invalid(where, f"at most {TEMPLATE_LENGTH_MAX} characters")
        try:
            unknown = _unknown(text)
        except TemplateError as wrong:
            raise Invalid(where, f"not a template: {wrong}") from None
        if unknown:
            raise Invalid(
                where,
                f"knows no {', '.join(sorted(unknown))}; there are {', '.join(sorted(NAMES))}",
            )


def context(notice: Notice, owner_remote: str | None) -> dict[str, Any]:
    """Return what templates see of a task; `owner_remote` is its owner in the CRM."""
    reasons = [str(reason["text"]) for reason in notice.task.get("reasons", ())]
    return {
        **notice.task,
        "type": notice.type,
        "key": notice.key,
        "owner_remote": owner_remote,
        "reasons_text": ("；" if notice.chinese else "; ").join(reasons),
        "risk_percent": round(100 * float(notice.task.get("probability") or 0.0)),
    }


def fill(
    fields: Mapping[str, str | Templated], known: Mapping[str, Any], time_zone: str
) -> dict[str, Any]:
    """Return the record's fields, dates in `time_zone`; raise Invalid if a value does not fit.

    >>> fill({"Subject": "Call {{ customer.name }}", "Note": " "}, {"customer": {"name": "Ann"}},
    ...      "UTC")
    {'Subject': 'Call Ann'}
    """
    filled, work = {}, template_grammar.Work()
    for name, value in fields.items():
        templated = Templated(template=value) if isinstance(value, str) else value
        text = text_of(templated.template, known, name, work=work)
        if text:
            filled[name] = _typed(templated.type, text, name, time_zone)
    return filled


def text_of(
    template: str,
    known: Mapping[str, Any],
    place: str,
    medium: template_grammar.Medium = "text",
    work: template_grammar.Work | None = None,
) -> str:
    """Fill and trim a template.

    Raises Invalid, naming `place`, when it fails, is too long, or takes more than what is left of
    `work`. Values of the task are escaped for `medium`; the template's own text is not.
    """
    if len(template) > TEMPLATE_LENGTH_MAX:
        raise Invalid(place, f"at most {TEMPLATE_LENGTH_MAX} characters")
    try:
        return template_grammar.render(
            _compiled(template, medium), known, work or template_grammar.Work()
        ).strip()
    except Exception as wrong:  # noqa: BLE001 (any failure is the template's fault)
        raise Invalid(
            place, f"the template failed: {str(wrong)[: template_grammar.REASON_LENGTH_MAX]}"
        ) from None


_compiled = lru_cache(TEMPLATES_CACHED)(template_grammar.compiled)


@lru_cache(TEMPLATES_CACHED)
def _unknown(text: str) -> frozenset[str]:
    """Return names that a template uses and that do not exist.

    Raises TemplateError where the template is not allowed.
    """
    _compiled(text)
    return frozenset(meta.find_undeclared_variables(template_grammar.read(text)) - NAMES)


def _typed(kind: Type, text: str, name: str, time_zone: str) -> Any:
    try:
        match kind:
            case "number":
                return _finite(float(text))
            case "integer":
                return int(text)
            case "boolean":
                return {"true": True, "false": False}[text.lower()]
            case "date":
                return _time(text).astimezone(ZoneInfo(time_zone)).date().isoformat()
            case "milliseconds":
                return round(_time(text).timestamp() * 1000)
            case "list":
                return [text]
            case "record":
                return {"id": text}
            case _:
                return text
    except (ValueError, KeyError, OverflowError):
        raise Invalid(name, f"{text[:100]!r} cannot be turned into a {kind}") from None


def _finite(number: float) -> float:
    if not math.isfinite(number):
        raise ValueError("JSON knows no such number")
    return number


def _time(text: str) -> datetime:
    at = datetime.fromisoformat(text)
    return at if at.tzinfo else at.replace(tzinfo=UTC)
