"""Renders the effect report as one HTML page with plots; it computes nothing."""

from collections.abc import Mapping
from math import isnan

import numpy as np

from services.alerts.core.effect import Effect
from services.alerts.core.intervals import Interval
from services.alerts.core.wording.effect import claim_text, word
from services.alerts.core.wording.numbers import Language
from services.alerts.handlers.measure_effect import EffectReport
from shared.report.page import Block, Cell, Facts, Page, Plot, Section, Table, Text, render
from shared.report.plots import intervals, lines


def effect_page(report: EffectReport, language: Language) -> str:
    """Return the report as HTML, in a language."""
    whole = report.whole
    summary: list[Block] = [
        Text(claim_text(whole.claim, language)),
        _arms(whole, language),
        Facts(
            [
                (word("policy", language), report.policy),
                (word("uplift", language), _points(whole.uplift)),
                (word("interval", language), _range(whole.interval)),
                (word("anytime", language), _range(whole.anytime)),
                (word("revenue_uplift", language), _money(whole)),
                (word("saved", language), None if whole.saved is None else round(whole.saved)),
                (word("waiting", language), report.unmeasured),
            ]
        ),
    ]
    sections = [Section(word("summary", language), summary)]
    if len(report.growth) > 1:
        sections.append(Section(word("over_time", language), [_over_time(report, language)]))
    if report.learned is not None:
        sections.append(Section(word("single", language), _single(report, language)))
    sections += [
        Section(word(dimension, language), _part(groups, language))
        for dimension, groups in report.parts.items()
        if groups
    ]
    return render(
        Page(
            title=word("title", language),
            lead=word("lead", language),
            sections=(*sections, Section("", [Text(word("looks", language), note=True)])),
            language=language,
            foot=word("method", language),
        )
    )


def _arms(effect: Effect, language: Language) -> Table:
    rows: list[list[Cell]] = [
        [
            word(name, language),
            arm.n,
            arm.returned,
            arm.rate,
            _range(arm.interval),
            arm.revenue_mean,
        ]
        for name, arm in (("treated", effect.treated), ("held_out", effect.held_out))
    ]
    names = ("customers", "returned", "rate", "interval", "revenue")
    return Table(
        ["", *(word(name, language) for name in names)],
        rows,
        formats=("", ",d", ",d", ".1%", "", ",.2f"),
    )


def _part(groups: Mapping[str, Effect], language: Language) -> list[Block]:
    names = ("group", "treated", "held_out", "uplift", "interval", "claim")
    rows: list[list[Cell]] = [
        [
            name,
            effect.treated.n,
            effect.held_out.n,
            _points(effect.uplift),
            _range(effect.interval),
            claim_text(effect.claim, language),
        ]
        for name, effect in groups.items()
    ]
    blocks: list[Block] = [
        Table([word(n, language) for n in names], rows, formats=("", ",d", ",d", "", "", ""))
    ]
    drawn = {
        name: (effect.interval.low, effect.uplift, effect.interval.high)
        for name, effect in groups.items()
        if effect.uplift is not None and effect.claim != "not_enough_data"
    }
    if drawn:
        blocks.append(
            Plot(
                intervals(
                    drawn,
                    title=word("uplift", language),
                    x_label=word("uplift_axis", language),
                    reference=0.0,
                )
            )
        )
    return blocks


def _over_time(report: EffectReport, language: Language) -> Plot:
    """Plot the difference at the end of each month."""
    return Plot(
        intervals(
            {f"{p.at:%Y-%m}": (p.anytime.low, p.uplift, p.anytime.high) for p in report.growth},
            title=word("anytime", language),
            x_label=word("uplift_axis", language),
            reference=0.0,
        )
    )


def _single(report: EffectReport, language: Language) -> list[Block]:
    """Return what was learned about single customers, with the Qini curve of its test."""
    if report.learned is None:
        return []
    known = report.learned.fit
    blocks: list[Block] = [Text(word(known.decision, language))]
    facts: list[tuple[str, Cell]] = [(word("trials", language), known.trials)]
    gate = known.gate
    if gate is not None:
        shown = f"{gate.advantage:+.4f} ({gate.low:+.4f} … {gate.high:+.4f})"
        facts += [(word("tested", language), gate.subjects), (word("advantage", language), shown)]
    blocks.append(Facts([*facts, (word("withheld", language), report.withheld)]))
    if gate is not None:
        share = np.linspace(0.0, 1.0, len(gate.learned.gain))
        curves = {
            word(name, language): (share, 100 * np.array(curve.gain))
            for name, curve in (("qini_learned", gate.learned), ("qini_rate", gate.rate))
        }
        blocks += [
            Plot(
                lines(
                    curves,
                    title=word("qini_title", language),
                    x_label=word("qini_x", language),
                    y_label=word("qini_y", language),
                    reference=([0.0, 1.0], [0.0, 100 * gate.learned.gain[-1]]),
                )
            ),
            Text(word("qini_note", language), note=True),
        ]
    return blocks


def _points(value: float | None) -> str | None:
    return None if value is None else f"{value:+.1%}"


def _range(interval: Interval) -> str | None:
    if isnan(interval.low):
        return None
    return f"{interval.low:+.1%} … {interval.high:+.1%}".replace("+", "")


def _money(effect: Effect) -> str | None:
    low, high = effect.revenue_interval
    if effect.revenue_uplift is None or isnan(low):
        return None
    return f"{effect.revenue_uplift:+,.2f} ({low:,.2f} … {high:,.2f})"
