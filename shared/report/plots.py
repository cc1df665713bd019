"""Drawings for reports as inline SVG: lines, bars, dots with intervals.

All reports share one style. Text stays text (`svg.fonttype: none`), so that it can be selected,
searched and read aloud, in any script. Deterministic; for one thread at a time (matplotlib's
settings are global). This module never computes what it draws.

>>> gain = lines({"model": ([0, 1], [0, 1])}, title="Gain", x_label="share", y_label="found")
>>> gain.markup.startswith("<svg") and "Gain" in gain.markup
True
"""

import hashlib
import io
import re
import warnings
from collections.abc import Collection, Mapping
from contextlib import AbstractContextManager
from dataclasses import dataclass
from html import escape
from typing import Any, Final

import matplotlib as mpl
import numpy as np
from matplotlib import dates
from matplotlib.figure import Figure
from numpy.typing import ArrayLike

PALETTE: Final = ("#0b6e99", "#d9822b", "#4c9f70", "#8d5fa8", "#b5495b", "#7a8794")
"""Distinguishable with the common colour blindnesses; the last is for references only."""
LEGEND_INSIDE_MAX: Final = 4
"""Largest number of lines with room for a legend inside."""
DATES_MAX: Final = 5
"""Dates under an axis: more would touch."""
SIZE: Final = (5.2, 3.6)
"""Width and height in inches: two fit side by side on a laptop."""

NAME_LENGTH_MAX: Final = 40
"""Characters of a name beside a bar: more leaves no room for the bar."""

_CONTROL: Final = re.compile(
    "[\x00-\x1f\x7f-\x9f\u202a-\u202e\u2066-\u2069\ud800-\udfff\ufffe\uffff]"
)
"""Characters that no document may contain, and those that reverse the text direction."""

_STYLE: Final[Any] = {
    "svg.fonttype": "none",
    "text.parse_math": False,  # a name with `$` is a name, and no formula
    "font.family": "sans-serif",
    "font.size": 9.5,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.edgecolor": "#98a4b1",
    "axes.labelcolor": "#3d4b5a",
    "axes.titlesize": 11,
    "axes.titleweight": "bold",
    "axes.titlelocation": "left",
    "axes.grid": True,
    "axes.axisbelow": True,
    "grid.color": "#e6ebf0",
    "xtick.color": "#5d6b7a",
    "ytick.color": "#5d6b7a",
    "legend.frameon": False,
    "figure.constrained_layout.use": True,
}


@dataclass(frozen=True, slots=True)
class Svg:
    """Trusted markup, made by `svg` alone."""

    markup: str


Points = tuple[ArrayLike, ArrayLike]


def lines(
    series: Mapping[str, Points],
    *,
    title: str,
    x_label: str,
    y_label: str,
    reference: Points | None = None,
    markers: bool = False,
    y_range: tuple[float, float] | None = None,
) -> Svg:
    """One line for each named series (x, y); `reference` is dashed and grey, without a name.

    Where all x are datetime64 they are shown as dates.
    """
    with styled():
        figure, axes = canvas(title, x_label, y_label)
        if reference is not None:
            axes.plot(*reference, color=PALETTE[-1], linestyle="--", linewidth=1)
        for at, (name, (x, y)) in enumerate(series.items()):
            color = PALETTE[at % len(PALETTE)]
            marker = "o" if markers else None
            axes.plot(
                x, y, label=labelled(name), color=color, linewidth=1.8, marker=marker, markersize=4
            )
        if y_range is not None:
            axes.set_ylim(*y_range)
        kinds = {np.asarray(x).dtype.kind for x, _ in series.values()}
        if kinds == {"i"}:
            axes.xaxis.get_major_locator().set_params(integer=True)
        if kinds == {"M"}:
            calendar: Any = dates  # untyped
            ticks = calendar.AutoDateLocator(minticks=3, maxticks=DATES_MAX)
            axes.xaxis.set_major_locator(ticks)
            axes.xaxis.set_major_formatter(calendar.DateFormatter("%Y-%m-%d"))
        if len(series) > 1:
            # Beside five lines no place within the axes is free.
            crowded = len(series) > LEGEND_INSIDE_MAX
            legend = figure.legend if crowded else axes.legend
            legend(**({"loc": "outside lower center", "ncols": 2} if crowded else {}))
    return svg(figure, f"{title}: {', '.join(series)}")


def bars(
    values: Mapping[str, float],
    *,
    title: str,
    x_label: str,
) -> Svg:
    """Draw horizontal bars, the first on top: names of any length stay readable."""
    with styled():
        figure, axes = canvas(title, x_label, "", height=_height(len(values)))
        axes.barh(range(len(values)), list(values.values()), color=PALETTE[0], height=0.7)
        _name_rows(axes, values)
    return svg(figure, f"{title}: {', '.join(values)}")


def intervals(
    values: Mapping[str, tuple[float, float, float]],
    *,
    title: str,
    x_label: str,
    reference: float | None = None,
) -> Svg:
    """Draw a dot with its interval, (low, value, high), for each name; the first on top."""
    with styled():
        figure, axes = canvas(title, x_label, "", height=_height(len(values)))
        for at, (low, value, high) in enumerate(values.values()):
            axes.plot([low, high], [at, at], color=PALETTE[0], linewidth=2, alpha=0.5)
            axes.plot([value], [at], color=PALETTE[0], marker="o", markersize=5)
        _name_rows(axes, values, reference)
    return svg(figure, f"{title}: {', '.join(values)}")


def _name_rows(axes: Any, names: Collection[str], reference: float | None = None) -> None:
    """Names the rows of a drawing, the first on top; `reference` is a dashed line across them."""
    axes.set_yticks(range(len(names)), [labelled(name) for name in names])
    axes.invert_yaxis()
    axes.grid(axis="y", visible=False)
    if reference is not None:
        axes.axvline(reference, color=PALETTE[-1], linestyle="--", linewidth=1)


def labelled(name: str) -> str:
    """Returns a name as drawings show it: without control characters, and cut to fit.

    >>> labelled("a\\x1b b" + "c" * 100)
    'a  bccccccccccccccccccccccccccccccccccc…'
    """
    shown = _CONTROL.sub(" ", name)
    if len(shown) > NAME_LENGTH_MAX:
        shown = shown[: NAME_LENGTH_MAX - 1] + "…"
    # A legend leaves out what begins with an underscore.
    return f"\N{HAIR SPACE}{shown}" if shown.startswith("_") else shown


def canvas(
    title: str, x_label: str, y_label: str, *, height: float = SIZE[1]
) -> tuple[Figure, Any]:
    """Returns an empty figure and its axes, for drawings that this module does not offer.

    Make it and draw on it within `styled()`, then call `svg`.
    """
    figure = Figure(figsize=(SIZE[0], height))
    axes = figure.subplots()
    axes.set_title(title)
    axes.set_xlabel(x_label)
    axes.set_ylabel(y_label)
    return figure, axes


def styled() -> AbstractContextManager[None]:
    """Returns a context in which matplotlib uses the reports' style."""
    return mpl.rc_context(_STYLE)


def svg(figure: Figure, description: str) -> Svg:
    """Returns the figure as one `<svg>` element; screen readers read `description` in its place."""
    # Salted by the description, so that two drawings on one page do not share an id.
    salt = hashlib.sha256(description.encode("utf-8", "replace")).hexdigest()[:16]
    out = io.StringIO()
    with mpl.rc_context({**_STYLE, "svg.hashsalt": salt}), warnings.catch_warnings():
        # The reader's browser has the glyphs; the layout only measures them.
        warnings.filterwarnings("ignore", message="Glyph .* missing")
        figure.savefig(out, format="svg", metadata={"Date": None, "Creator": None})
    markup = out.getvalue()
    markup = markup[markup.index("<svg") :].strip()
    label = escape(_CONTROL.sub(" ", description), quote=True)
    return Svg(markup.replace("<svg", f'<svg role="img" aria-label="{label}"', 1))


def _height(rows: int) -> float:
    return max(1.6, 0.27 * rows + 1.0)
