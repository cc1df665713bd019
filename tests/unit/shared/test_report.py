"""Reports: escaped, self-contained, the same every time."""

import doctest
import re
from pathlib import Path

import numpy as np
import pytest

from shared.report import page as pages
from shared.report import plots
from shared.report.page import Facts, Page, Plot, Row, Section, Table, Text, Tiles, render, write
from shared.report.plots import bars, intervals, lines


def report() -> Page:
    drawing = lines(
        {"a & <b>": ([0, 1], [0, 1]), "流失": ([0, 1], [1, 0])},
        title="可靠性", x_label="predicted", y_label="observed", reference=([0, 1], [0, 1]),
    )  # fmt: skip
    return Page(
        "Card <1>",
        lead="<script>alert(1)</script>",
        sections=(
            Section(
                "Figures & facts",
                (
                    Text("a < b"),
                    Text("small print", note=True),
                    Facts((("rows", 1234567), ("seed", "x<y"), ("share", float("nan")))),
                    Table(("name", "value"), (("<i>", 0.12345), ("none", None)),
                          formats=("", ".2%"), caption="c", strong=frozenset({0})),
                ),
            ),
            Section("Drawings", (Plot(drawing, "see"), Row((Plot(drawing), Plot(drawing))))),
            Section("Bars", (
                Plot(bars({"gap": 0.4, "silence": 0.3}, title="Gain", x_label="x")),
                Plot(intervals({"all": (0.1, 0.2, 0.3)}, title="AUC", x_label="y", reference=0)),
            )),
        ),
        language="zh-CN",
        foot="made by test",
    )  # fmt: skip


@pytest.mark.parametrize("module", [pages, plots])
def test_the_examples_in_the_docstrings_run(module: object) -> None:
    found = doctest.testmod(module)  # type: ignore[arg-type]
    assert found.attempted > 0
    assert found.failed == 0


def test_texts_of_a_page_are_escaped() -> None:
    html = render(report())
    assert "<script" not in html
    assert "&lt;script&gt;" in html
    assert "Card &lt;1&gt;" in html
    assert "<td>&lt;i&gt;</td>" in html
    assert "<dd>x&lt;y</dd>" in html
    assert "<b>" not in html


def test_numbers_have_the_requested_format_and_a_missing_one_is_no_zero() -> None:
    html = render(report())
    assert '<td class="number">12.35%</td>' in html
    assert '<td class="number">–</td>' in html
    assert "<dd>1,234,567</dd>" in html
    assert "<dd>–</dd>" in html


def test_nothing_is_fetched_and_text_stays_text() -> None:
    html = render(report())
    links = re.findall(r"""(?:src|href)="([^"]*)"|url\(([^)]*)\)""", html)
    assert links
    assert all((link or url).startswith("#") for link, url in links)
    assert "@import" not in html
    assert ">可靠性</text>" in html
    assert 'lang="zh-CN"' in html


def test_the_same_report_is_the_same_text() -> None:
    assert render(report()) == render(report())


def test_a_table_that_does_not_fit_is_refused() -> None:
    with pytest.raises(ValueError, match="row 1 has 1 cells, not 2"):
        Table(("a", "b"), ((1, 2), (1,)))
    with pytest.raises(ValueError, match="1 formats for 2"):
        Table(("a", "b"), ((1, 2),), formats=(".1f",))


def test_a_page_is_written_whole_and_over_the_old_one(tmp_path: Path) -> None:
    path = tmp_path / "new" / "card.html"
    for title in ("one", "two"):
        write(Page(title), path)
    assert "<h1>two</h1>" in path.read_text()
    assert [found.name for found in path.parent.iterdir()] == ["card.html"]


def test_languages_are_switched_without_a_script() -> None:
    english = Page("Report", headline="Most stayed.", sections=(Section("A", (Text("one"),)),))
    chinese = Page("报告", sections=(Section("甲", (Text("一"),)),), language="zh-CN")
    html = render(english, chinese)
    assert re.findall(r'<main class="(l\d)" lang="([^"]+)">', html) == [
        ("l1", "en"),
        ("l2", "zh-CN"),
    ]
    assert '<label for="l2" lang="zh-CN">简体中文</label>' in html
    assert html.count(" checked>") == 1
    assert 'id="s1"' in html
    assert 'id="l2-s1"' in html
    assert "<script" not in html
    assert "radio" not in render(english)
    assert '<p class="headline">Most stayed.</p>' in render(english)


def test_tiles_and_tables_for_narrow_windows() -> None:
    table = Table(("who", "when"), (("a<b", "2024-01-02"),), right=frozenset({1}), stacked=True)
    html = render(Page("Report", sections=(Section("", (Tiles((("88%", "of <all>"),)), table)),)))
    assert "<strong>88%</strong><span>of &lt;all&gt;</span>" in html
    assert '<td data-name="who">a&lt;b</td>' in html
    assert '<td class="number" data-name="when">2024-01-02</td>' in html
    assert "<h2>" not in html


def test_dates_stand_under_the_axis_as_dates() -> None:
    days = np.arange("2017-10-01", "2017-12-03", 7, dtype="datetime64[D]")
    drawing = lines({"warnings": (days, days.astype(int) % 9)}, title="", x_label="", y_label="")
    assert 2 < len(re.findall(r">2017-1\d-\d\d<", drawing.markup)) <= 5
