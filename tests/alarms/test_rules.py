"""The alarm rules as shipped: promtool accepts them; each has cases, a runbook and true names."""

import re
from collections.abc import Iterator
from functools import cache
from typing import Final

import pytest

from deploy.grafana import lint
from deploy.local.stack import ROOT
from tests.alarms import rules
from tests.alarms.__main__ import check_rules
from tests.alarms.monitoring import missing
from tests.consumers import running

ALARMS: Final = {rule.name: rule for rule in rules.alarms()}
SEVERITIES: Final = {"page", "ticket", "watchdog"}
OF_NODE_EXPORTER: Final = {
    f"node_filesystem_{which}_bytes": {"instance", "mountpoint", "fstype", "device"}
    for which in ("avail", "size")
}
SELECTOR: Final = re.compile(
    r"(?P<name>\b(?:ebbwatch|node)[\w:]*|\bup\b)?(?P<labels>\{[^}]*\})|"
    r"(?P<bare>\b(?:ebbwatch|node)[\w:]*|\bup\b)"
)
MATCHER: Final = re.compile(r'(\w+)(=~|!~|!=|=)"([^"]*)"')
GROUPED: Final = re.compile(r"\b(?:by|on|ignoring|without|group_left|group_right) ?\(([^)]*)\)")
COMMENT: Final = re.compile(r"#.*")


@cache
def known() -> dict[str, set[str]]:
    """Return the labels of each series by name: ours, Prometheus' own, and recorded ones."""
    declared = lint.known().labels.items()
    metrics = OF_NODE_EXPORTER | {name: set(labels) - {"__name__"} for name, labels in declared}
    for rule in rules.rules():
        if not rule.alarm:
            name, _ = next(selected(rule.expr, metrics))
            metrics[rule.name] = grouped(rule.expr) or metrics[name]
    return metrics


def grouped(expr: str) -> set[str]:
    """Return the labels by which an expression groups or joins."""
    lists = GROUPED.findall(expr)
    return {label.strip() for labels in lists for label in labels.split(",") if label.strip()}


def selected(expr: str, metrics: dict[str, set[str]]) -> Iterator[tuple[str, set[str]]]:
    """Yield each metric that an expression selects, with the labels that its selector names.

    A selector that matches no known metric is yielded as it is written.
    """
    for found in SELECTOR.finditer(COMMENT.sub("", expr)):
        matchers = MATCHER.findall(found["labels"] or "")
        labels = {label for label, _, _ in matchers} - {"__name__"}
        pattern = next((text for label, _, text in matchers if label == "__name__"), None)
        name = found["name"] or found["bare"]
        if pattern is None:
            yield name, labels
            continue
        matching = [each for each in metrics if re.fullmatch(pattern, each)]
        yield from ((each, labels) for each in matching or [pattern])


def test_promtool_and_amtool_accept_everything() -> None:
    """Configuration, rules, and every case: each alarm fires where it must and not beside it."""
    if missing():
        running.missing("apt-get install prometheus prometheus-alertmanager")
    assert check_rules() == []


@pytest.mark.parametrize("name", ALARMS)
def test_an_alarm_says_what_is_wrong_and_what_to_do(name: str) -> None:
    alarm = ALARMS[name]
    assert re.fullmatch(r"Ebbwatch([A-Z][a-z]+)+", name)
    assert alarm.labels.keys() == {"severity"}
    assert alarm.labels["severity"] in SEVERITIES
    assert alarm.annotations.keys() == {"summary", "description", "runbook_url"}
    assert "First: " in alarm.annotations["description"]
    page = ROOT / alarm.annotations["runbook_url"]
    assert page.parent == ROOT / "docs/runbooks"
    assert f"`{name}`" in page.read_text().partition("## Meaning")[0]


@pytest.mark.parametrize("name", ALARMS)
def test_an_alarm_has_a_case_in_which_it_fires_and_a_near_miss(name: str) -> None:
    fires = [case for case in rules.cases() if case["name"].startswith(f"{name} fires ")]
    quiet = [case for case in rules.cases() if case["name"].startswith(f"{name} stays quiet ")]
    asked = f'ALERTS{{alertname="{name}",alertstate="firing"}}'
    looks = [look for case in fires + quiet for look in case["promql_expr_test"]]
    assert {look["expr"] for look in looks} == {asked}
    assert all(any("exp_samples" in x for x in case["promql_expr_test"]) for case in fires)
    assert not any("exp_samples" in x for case in quiet for x in case["promql_expr_test"])
    assert fires
    assert quiet


def test_no_case_is_of_an_unknown_alarm() -> None:
    assert {case["name"].partition(" ")[0] for case in rules.cases()} == {*ALARMS}


@pytest.mark.parametrize("name", ALARMS)
def test_the_texts_name_labels_that_the_alarm_has(name: str) -> None:
    """A label that is not there would be an empty place in the text that wakes someone."""
    used = set(re.findall(r"\$labels\.(\w+)", " ".join(ALARMS[name].annotations.values())))
    expected = [
        set(re.findall(r'(\w+)="', sample["labels"]))
        for case in rules.cases()
        if case["name"].startswith(f"{name} fires ")
        for look in case["promql_expr_test"]
        for sample in look.get("exp_samples", [])
    ]
    assert all(used <= labels for labels in expected)


def test_the_rules_use_metrics_and_labels_that_there_are() -> None:
    metrics = known()
    wrong = []
    for rule in rules.rules():
        chosen = list(selected(rule.expr, metrics))
        assert chosen, rule.name
        everything: set[str] = set()
        for name, labels in chosen:
            have = metrics.get(name)
            if have is None:
                wrong.append(f"{rule.name}: no metric {name}")
            elif labels - have:
                wrong.append(f"{rule.name}: {name} has no label {labels - have}")
            everything |= have or set()
        if grouped(rule.expr) - everything:
            wrong.append(f"{rule.name}: groups by {grouped(rule.expr) - everything}")
    assert not wrong, "\n".join(wrong)


def test_no_rule_adds_up_what_every_process_reports_alike() -> None:
    """The number of a database, from three processes, would be three times as large."""
    known = lint.known()
    wrong = [
        f"{rule.name}: {name}"
        for rule in rules.rules()
        for aggregation, name in lint.aggregated(COMMENT.sub("", rule.expr), known)
        if name in known.shared and aggregation not in {"max", "min"}
    ]
    assert not wrong


def test_a_sum_of_what_every_process_reports_alike_is_found() -> None:
    known = lint.known()
    names = "{__name__=~'ebbwatch_(ingest|alerts)_lag_records'}"
    expr = f"sum(ebbwatch_alerts_undelivered) > max by (job) ({names})"
    assert set(lint.aggregated(expr, known)) == {
        ("sum", "ebbwatch_alerts_undelivered"),
        ("max", "ebbwatch_ingest_lag_records"),
        ("max", "ebbwatch_alerts_lag_records"),
    }
    assert "ebbwatch_alerts_undelivered" in known.shared


def test_a_wrong_name_and_a_wrong_label_are_found() -> None:
    metrics = {"ebbwatch_x_total": {"job", "field"}, "ebbwatch_y_total": {"job"}}
    expr = 'sum by (job) (rate({__name__=~"ebbwatch_.+_total",field="a"}[5m])) > 1 # ebbwatch_z'
    assert list(selected(expr, metrics)) == [(name, {"field"}) for name in metrics]
    assert grouped(expr) == {"job"}
    assert list(selected('{__name__=~"ebbwatch_q"} and ebbwatch_x{a="b"} > up', metrics)) == [
        ("ebbwatch_q", set()),
        ("ebbwatch_x", {"a"}),
        ("up", set()),
    ]


def test_the_cases_use_series_as_the_services_have_them() -> None:
    """A case on a series that no service has would prove nothing."""
    metrics = known()
    for case in rules.cases():
        for series in case["input_series"]:
            ((name, labels),) = selected(series["series"], metrics)
            assert name in metrics, case["name"]
            assert labels <= metrics[name], case["name"]


def test_shortening_changes_times_only() -> None:
    for path in (*rules.RULES, rules.FOLDER / "alertmanager.yml"):
        whole = path.read_text()
        short = rules.shortened(whole)
        numbers = re.compile(r"\d+(ms|[smhd])\b|[\d.]+(?= # s$)", re.MULTILINE)
        assert numbers.sub("T", short) == numbers.sub("T", whole)
        assert short != whole


@pytest.mark.parametrize("name", ALARMS)
def test_an_age_that_is_waited_for_is_marked(name: str) -> None:
    """What is compared with an age in seconds has the mark `# s`, or the live run would wait."""
    for line in ALARMS[name].expr.splitlines():
        ages = re.search(r"_(age|oldest|oldest_due)_seconds[\w\"}) ]*[<>]=? ?[\d.]+", line)
        assert ages is None or line.endswith("# s"), line


def test_every_alarm_is_in_the_overview() -> None:
    page = (ROOT / "docs/alarms.md").read_text()
    assert re.findall(r"^\| `(Ebbwatch\w+)` \| (page|ticket|watchdog) \|", page, re.MULTILINE) == [
        (name, alarm.labels["severity"]) for name, alarm in ALARMS.items()
    ]
