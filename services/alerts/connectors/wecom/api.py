"""企业微信 WeCom as values: our messages, and the meaning of its answers.

Group bots and application cards are both here. Every answer is HTTP 200, so only `errcode` counts;
an owner in `invaliduser` has received nothing. Limits count UTF-8 bytes. Nothing is sent here.
"""

import re
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from http import HTTPStatus
from typing import Any, Final
from urllib.parse import urlencode

from services.alerts.connectors.core import escape
from services.alerts.connectors.core.call import (
    Call,
    code_of,
    content_of,
    json_call,
    overloaded,
    seconds_of,
    token_of,
    word_of,
)
from services.alerts.connectors.core.config import WecomAppConfig, WecomBotConfig
from services.alerts.connectors.core.notice import CLOSED, Notice
from services.alerts.connectors.core.template import context, text_of
from services.alerts.connectors.wecom import cards
from services.alerts.delivery.core.retry import (
    Answer,
    Reply,
    Result,
    answer,
)
from shared.kernel.errors import UNREADABLE, Invalid

MARKDOWN_BYTES_MAX: Final = 4_096
TITLE_LENGTH_MAX: Final = 36
"""Characters that WeCom recommends for a card's title."""
SUBTITLE_LENGTH_MAX: Final = 160
MEMBER_LENGTH_MAX: Final = 64
MEMBER: Final = re.compile(rf"(?!all$)[A-Za-z0-9][A-Za-z0-9_@.-]{{0,{MEMBER_LENGTH_MAX - 1}}}")
"""Pattern of a member's id as WeCom makes them. Anything else would be more than one member
(`a|b`), all of them (`@all`, and `all` in a mention), or markup."""
OPENS: Final = "https://work.weixin.qq.com/"
"""Address for a tap on a card that has none of its own; WeCom requires one."""

CARD_SHOWN: Final = 42014
"""The card's `task_id` was used before: it has been delivered. Nothing else has such an id."""

CODES: Final[Mapping[int, Result]] = {
    0: "ok",
    CARD_SHOWN: "ok",
    40001: "refresh_token",
    40014: "refresh_token",
    42001: "refresh_token",
    -1: "retry",  # busy
    45009: "retry",  # too often
    45033: "retry",  # too many at once
    81013: "permanent",  # none of the members named can get it
    60111: "permanent",  # no such member
    93000: "endpoint_dead",  # no such bot
    40013: "endpoint_dead",  # no such company
    41004: "endpoint_dead",  # no secret given
    60020: "endpoint_dead",  # our address is not on the application's list
}
"""The meaning of each code. Any other positive one is a refusal of this message."""

REFUSED: Final = (40001, 40013, 41004)
"""Codes of the token request that waiting does not resolve."""

THROTTLED: Final = frozenset({45009, 45033})


def bot_call(config: WecomBotConfig, notice: Notice, member: str | None, key: str) -> Call:
    """Make a message to the group; `member`, the owner there, is mentioned if configured."""
    ended = notice.type == CLOSED
    template = config.closed if ended else config.opened
    with _readable():
        known = context(notice, member)
        text = (
            text_of(template, known, "template", "markdown")
            if template
            else cards.markdown(notice.task, config.time_zone, escape.markdown)
        )
    mention = ""
    if member is not None and config.mention and not ended and MEMBER.fullmatch(member):
        mention = f"\n<@{member}>"
    text = cut(text, MARKDOWN_BYTES_MAX - len(mention)) + mention
    content = {"msgtype": "markdown", "markdown": {"content": text}}
    return json_call("POST", f"/cgi-bin/webhook/send?{urlencode({'key': key})}", content)


def token_call(config: WecomAppConfig, corp_secret: str) -> Call:
    """Make the request for an access token."""
    query = urlencode({"corpid": config.corp_id, "corpsecret": corp_secret})
    return Call("GET", f"/cgi-bin/gettoken?{query}")


def read_token(reply: Reply) -> tuple[str, float] | Answer:
    """Read the access token, and its life in seconds, from the answer to `token_call`."""
    content = content_of(reply) or {}
    token = token_of(content.get("access_token"))
    if content.get("errcode", 0) == 0 and token is not None:
        return token, seconds_of(content.get("expires_in"))
    if content.get("errcode") in REFUSED:
        return answer(reply, "endpoint_dead", f"WeCom refused the secret: {content['errcode']}")
    refused = read(reply, None)
    return refused if refused.result not in {"ok", "refresh_token"} else answer(reply, "retry")


def card_id(notice: Notice) -> str:
    """Return the card's `task_id`: ours and the version, as one may be used only once.

    Both consist of characters that WeCom accepts: letters, digits, `_`, `-`, `@`.
    """
    return f"{notice.key}@{notice.task['version']}"


def task_of(card: str) -> str:
    """Return the id of the task that a card is about."""
    return card.rpartition("@")[0]


def card_call(config: WecomAppConfig, notice: Notice, member: str, token: str) -> Call:
    """Make a card with buttons for the owner `member`; a plain line when the task has ended."""
    if not MEMBER.fullmatch(member):
        raise Invalid("owner", f"{member[:MEMBER_LENGTH_MAX]!r} is no id of a member of WeCom's")
    base = {"touser": member, "agentid": config.agent_id}
    with _readable():
        if notice.type == CLOSED:
            text = cut(cards.ended(notice.task, escape.markdown), MARKDOWN_BYTES_MAX // 2)
            message = {**base, "msgtype": "text", "text": {"content": text}}
        else:
            card = card_of(config, notice)
            message = {**base, "msgtype": "template_card", "template_card": card}
    message |= {"enable_duplicate_check": 1, "duplicate_check_interval": 1800}
    return json_call("POST", f"/cgi-bin/message/send?{urlencode({'access_token': token})}", message)


def answered_call(
    config: WecomAppConfig, member: str, response_code: str, text: str, token: str
) -> Call:
    """Replace the card's buttons by the owner's answer; the code is valid once."""
    content = {
        "userids": [member],
        "agentid": config.agent_id,
        "response_code": response_code,
        "button": {"replace_name": text},
    }
    query = urlencode({"access_token": token})
    return json_call("POST", f"/cgi-bin/message/update_template_card?{query}", content)


def read(reply: Reply, member: str | None) -> Answer:
    """Return what an answer means; `member` is the receiver of a card, None for anything else."""
    if reply.status is None:
        return answer(reply, "ambiguous" if reply.reached else "retry")
    content = content_of(reply)
    code = code_of(content, "errcode")
    if content is None or code is None:
        if reply.status == HTTPStatus.TOO_MANY_REQUESTS:
            return answer(reply, "retry", "WeCom answered 429")
        return answer(reply, "ambiguous", f"an answer that is not WeCom's (HTTP {reply.status})")
    result = CODES.get(code, "permanent" if code > 0 else "retry")
    if code == CARD_SHOWN and member is None:
        result = "permanent"
    if result != "ok":
        refusal = answer(reply, result, f"WeCom answered errcode {code}")
        return overloaded(refusal, code in THROTTLED)
    for name in ("invaliduser", "unlicenseduser"):
        if member is not None and member in _members(content.get(name)):
            return answer(reply, "permanent", f"the owner is in {name}: nothing was shown")
    return answer(reply, "ok", remote_id=word_of(content.get("msgid")) or None)


def cut(text: str, bytes_max: int) -> str:
    """Cut the text to a number of UTF-8 bytes, never within a character.

    >>> cut("风险高", 8)
    '风险'
    """
    return text.encode()[:bytes_max].decode("utf-8", "ignore")


@contextmanager
def _readable() -> Iterator[None]:
    """Convert any missing field of a stored task's message into Invalid."""
    try:
        yield
    except (LookupError, TypeError, AttributeError, *UNREADABLE) as wrong:
        raise Invalid("body", f"cannot be shown: {type(wrong).__name__}: {wrong}") from None


def _members(text: Any) -> Sequence[str]:
    return text.split("|") if isinstance(text, str) else ()


def card_of(config: WecomAppConfig, notice: Notice) -> dict[str, Any]:
    """Return the card of an open task, in WeCom's format."""
    task = notice.task
    words = cards.card(task, config.time_zone, escape.one_line)
    url = OPENS
    if config.url:
        url = text_of(config.url, context(notice, None), "config.url", "address")
    return {
        "card_type": "button_interaction",
        "source": {"desc": words.source, "desc_color": 2},
        "main_title": {"title": words.title[:TITLE_LENGTH_MAX], "desc": words.subtitle},
        "sub_title_text": words.reasons[:SUBTITLE_LENGTH_MAX],
        "horizontal_content_list": [
            {"keyname": name, "value": value} for name, value in words.facts
        ],
        "card_action": {"type": 1, "url": url},
        "task_id": card_id(notice),
        "button_list": [
            {"text": cards.button(verdict, task), "style": 1 if place == 0 else 2, "key": verdict}
            for place, verdict in enumerate(config.buttons)
        ],
    }
