"""Renders the backtest as one HTML page for a manager, in both languages; it computes nothing.

The first screen shows how many lapses were noticed in time, what a plain rule would have done and
which customers are at risk today; the rest explains it. The page needs no network and no script.
"""

from collections.abc import Mapping, Sequence
from datetime import timedelta
from typing import Final

import numpy as np

from deploy.backtest.result import AtRisk, Quality, Result, WarningEntry
from deploy.backtest.words import cause_word, day, days, grade_word, say
from services.alerts.core.wording.catalogue import sentence
from services.alerts.core.wording.numbers import LANGUAGES, Language, number
from shared.contracts.risk import Reason
from shared.report.page import (
    NOTHING,
    Block,
    Cell,
    Facts,
    Page,
    Plot,
    Section,
    Table,
    Text,
    Tiles,
)
from shared.report.page import render as as_html
from shared.report.plots import lines

AT_RISK_MAX: Final = 50
"""Customers shown: more than a team calls in a day."""
WARNED_MAX: Final = 200
"""Warnings shown, so that a browser opens the page at once; all are in the CSV."""
MISSED_MAX: Final = 50
"""VIPs shown: if more were missed, single ones no longer matter."""
NAME_MAX: Final = 60
"""Characters of a customer's id that are shown."""
UNUSED_MAX: Final = 20
"""Unused columns that are named: enough to find one that was meant."""
WARNINGS_FILE: Final = "warnings.csv"
JSON_FILE: Final = "backtest.json"
_MEASURES: Final[Mapping[str, str]] = {
    "warned": ",d",
    "budget": ",.1f",
    "noticed": ",d",
    "recall": ".0%",
    "value_recall": ".0%",
    "precision": ".0%",
    "precision_in_time": ".0%",
    "lead_days": ",.1f",
    "at_gaps": ",.1f",
}
"""Rows of the comparison, with the format of each."""


def render(result: Result) -> str:
    """Returns the page as HTML5, English first. The same result gives the same text."""
    english, *others = (_page(result, language) for language in LANGUAGES)
    return as_html(english, *others)


def _page(result: Result, language: Language) -> Page:
    blocks = {
        "": _tiles(result, language),
        "rule_section": _comparison(result, language),
        "today": _today(result, language),
        "vips": _missed(result, language),
        "grades": _grades(result, language),
        "causes": _causes(result, language),
        "weeks": _weeks(result, language),
        "levels": _levels(result, language),
        "list": _warned(result, language),
        "file": _file(result, language),
        "method": _method(language),
    }
    begin, last = day(result.begin, language), day(result.end - timedelta(days=1), language)
    return Page(
        title=say("title", language, result.title),
        headline=_headline(result, language),
        lead=say("lead", language, begin=begin, last=last),
        sections=[
            Section(say(name, language) if name else "", some)
            for name, some in blocks.items()
            if some
        ],
        language=language,
    )


def _headline(result: Result, language: Language) -> str:
    if not result.lapses:
        return say("headline_without_lapses", language)
    counts = {"noticed": result.ours.noticed, "lapses": result.lapses}
    if result.ours.lead_days is None:
        return say("headline_without_days", language, **counts)
    return say("headline", language, **counts, days=days(result.ours.lead_days, language))


def _tiles(result: Result, language: Language) -> list[Block]:
    shares = {
        "tile_recall": result.ours.recall,
        "tile_value": result.ours.value_recall,
        "tile_precision": result.ours.precision,
    }
    tiles = [(f"{share:.0%}", say(name, language)) for name, share in shares.items()
             if share is not None]  # fmt: skip
    count = len(result.at_risk)
    stake = sum(one.value_at_risk for one in result.at_risk)
    if stake > 0:
        tiles.append((_money(stake, result.currency), say("tile_risk", language, count)))
    else:
        tiles.append((f"{count:,}", say("tile_risk_count", language)))
    return [Tiles(tiles)]


def _comparison(result: Result, language: Language) -> list[Block]:
    """Compares our figures with the plain rule's, one measure a row."""
    blocks: list[Block] = []
    if result.lapses:
        more = result.ours.noticed - result.rule.noticed
        name = "rule_better" if more > 0 else "rule_worse" if more < 0 else "rule_same"
        values = {"gaps": number(result.rule_gaps), "rule": result.rule.noticed,
                  "lapses": result.lapses, "more": abs(more)}  # fmt: skip
        blocks.append(Text(say(name, language, **values)))
    rows = [
        (say(name, language), _figure(result.ours, name, form), _figure(result.rule, name, form))
        for name, form in _MEASURES.items()
    ]
    heads = ("", say("ours", language), say("rule", language))
    return [*blocks, Table(heads, rows, right=frozenset({1, 2}))]


def _figure(quality: Quality, name: str, form: str) -> str:
    value = getattr(quality, name)
    return NOTHING if value is None else format(value, form)


def _today(result: Result, language: Language) -> list[Block]:
    if not result.at_risk:
        return [Text(say("today_none", language))]
    worst = sorted(result.at_risk, key=lambda one: (-one.value_at_risk, one.customer))
    rows: list[list[Cell]] = [
        [_name(one.customer), grade_word(one.grade, language), round(one.silent_days),
         one.usual_gap_days, one.probability, one.value_at_risk, _why(one, result, language)]
        for one in worst[:AT_RISK_MAX]
    ]  # fmt: skip
    heads = ("customer", "grade", "silent", "gap", "probability", "at_stake", "why")
    table = Table(
        _heads(heads, result, language),
        rows,
        formats=("", "", ",d", ",.1f", ".0%", ",.0f", ""),
        stacked=True,
    )
    text = Text(say("today_text", language, day(result.today, language)))
    return [text, table, *_cut(AT_RISK_MAX, len(worst), JSON_FILE, language)]


def _missed(result: Result, language: Language) -> list[Block]:
    if not result.vips_missed:
        return [Text(say("vips_none", language))]
    most = sorted(result.vips_missed, key=lambda one: (-(one.spent_before or 0.0), one.customer))
    rows: list[list[Cell]] = [
        [_name(one.customer), one.lapsed_at.isoformat(), one.spent_before]
        for one in most[:MISSED_MAX]
    ]
    heads = _heads(("customer", "lapsed_at", "spent"), result, language)
    table = Table(heads, rows, formats=("", "", ",.0f"), right=frozenset({1}))
    return [table, *_cut(MISSED_MAX, len(most), JSON_FILE, language)]


def _grades(result: Result, language: Language) -> list[Block]:
    if not result.grades:
        return []
    rows: list[list[Cell]] = [
        [grade_word(one.grade, language), one.customers, one.warned, one.lapses, one.noticed,
         one.noticed / one.lapses if one.lapses else None, one.value_recall,
         one.precision_in_time]
        for one in result.grades
    ]  # fmt: skip
    heads = ("grade", "customers", "warned", "lapses", "in_time", "recall", "value_recall",
             "precision_in_time")  # fmt: skip
    formats = ("", ",d", ",d", ",d", ",d", ".0%", ".0%", ".0%")
    return [Table(_heads(heads, result, language), rows, formats=formats)]


def _causes(result: Result, language: Language) -> list[Block]:
    if not result.causes:
        return []
    rows: list[list[Cell]] = [
        [cause_word(one.cause, language), one.warnings, one.precision, one.precision_in_time,
         one.lead_days]
        for one in result.causes
    ]  # fmt: skip
    heads = ("cause", "warned", "precision", "precision_in_time", "days_before")
    formats = ("", ",d", ".0%", ".0%", ",.1f")
    return [Table(_heads(heads, result, language), rows, formats=formats)]


def _weeks(result: Result, language: Language) -> list[Block]:
    if not result.weeks:
        return []
    begins = np.array([one.begin for one in result.weeks], dtype="datetime64[D]")
    series = {
        say("all", language): (begins, np.array([one.warnings for one in result.weeks])),
        say("came_true", language): (begins, np.array([one.came_true for one in result.weeks])),
    }
    drawing = lines(
        series,
        title=say("warned", language),
        x_label=say("week", language),
        y_label="",
        markers=True,
        y_range=(0.0, 1.1 * max(1, *(one.warnings for one in result.weeks))),
    )
    return [Plot(drawing)]


def _levels(result: Result, language: Language) -> list[Block]:
    if not result.levels:
        return []
    levels = sorted(result.levels, key=lambda one: one.budget)
    measures = ("precision", "recall", "value_recall")
    rows: list[list[Cell]] = [
        [one.budget, one.warnings, *(getattr(one, name) for name in measures)] for one in levels
    ]
    chosen = frozenset(at for at, one in enumerate(levels) if one.chosen)
    table = Table(
        _heads(("budget", "warned", *measures), result, language),
        rows,
        formats=(",.1f", ",d", ".0%", ".0%", ".0%"),
        strong=chosen,
    )
    budgets = [one.budget for one in levels]
    series = {
        say(name, language): (budgets, [_or_nan(getattr(one, name)) for one in levels])
        for name in measures
    }
    drawing = lines(
        series,
        title=say("share", language),
        x_label=say("budget", language),
        y_label="",
        markers=True,
        y_range=(0.0, 1.05),
    )
    return [Text(say("levels_text", language)), table, Plot(drawing)]


def _warned(result: Result, language: Language) -> list[Block]:
    if not result.warned:
        return [Text(say("list_none", language))]
    rows: list[list[Cell]] = [
        [_name(one.customer), f"{one.at:%Y-%m-%d}", cause_word(one.cause, language),
         _why(one, result, language), one.probability, one.value_at_risk, _then(one, language)]
        for one in result.warned[:WARNED_MAX]
    ]  # fmt: skip
    heads = ("customer", "at", "cause", "why", "probability", "at_stake", "then")
    formats = ("", "", "", "", ".0%", ",.0f", "")
    table = Table(
        _heads(heads, result, language),
        rows,
        formats=formats,
        right=frozenset({1}),
        stacked=True,
    )
    return [table, *_cut(WARNED_MAX, len(result.warned), WARNINGS_FILE, language)]


def _then(one: WarningEntry, language: Language) -> str:
    if one.outcome == "open":
        return say("open", language)
    if one.outcome_at is None:
        return say(f"{one.outcome}_unknown", language)
    return say(one.outcome, language, one.outcome_at.isoformat())


def _file(result: Result, language: Language) -> list[Block]:
    """Lists what was assumed about the file, and what was left out."""
    read = result.read
    delimiter = say("tab", language) if read.delimiter == "\t" else read.delimiter
    span = " – ".join(at[:10] for at in (read.first, read.last) if at)
    found: dict[str, Cell] = {
        "file_name": read.file,
        "columns": ", ".join(f"{name} = {header}" for name, header in read.columns.items()),
        "unused": ", ".join(read.unused[:UNUSED_MAX]) + ("…" if read.unused[UNUSED_MAX:] else ""),
        "encoding": read.encoding,
        "delimiter": delimiter,
        "date_order": read.date_order and say(read.date_order, language),
        "decimal": read.decimal and say(read.decimal, language),
        "currency": result.currency or None,
        "span": span,
        "rows": read.rows,
        "events": read.events,
        "purchases": read.purchases,
        "customers": result.customers,
        "established": result.established,
        "amounts_known": f"{read.amounts_known:.0%}",
        "without_customer": read.without_customer or None,
        "repeated": read.repeated or None,
        "joined": read.joined or None,
    }
    facts = [(say(name, language), cell) for name, cell in found.items() if cell not in (None, "")]
    return [Facts(facts), *(Text(say(code, language)) for code in read.assumed)]


def _method(language: Language) -> list[Block]:
    return [Text(say(f"method_{name}", language)) for name in ("lost", "in_time", "rule")]


def _why(one: AtRisk | WarningEntry, result: Result, language: Language) -> str:
    reason = Reason(code=one.cause, impact=0.0, facts=one.facts)
    return sentence(reason, language, result.currency).strip()


def _heads(names: Sequence[str], result: Result, language: Language) -> list[str]:
    unit = f" ({result.currency})" if result.currency else ""
    return [say(n, language) + (unit if n in {"at_stake", "spent"} else "") for n in names]


def _cut(most: int, count: int, file: str, language: Language) -> list[Block]:
    if count <= most:
        return []
    return [Text(say("cut", language, shown=most, all=count, file=file), note=True)]


def _name(customer: str) -> str:
    return customer if len(customer) <= NAME_MAX else customer[: NAME_MAX - 1] + "…"


def _money(value: float, currency: str) -> str:
    return f"{value:,.0f} {currency}".strip()


def _or_nan(value: float | None) -> float:
    return np.nan if value is None else value
