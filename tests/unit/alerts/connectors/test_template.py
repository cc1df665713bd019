"""Field mappings: the variables of templates, their results, and refused templates."""

import pytest

from services.alerts.connectors.core import template
from services.alerts.connectors.core.config import ZohoConfig, read_config
from services.alerts.connectors.core.template import Templated, context, fill
from services.alerts.connectors.core.verdict_mapping import VerdictRule, rule_of
from shared.contracts.events import Profile
from shared.kernel.errors import Invalid
from tests.unit.alerts.connectors.notices import notice, task

KNOWN = context(notice(task()), "777")


@pytest.mark.parametrize(
    ("field", "expected"),
    [
        ("挽留 {{ customer.name }}（{{ risk_percent }}%）", "挽留 上海示例（60%）"),
        ("{{ owner_remote }}", "777"),
        ("{{ {'high': 'H', 'critical': 'C'}[band] }}", "H"),
        (Templated(template="{{ value_at_risk }}", type="number"), 60.0),
        (Templated(template="{{ horizon_days }}", type="integer"), 28),
        (Templated(template="{{ band == 'high' }}", type="boolean"), True),
        (Templated(template="{{ opened_at }}", type="milliseconds"), 1506934800000),
        (Templated(template="{{ owner_remote }}", type="list"), ["777"]),
        (Templated(template="{{ owner_remote }}", type="record"), {"id": "777"}),
    ],
)
def test_a_field_is_filled(field: str | Templated, expected: object) -> None:
    assert fill({"f": field}, KNOWN, "UTC") == {"f": expected}


def test_a_due_date_is_a_day_of_the_endpoints_time_zone() -> None:
    late = {"due_at": "2026-11-25T17:30:00Z"}
    field = {"d": Templated(template="{{ due_at }}", type="date")}
    assert fill(field, late, "Asia/Shanghai") == {"d": "2026-11-26"}
    assert fill(field, late, "UTC") == {"d": "2026-11-25"}


def test_what_comes_to_nothing_is_left_out() -> None:
    nameless = context(notice(task(Profile())), None)
    fields: template.Fields = {"n": "{{ customer.name }}", "o": "{{ owner.name }}"}
    assert fill(fields, nameless, "UTC") == {}


def test_a_value_that_does_not_fit_names_its_field() -> None:
    field = {"due": Templated(template="{{ band }}", type="date")}
    with pytest.raises(Invalid, match=r"due: 'high' cannot be turned into a date"):
        fill(field, KNOWN, "UTC")
    with pytest.raises(Invalid, match=r"long: the template failed: more than 8000 characters"):
        fill({"long": "{{ title }}" * 5}, {"title": "x" * 2000}, "UTC")
    with pytest.raises(Invalid, match=r"f: the template failed: division by zero"):
        fill({"f": "{{ version / nothing }}"}, {"version": 1, "nothing": 0}, "UTC")
    for text in ("NaN", "1e999", "-inf"):
        with pytest.raises(Invalid, match=r"n: '.*' cannot be turned into a number"):
            fill({"n": Templated(template=text, type="number")}, KNOWN, "UTC")
    with pytest.raises(Invalid, match=r"due: .* cannot be turned into a date"):
        edge = {"due_at": "0001-01-01T00:00:00Z"}
        fill({"due": Templated(template="{{ due_at }}", type="date")}, edge, "America/New_York")


@pytest.mark.parametrize(
    ("template", "why"),
    [
        ("{{ '{x}'.format(1) }}", "a call is not allowed"),
        ("{% macro m() %}{{ m() }}{% endmacro %}{{ m() }}", "macro is not allowed"),
        ("{{ 3**30000000 }}", r"\*\* is not allowed"),
        ("{{ [1]*1000000000 }}", r"\* is for numbers"),
        ("{{ 'x' * 10000 }}", r"\* is for numbers"),
        ("{{ 2 * 3 }}", r"\* is for numbers"),
        ("{{ 1 // 0 }}", "// is not allowed"),
        ("{{ '%9999999d' % version }}", "% is not allowed"),
        ("{{ title|center(1000000000) }}", "no filter center"),
        ("{{ title|bounded }}", "no filter bounded"),
        ("{% set x = 1 %}", "assign is not allowed"),
        ("{% include 'x' %}", "include is not allowed"),
        ("{% extends 'x' %}", "extends is not allowed"),
        ("{% import 'x' as x %}", "import is not allowed"),
        ("{% block b %}{% endblock %}", "block is not allowed"),
        ("{% filter upper %}x{% endfilter %}", "filterblock is not allowed"),
        ("{% with x = 1 %}{% endwith %}", "with is not allowed"),
        ("{% for a in steps %}{% for b in steps %}{% for c in steps %}x{% endfor %}{% endfor %}"
         "{% endfor %}", "at most 2 loops"),
        ("{% for a in steps recursive %}x{% endfor %}", "none recursive"),
        ("{{ key.__class__ }}", "__class__ cannot be asked for"),
        ("{{ version + 10000000000000000 }}", "a number is too large"),
        ("{{ " + "(" * 900 + "1" + ")" * 900 + " }}", "nested too deeply"),
        ("{% if key %}" * 60 + "{% endif %}" * 60, "nested too deeply"),
        ("{{ range(3) }}", "a call is not allowed"),
    ],
)  # fmt: skip
def test_what_no_message_needs_is_refused_when_it_is_saved(template: str, why: str) -> None:
    with pytest.raises(Invalid, match=rf"^config\.fields\.S: not a template: .*{why}"):
        read_config("zoho", {"client_id": "c", "fields": {"S": template}})
    with pytest.raises(Invalid, match=r"^S: "):  # applies also to what an older version saved
        fill({"S": template}, KNOWN, "UTC")


@pytest.mark.parametrize(
    ("template", "expected"),
    [
        ("{{ reasons|join(', ', attribute='code') }}", "silence_beyond_rhythm"),
        ("{{ (probability * 100)|round(1) }} %", "60.0 %"),
        ("{{ title|default('-', true) }}", "-"),
        ("{% for r in reasons if r.code %}{{ loop.index }}:{{ r.code }}{% endfor %}",
         "1:silence_beyond_rhythm"),
        ("{{ customer.name[:2] ~ '…' }}", "上海…"),
        ("{{ customer.name|replace('上海', 'SH')|lower|truncate(3) }}", "sh示…"),
        ("{{ 'yes' if band in ['high', 'critical'] and owner is defined else 'no' }}", "yes"),
        ("{{ -version }}", "-1"),
    ],
)  # fmt: skip
def test_what_a_message_needs_is_there(template: str, expected: str) -> None:
    read_config("zoho", {"client_id": "c", "fields": {"S": template}})
    assert fill({"S": template}, KNOWN, "UTC") == {"S": expected}


def test_a_template_cannot_reach_into_python() -> None:
    for reach in ("{{ key.__class__.__mro__[1].__subclasses__() }}", "{{ key['__class__'] }}-"):
        try:
            found = fill({"f": reach}, KNOWN, "UTC")
        except Invalid:
            continue
        assert found == {"f": "-"}


@pytest.mark.parametrize(
    ("config", "message"),
    [
        ({}, "config.client_id: Field required"),
        ({"client_id": "c", "fields": {"S": "{{ custmer }}"}}, "config.fields.S: knows no custmer"),
        ({"client_id": "c", "fields": {"S": "{{ "}}, "config.fields.S: not a template"),
        ({"client_id": "c", "about": "{{ nobody }}"}, "config.about: knows no nobody"),
        ({"client_id": "c", "time_zone": "Mars"}, "config.time_zone: .*Asia/Shanghai"),
        ({"client_id": "c", "key_field": "K' or 1"}, "config.key_field: .*pattern"),
        ({"client_id": "c", "api_url": "zoho"}, "config.api_url: "),
        ({"client_id": "c", "sweep_s": 1}, "config.sweep_s: .*60"),
        ({"client_id": "c", "secret": "x"}, "config.secret: Extra inputs"),
        (
            {"client_id": "c", "verdicts": [{"field": "S", "value": "x", "verdict": "saved"}]},
            "config.verdicts.0.verdict: ",
        ),
    ],
)
def test_a_wrong_config_is_refused_with_its_field(config: dict[str, object], message: str) -> None:
    with pytest.raises(Invalid, match=message):
        read_config("zoho", config)


def test_every_default_mapping_passes_its_own_check_and_fills() -> None:
    for kind, config in (
        ("zoho", {"client_id": "c"}),
        ("fxiaoke", {"app_id": "a", "user_id": "1000", "object_name": "object_x__c"}),
    ):
        read = read_config(kind, config)
        for name in ("fields", "changed_fields", "closed_fields"):
            mapping = getattr(read, name)
            assert fill(mapping, KNOWN, read.time_zone).keys() == mapping.keys()


def test_the_first_rule_that_fits_gives_the_verdict() -> None:
    rules = (
        VerdictRule(field="Churn_Outcome", value="Lost", verdict="leaving"),
        VerdictRule(field="Status", value="Completed", verdict="action_taken"),
    )
    lost, done = rules
    assert rule_of({"Churn_Outcome": "Lost", "Status": "Completed"}, rules) == lost
    assert rule_of({"Churn_Outcome": None, "Status": "Completed"}, rules) == done
    assert rule_of({"Status": ["Completed"]}, rules) == done
    assert rule_of({"Status": {"value": "Completed"}}, rules) == done
    assert rule_of({"Status": "Deferred"}, rules) is None
    assert rule_of({}, rules) is None


def test_an_unknown_kind_is_refused() -> None:
    with pytest.raises(Invalid, match="kind: must be one of webhook, zoho"):
        read_config("salesforce", {})
    assert isinstance(read_config("zoho", {"client_id": "c"}), ZohoConfig)
