"""Any name of a customer, a segment or an owner is displayed by each medium and never executed."""

import csv
import io
import json
import re
from typing import Any
from xml.etree import ElementTree as ET

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from services.alerts.connectors.core import escape
from services.alerts.connectors.core.config import WecomAppConfig, WecomBotConfig
from services.alerts.connectors.core.notice import Notice
from services.alerts.connectors.wecom import api as wecom
from shared.contracts.events import Profile
from shared.kernel.errors import Invalid
from shared.report.cells import cell
from shared.report.plots import bars
from shared.runtime.terminal import visible, visible_output
from tests.unit.alerts.connectors.notices import closed, notice, task

PARTS = st.sampled_from(
    ["<@member-7>", "<@all>", "**x**", "[y](http://evil)", "http://evil", "`c`", "# t", "> q", "\n",
     "\r\n", "\u2028", "</font>", "<font color='info'>", "<a href='//evil'>a</a>", "\x1b[2J",
     "\x9b1m", "\u202e", "\0", "=HYPERLINK(0)", "+1", "-1", "@SUM(1)", "\t=1", "$\\frac{$", "$$",
     "$a$", "__b__", "~~s~~", "上海", " ", "a"]
)  # fmt: skip
NAMES = st.lists(PARTS | st.text(max_size=6), min_size=1, max_size=8).map("".join)
BOT = WecomBotConfig(mention=False)
OURS = WecomBotConfig(
    mention=False, opened="> **{{ customer.name }}** [open](https://crm.example/)"
)
APP = WecomAppConfig(corp_id="ww1", agent_id=1, url="https://crm.example/c/{{ customer.name }}")
FORGED = "<@member-7> **中奖** [领奖](http://evil.example/)\n# x"


def named(name: str, *, ended: bool = False) -> Notice:
    """Returns a notice about a customer of this name."""
    opened = task(Profile(name="NAME", language="zh-CN"))
    reported = notice(closed(opened) if ended else opened)
    data: dict[str, Any] = json.loads(json.dumps(reported.data).replace('"NAME"', '"X"'))
    data["task"]["customer"]["name"] = name
    data["task"]["title"] = None if ended else name
    return Notice(type=reported.type, data=data)


def content(config: WecomBotConfig, of: Notice) -> str:
    """Returns the Markdown of a message to a group."""
    body: dict[str, Any] = json.loads(wecom.bot_call(config, of, None, "k").body)
    return str(body["markdown"]["content"])


@given(NAMES)
@example(FORGED)
def test_a_name_brings_no_markup_into_a_group(name: str) -> None:
    shape = re.compile(r"[<>\[\]*`#~|\\\n\r\x1b]|__|://")
    for config in (BOT, OURS):
        for ended in (False, True):
            if config is OURS and ended:
                continue
            expected = shape.findall(content(config, named("plain", ended=ended)))
            assert shape.findall(content(config, named(name, ended=ended))) == expected


@given(NAMES)
@example(FORGED)
def test_a_card_and_a_line_hold_no_link_and_no_line_of_others(name: str) -> None:
    card = wecom.card_of(APP, named(name))
    assert not re.search(r"[\x00-\x1f\x7f-\x9f\u202a-\u202e]", card["main_title"]["title"])
    assert re.fullmatch(r"https://crm\.example/c/[\w.~%-]*", card["card_action"]["url"], re.ASCII)
    body: dict[str, Any] = json.loads(wecom.card_call(APP, named(name, ended=True), "m", "t").body)
    assert not re.search(r"[<>\n]|://", body["text"]["content"])


@pytest.mark.parametrize("member", ["@all", "a|b", "all", "x> **y**", "", "a\n", "名", "a" * 65])
def test_an_owner_is_at_most_one_member(member: str) -> None:
    mention = json.loads(wecom.bot_call(WecomBotConfig(), named("x"), member, "k").body)
    assert "<@" not in mention["markdown"]["content"]
    with pytest.raises(Invalid, match=r"^owner: "):
        wecom.card_call(APP, named("x"), member, "t")


def test_a_mention_is_whole_however_long_the_text_is() -> None:
    long = WecomBotConfig(opened="风" * 2_000)
    body = json.loads(wecom.bot_call(long, named("x"), "zhang.san", "k").body)
    assert body["markdown"]["content"].endswith("\n<@zhang.san>")
    assert len(body["markdown"]["content"].encode()) <= wecom.MARKDOWN_BYTES_MAX


@given(NAMES)
def test_a_cell_is_no_formula(name: str) -> None:
    out = io.StringIO()
    csv.writer(out).writerow([cell(name), cell(-1.5)])
    read, number = next(csv.reader(io.StringIO(out.getvalue(), newline="")))
    assert not read.lstrip(" \n").startswith(("=", "+", "-", "@", "\t", "\r"))
    assert number == "-1.5"


@given(NAMES)
def test_a_terminal_is_shown_text(name: str) -> None:
    assert not re.search(r"[\x00-\x08\x0b-\x1f\x7f-\x9f\u202a-\u202e\u2066-\u2069]", visible(name))


def test_a_command_prints_visible_text(capsys: pytest.CaptureFixture[str]) -> None:
    with visible_output():
        print("Ann\x1b[2J 上海")  # noqa: T201
    assert capsys.readouterr().out == "Ann\\x1b[2J 上海\n"


@given(NAMES)
@settings(max_examples=15)
@example("a $\\frac{$ b")
def test_a_report_draws_any_name(name: str) -> None:
    drawn = bars({name: 1.0, "b": 2.0}, title="t", x_label="x").markup
    assert "\x1b" not in drawn
    ET.fromstring(drawn)  # noqa: S314 (our own)


@given(NAMES)
def test_one_line_is_one_line(name: str) -> None:
    assert len(escape.one_line(name).splitlines()) <= 1
