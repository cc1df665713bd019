"""Renders the model card as a page: what was measured, on which customers, with curves.

One HTML file that a person reads to decide whether to trust the warnings. It draws the results of
`held_out`; it measures nothing new except the views by segment and lead time.
"""

from collections.abc import Mapping, Sequence
from typing import Any, Final

import numpy as np

from services.scoring.core.features.registry import FEATURES, column, feature_index
from services.scoring.reports.model_card_views import lead_times, segments, shap_spread
from services.scoring.training.data.panel import SUBSETS
from services.scoring.training.evaluation.figures import LAPSE_SHOWN, Found, instant
from services.scoring.training.evaluation.held_out import CHOSEN, HeldOutCutoff
from services.scoring.training.evaluation.protocols import SHOWN
from services.scoring.training.fit.blend import MODEL
from services.scoring.training.measures import curves
from shared.kernel.arrays import Flags, Floats
from shared.report.page import Block, Facts, Page, Plot, Row, Section, Table, Text
from shared.report.plots import bars, intervals, lines

DRAWN: Final = (CHOSEN, MODEL, "bg_nbd", "recency")
"""Models in the curves: more lines cannot be distinguished."""
MONEY: Final = "amount_decayed_365"
"""Weight of a customer in the gain in money: spending of about the last year."""
FORMATS: Final = ("", "", ".4f", ".4f", ".4f", ".4f", ".4f", ".3f")


def card_page(title: str, tested: Sequence[HeldOutCutoff], found: Found) -> Page:
    """Build the page of one evaluation."""
    days = found["horizon_days"]
    dates = ", ".join(instant(one.cutoff) for one in tested)
    seen = [one for one in tested if one.labelled]
    sections = [_meaning(days), _quality(found)]
    if seen:
        silent = np.concatenate([one.rows.silent for one in seen])
        p = {name: np.concatenate([one.predictions[name] for one in seen])
             for name in DRAWN if all(name in one.predictions for one in seen)}  # fmt: skip
        x = np.concatenate([one.rows.x for one in seen])
        sections += [
            Section("Is the probability right, and the order?", _curves(silent, p)),
            Section("What it finds", _gains(silent, p, x)),
            Section("By segment", (_segments(seen),)),
            Section("By cutoff", _by_cutoff(found)),
            Section("How early", _lead(seen, days)),
        ]
    sections += [*_explained(tested[-1]), _origin(tested, found)]
    return Page(
        title=f"Churn model card: {title}",
        lead=f"Who buys nothing for {days} days? Measured at {dates} on customers and days "
        "that were never trained on.",
        sections=sections,
        foot="Made by `python -m services.scoring evaluate`. Every figure is in metrics.json.",
    )


def _meaning(days: int) -> Section:
    return Section("What the score means", (
        Text(f"The score is the probability that a customer who has bought before buys nothing in "
             f"the {days} days from the cutoff on. It says nothing about why, and nothing about "
             "what a call would change. It was measured on past behaviour; a new season, shop or "
             "assortment may move its level first and its order last."),
        Text("all: at least one purchase · ge2: at least two purchase days · active: the last "
             "purchase within one horizon, where warnings are decided.", note=True),
    ))  # fmt: skip


def _quality(found: Found) -> Section:
    rows = [
        (subset, name, *(of[subset][measure] for measure in SHOWN))
        for subset in SUBSETS
        for name, of in found["mean"].items()
    ]
    chosen = frozenset(at for at, row in enumerate(rows) if row[1] == CHOSEN)
    if not rows:
        return Section("Quality", (Text("No cutoff's horizon has been observed to its end."),))
    table = Table(("customers", "model", *SHOWN), rows, formats=FORMATS, strong=chosen,
                  caption="Mean over the test cutoffs.")  # fmt: skip
    return Section("Quality", (table, *_lapse(found)))


def _lapse(found: Found) -> tuple[Block, ...]:
    """Show the lapse probability, which decides which customers are warned about."""
    rows = [
        (name, values["rows"], *(values[measure] for measure in LAPSE_SHOWN))
        for name, values in found["lapse"].items()
    ]
    if not rows:
        return ()
    return (
        Table(("lapse probability", "silences", *LAPSE_SHOWN), rows,
              caption="Will the present silence reach the customer's lapse length (four usual "
              "gaps, 28 to 180 days)? On silences that were no longer ordinary."),
    )  # fmt: skip


def _curves(silent: Flags, p: Mapping[str, Floats]) -> tuple[Block, ...]:
    reliability = {name: curves.reliability(silent, each) for name, each in p.items()}
    edge = max(float(np.max(xy)) for xy in reliability.values())
    diagonal = ([0.0, edge], [0.0, edge])
    return (
        Row((
            Plot(lines(reliability, title="Reliability", x_label="predicted probability",
                       y_label="share that went silent", reference=diagonal, markers=True),
                 "Each dot is a tenth of the customers; on the dashed line the number is right."),
            Plot(lines({name: curves.roc(silent, each) for name, each in p.items()},
                       title="ROC", x_label="false positive rate", y_label="true positive rate",
                       reference=([0, 1], [0, 1]))),
            Plot(lines({name: curves.precision_recall(silent, each) for name, each in p.items()},
                       title="Precision and recall", x_label="share of the silent found (recall)",
                       y_label="share of warnings that come true")),
        )),
    )  # fmt: skip


def _gains(silent: Flags, p: Mapping[str, Floats], x: Floats) -> tuple[Block, ...]:
    ones = np.ones(len(silent))
    plots = [
        Plot(lines({name: curves.gain(silent, each, ones) for name, each in p.items()},
                   title="Gain in customers", x_label="share of customers looked at",
                   y_label="share of the silent found", reference=([0, 1], [0, 1])),
             "Riskiest first. The dashed line is a blind choice.")
    ]  # fmt: skip
    money = np.nan_to_num(column(x, MONEY))
    if float((money * silent).sum()) <= 0.0:
        return (Row(plots), Text("No amounts in the file: no gain in money.", note=True))
    by_money = {name: curves.gain(silent, each * money, money) for name, each in p.items()}
    plots.append(
        Plot(lines(by_money, title="Gain in money", x_label="share of customers looked at",
                   y_label="share of the lost spending found", reference=([0, 1], [0, 1])),
             "By probability x spending of about the last year.")
    )  # fmt: skip
    return (Row(plots),)


def _segments(seen: Sequence[HeldOutCutoff]) -> Table:
    rows = segments(seen)
    return Table(
        ("segment", "rows", "went silent", "predicted", "AUC", "log loss", "AUC bg_nbd"), rows,
        formats=("", ",d", ".3f", ".3f", ".4f", ".4f", ".4f"),
        caption="The chosen score, all test cutoffs together.",
    )  # fmt: skip


def _by_cutoff(found: Found) -> tuple[Block, ...]:
    seen = [one for one in found["cutoffs"] if one["labels_observed"]]
    rows = [
        (one["cutoff"], one["customers"], one["models"][CHOSEN]["all"]["base_rate"],
         *(one["models"][CHOSEN]["all"][m] for m in ("roc_auc", "log_loss", "ece")),
         one["chosen"]["model"])
        for one in seen
    ]  # fmt: skip
    table = Table(("cutoff", "customers", "went silent", "AUC", "log loss", "ECE", "would serve"),
                  rows, formats=("", ",d", ".3f", ".4f", ".4f", ".4f", ""))  # fmt: skip
    at = np.array([one["cutoff"] for one in seen], dtype="datetime64[m]")
    if len(seen) < 2:  # noqa: PLR2004 (a line needs two)
        return (table,)
    plots = [
        Plot(lines({name: (at, [one["models"][name]["all"][measure] for one in seen])
                    for name in DRAWN if all(name in one["models"] for one in seen)},
                   title=title, x_label="test cutoff", y_label=title, markers=True))
        for measure, title in (("roc_auc", "AUC"), ("log_loss", "Log loss"))
    ]  # fmt: skip
    return (table, Row(plots))


def _lead(seen: Sequence[HeldOutCutoff], days: int) -> tuple[Block, ...]:
    return (
        Text("Of the active customers whose score reaches a threshold: how many, how often the "
             f"warning came true (nothing bought for {days} days), and how many days before the "
             "next purchase was due by their own rhythm. Negative: after it was due."),
        Table(("score from", "warnings", "share of active", "came true", "days early, median",
               "early quarter", "late quarter", "before it was due"), lead_times(seen),
              formats=(".2f", ",d", ".1%", ".1%", ".1f", ".1f", ".1f", ".1%")),
    )  # fmt: skip


def _explained(last: HeldOutCutoff) -> list[Section]:
    if last.trained is None:
        return []
    importance, spread = last.trained.report.importance, shap_spread(last)
    if not importance or not spread:
        return []
    meanings = [(name, FEATURES[feature_index[name]].meaning) for name in spread]
    return [
        Section("What the trees look at", (
            Row((
                Plot(bars(importance, title="Importance", x_label="share of the total gain")),
                Plot(intervals(spread, title="SHAP: how far it moves a score",
                               x_label="log-odds, 5 % to 95 % of customers", reference=0.0),
                     "Right: raises the risk. The dot is the median customer."),
            )),
            Facts(meanings),
        ))
    ]  # fmt: skip


def _origin(tested: Sequence[HeldOutCutoff], found: Found) -> Section:
    last, training = tested[-1], found["cutoffs"][-1]["training"]
    notes: dict[str, Any] = found["events"]
    facts: list[tuple[str, Any]] = [
        (name.replace("_", " "), value) for name, value in notes.items()
    ]
    facts += [
        ("training cutoffs", f"{len(training['cutoffs'])}: {_ends(training['cutoffs'])}"),
        ("training rows", training["rows"]),
        ("trees", training["trees"]),
        ("trees chosen by", training["trees_chosen_by"]),
        ("would serve", last.name),
        ("because", "; ".join(last.decisions)),
    ]
    if last.trained is not None:
        fitted = last.trained.fitted
        facts.append(("chosen", fitted.choice.reason))
        facts += [(name, str(value)) for name, value in fitted.parameters.items()]
    return Section(f"Where it comes from (at {instant(last.cutoff)})", (Facts(facts),))


def _ends(dates: Sequence[str]) -> str:
    return f"{dates[0]} to {dates[-1]}" if dates else "none"
