"""A report as values, and its one self-contained HTML file.

Every report has the same layout and escapes its input. Only a `Plot` is trusted markup, and only
`plots.svg` makes one. Nothing is fetched: style and drawings are inside.

>>> page = Page("Model card", lead="Who will stay away?", sections=(
...     Section("Quality", (
...         Table(("model", "AUC"), (("recency", 0.81), ("LightGBM", None)), formats=("", ".3f")),
...     )),
... ))
>>> "<td class=\\"number\\">0.810</td>" in render(page)
True
"""

import os
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from jinja2 import Environment, FileSystemLoader, StrictUndefined
from markupsafe import Markup

from shared.report.plots import Svg
from shared.runtime.terminal import visible

Cell = str | float | int | bool | None

NOTHING: Final = "–"
"""Stands for None and NaN: undefined, which is not zero."""


@dataclass(frozen=True, slots=True)
class Table:
    """Rows of cells under named columns."""

    columns: Sequence[str]
    rows: Sequence[Sequence[Cell]]
    caption: str = ""
    formats: Sequence[str] = ()
    """A format spec per column, "" = as it is: `.3f`, `,.0f`, `.1%`. Numbers only."""
    strong: frozenset[int] = frozenset()
    """Indices of rows to set in bold: the chosen one."""
    right: frozenset[int] = frozenset()
    """Indices of columns with texts aligned to the right, like numbers."""
    stacked: bool = False
    """In a narrow window, each row becomes a list of names and values: for tables with sentences in
    them."""

    def __post_init__(self) -> None:
        """Raise ValueError when a row or the formats do not fit the columns."""
        for at, row in enumerate(self.rows):
            if len(row) != len(self.columns):
                raise ValueError(f"row {at} has {len(row)} cells, not {len(self.columns)}")
        if self.formats and len(self.formats) != len(self.columns):
            raise ValueError(f"{len(self.formats)} formats for {len(self.columns)} columns")

    def texts(self) -> list[list[tuple[str, bool]]]:
        """Return (text, is a number) of every cell."""
        formats = self.formats or [""] * len(self.columns)
        return [
            [
                (text, number or at in self.right)
                for at, (text, number) in enumerate(map(_text, row, formats))
            ]
            for row in self.rows
        ]


@dataclass(frozen=True, slots=True)
class Plot:
    """A drawing with a sentence that states what it shows."""

    svg: Svg
    caption: str = ""


@dataclass(frozen=True, slots=True)
class Text:
    """A paragraph; `note` sets it small and grey."""

    text: str
    note: bool = False


@dataclass(frozen=True, slots=True)
class Facts:
    """Names and values in two columns, for what a reader looks up."""

    facts: Sequence[tuple[str, Cell]]

    def texts(self) -> list[tuple[str, str]]:
        """Return (name, value) as text."""
        return [(name, _text(value, "")[0]) for name, value in self.facts]


@dataclass(frozen=True, slots=True)
class Row:
    """Plots side by side, wrapped where the window is narrow."""

    plots: Sequence[Plot]


@dataclass(frozen=True, slots=True)
class Tiles:
    """The few most important figures, large: (figure, what it is)."""

    tiles: Sequence[tuple[str, str]]


Block = Table | Plot | Text | Facts | Row | Tiles


@dataclass(frozen=True, slots=True)
class Section:
    """A heading and the blocks under it."""

    title: str
    blocks: Sequence[Block]


@dataclass(frozen=True, slots=True)
class Page:
    """A whole report."""

    title: str
    lead: str = ""
    sections: Sequence[Section] = field(default_factory=tuple)
    language: str = "en"
    """BCP 47 tag of the page's language: `en`, `zh-CN`."""
    foot: str = ""
    headline: str = ""
    """One large sentence under the title: the main result."""


LANGUAGE_NAMES: Final[Mapping[str, str]] = {"en": "English", "zh-CN": "简体中文"}
"""Names on the switch between languages, each in its own language."""


def render(page: Page, *others: Page) -> str:
    """Returns the page as HTML5. The same page gives the same text.

    `others` are the same page in other languages: a switch shows one at a time, without a script.
    """
    pages = [(one, LANGUAGE_NAMES.get(one.language, one.language)) for one in (page, *others)]
    return _TEMPLATE.render(pages=pages)


def write(page: Page, path: Path) -> None:
    """Write the page atomically: a reader sees the whole file or the old one. Creates folders."""
    path.parent.mkdir(parents=True, exist_ok=True)
    handle, temporary = tempfile.mkstemp(dir=path.parent, prefix=".", suffix=".part")
    try:
        with os.fdopen(handle, "w", encoding="utf-8") as file:
            file.write(render(page))
        Path(temporary).chmod(0o644)
        Path(temporary).replace(path)
    except BaseException:
        Path(temporary).unlink(missing_ok=True)
        raise


def _text(cell: Cell, spec: str) -> tuple[str, bool]:
    if cell is None or cell != cell:  # noqa: PLR0124 (NaN differs from itself)
        return NOTHING, True
    if isinstance(cell, str):
        return cell, False
    if isinstance(cell, bool):
        return "✓" if cell else "", False
    return format(cell, spec or (",d" if isinstance(cell, int) else ".4g")), True


_ENVIRONMENT = Environment(
    loader=FileSystemLoader(Path(__file__).parent),
    autoescape=True,
    undefined=StrictUndefined,
    finalize=lambda value: visible(value) if type(value) is str else value,
    trim_blocks=True,
    lstrip_blocks=True,
)
_ENVIRONMENT.filters["drawing"] = lambda svg: Markup(svg.markup)  # noqa: S704 (made by plots.svg)
_ENVIRONMENT.filters["kind"] = lambda block: type(block).__name__
_TEMPLATE = _ENVIRONMENT.get_template("page.html.jinja")
