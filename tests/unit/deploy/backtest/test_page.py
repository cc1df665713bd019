"""The page of a backtest: complete in both languages, safe, self-contained."""

import re
from string import Formatter

import msgspec
import pytest

from deploy.backtest import page
from deploy.backtest.page import render
from deploy.backtest.result import DECODER, ENCODER, Quality, Result
from deploy.backtest.words import CAUSES, GRADES, WORDS
from services.alerts.core.wording.catalogue import SENTENCES
from tests.unit.deploy.backtest.sample import HOSTILE, result


@pytest.fixture(scope="module")
def html() -> str:
    """Provide the page of the sample."""
    return render(result())


def _parts(html: str) -> tuple[str, str]:
    """Return the English and the Chinese part."""
    english, chinese = re.findall(r"<main.*?</main>", html, re.DOTALL)
    return english, chinese


def test_the_first_words_are_the_figure_that_matters(html: str) -> None:
    english, chinese = _parts(html)
    shown = (
        "158 of 180 customers who stopped were noticed in time, 12 days before they would have "
        "been lost."
    )
    assert english.index(shown) < english.index("would have noticed 121 of the 180: 37 fewer")
    assert english.index("37 fewer") < english.index("Who is at risk today</h2>")
    assert "180 次客户流失中，有 158 次被及时发现，比流失早 12 天。" in chinese
    assert "只能发现 180 次中的 121 次，少 37 次" in chinese


def test_both_languages_have_the_same_sections_and_rows(html: str) -> None:
    english, chinese = _parts(html)
    for tag in ("<h2>", "<tr", "<svg", "<dt>", "<p"):
        assert english.count(tag) == chinese.count(tag) > 0
    assert 'lang="zh-CN"' in chinese[:60]
    assert len(re.findall("[\u4e00-\u9fff]", english)) == len("购买时间")


def test_the_switch_needs_no_script_and_no_network(html: str) -> None:
    assert "<script" not in html
    assert not re.findall(r"""(?:src|href|action)=["'](?!#)""", html)
    assert "@import" not in html
    assert html.count('type="radio"') == 2
    assert "default-src 'none'" in html
    targets = set(re.findall(r'href="#([^"]+)"|url\(#([^)]+)\)|for="([^"]+)"', html))
    ids = re.findall(r'\bid="([^"]+)"', html)
    assert {ids.count(one or other or label) for one, other, label in targets} == {1}


def test_a_hostile_name_is_text(html: str) -> None:
    assert HOSTILE not in html
    assert html.count("&lt;script&gt;alert(") == 6


def test_a_long_name_is_cut() -> None:
    sample = result()
    worst = msgspec.structs.replace(sample.at_risk[-1], customer="x" * 500)
    html = render(msgspec.structs.replace(sample, at_risk=[worst]))
    assert "x" * 59 + "…" in html
    assert "x" * 60 not in html


def test_long_tables_are_cut_with_a_note(html: str) -> None:
    english, chinese = _parts(html)
    assert "The first 50 of 140; all are in backtest.json." in english
    assert "The first 200 of 512; all are in warnings.csv." in english
    assert "仅显示 512 条中的前 200 条，全部见 warnings.csv。" in chinese
    assert english.count("<tr>") < page.AT_RISK_MAX + page.WARNED_MAX + 50


def test_the_greatest_expected_loss_comes_first(html: str) -> None:
    english, _ = _parts(html)
    table = english[english.index("Who is at risk today</h2>") :]
    found = re.findall(r'data-name="Expected loss \(USD\)">([\d,]+)<', table)[: page.AT_RISK_MAX]
    losses = [int(text.replace(",", "")) for text in found]
    assert losses == sorted(losses, reverse=True)
    assert losses[0] == round(max(one.value_at_risk for one in result().at_risk))


def test_how_the_file_was_read_is_shown(html: str) -> None:
    english, chinese = _parts(html)
    for shown in ("transactions.csv", "customer_id = household_id", "gb18030", "1,469,307",
                 "the day comes first", "2017-01-01 – 2017-12-31", "812",
                 "a negative amount counts as a refund"):  # fmt: skip
        assert shown in english
    assert "负数金额视为退款" in chinese


def test_the_same_result_gives_the_same_page(html: str) -> None:
    assert render(result()) == html


def test_a_result_without_anything_is_still_a_page() -> None:
    nothing = Quality(warned=0, noticed=0, budget=0.0)
    sample = result()
    empty = Result(
        title=sample.title, begin=sample.begin, end=sample.end, today=sample.today,
        read=sample.read, customers=3, established=0, lapses=0, ours=nothing, rule=nothing,
        rule_gaps=3.0,
    )  # fmt: skip
    english, chinese = _parts(render(empty))
    for shown in ("No customer with a rhythm", "No customer is at risk", "No VIP who stopped",
                 "There was no warning"):  # fmt: skip
        assert shown in english
    assert "没有任何预警" in chinese
    assert "By sign" not in english


@pytest.mark.parametrize(
    ("noticed", "shown"),
    [(100, "21 more. On this file the rule is the better one"), (121, "would have noticed as many"),
     (122, "121 of the 180: 1 fewer")],
)  # fmt: skip
def test_the_rule_gets_its_due(noticed: int, shown: str) -> None:
    sample = result()
    ours = msgspec.structs.replace(sample.ours, noticed=noticed)
    assert shown in render(msgspec.structs.replace(sample, ours=ours))


def test_a_result_is_json() -> None:
    assert DECODER.decode(ENCODER.encode(result())) == result()


def test_every_text_has_both_languages_and_the_same_values() -> None:
    for name, (english, chinese) in (*WORDS.items(), *CAUSES.items(), *GRADES.items()):
        assert english, name
        assert chinese, name

        def fields(text: str) -> set[str]:
            return {field for _, field, _, _ in Formatter().parse(text) if field is not None}

        assert fields(english) == fields(chinese), name


def test_every_cause_with_a_sentence_has_a_word() -> None:
    assert set(SENTENCES) <= set(CAUSES)
