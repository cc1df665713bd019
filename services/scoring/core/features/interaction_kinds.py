"""Interactions by kind: which class a source's word belongs to, and a fading memory of each class.

The usual words (views, carts, favourites, logins, service contacts) have classes of their own;
every other word falls into one of a few by its hash. So a state is bounded whatever words a source
sends, a renamed kind begins in another class and fades from its former one, and no list of the
company's kinds has to be kept. Only customers with interactions are touched.
"""

import re
import unicodedata
from functools import lru_cache
from typing import Final

import numpy as np
from numpy.typing import NDArray

from services.scoring.core.features import memory
from services.scoring.core.features.events import DAY_S, EventColumns, Kind
from services.scoring.core.features.stable_hash import stable_hash
from services.scoring.core.features.state import (
    CELLS,
    INTERACTION_CLASSES,
    INTERACTION_LIVES_DAYS,
    cell,
)
from shared.kernel.arrays import Flags, Floats

States = NDArray[np.void]

_TABLE: Final = {
    "views": (
        "view viewed views page_view page_viewed product_view product_viewed view_item "
        "viewed_product item_viewed item_view view_item_list product_list_viewed screen_view "
        "screen_viewed category_viewed collection_viewed browse browsed visit visited "
        "search searched products_searched view_search_results 浏览 查看 访问 浏览商品 商品浏览 "
        "搜索"
    ),
    "carts": (
        "cart carts add_to_cart added_to_cart product_added cart_add cart_updated cart_viewed "
        "view_cart basket add_to_basket added_to_basket begin_checkout checkout_started "
        "started_checkout 加购 加入购物车 购物车"
    ),
    "favourites": (
        "favourite favourites favorite favorites favourited favorited wishlist add_to_wishlist "
        "added_to_wishlist product_added_to_wishlist like liked bookmark bookmarked "
        "收藏 点赞 心愿单"
    ),
    "logins": (
        "login logins log_in logged_in signin sign_in signed_in session session_start "
        "session_started app_open app_opened application_opened 登录 登陆 签到 打开应用"
    ),
    "contacts": (
        "contact contacts contacted service_contact customer_service support support_contact "
        "support_ticket ticket ticket_opened ticket_created help_request call called phone_call "
        "chat chat_started inquiry enquiry 咨询 客服咨询 联系客服 来电 工单"
    ),
}
"""Class -> the words that mean it, in lower case with `_`."""

OTHER_CLASSES: Final = INTERACTION_CLASSES - len(_TABLE)
"""Classes of all other words, chosen by hash: with three, two kinds of a company's own are
apart in two cases of three, at 16 bytes of state for each."""

CLASSES: Final[tuple[str, ...]] = (
    *_TABLE,
    *(f"other_interactions_{number}" for number in range(1, OTHER_CLASSES + 1)),
)
"""Names of the classes; an event's class is the position here, counted from 1."""

_WORDS: Final = {
    word: number for number, words in enumerate(_TABLE.values(), 1) for word in words.split()
}
WORDS_CACHED: Final = 1_024
"""Words cached: a source has some tens of kinds; the rest of the room is for a misused one."""

KNOWN_DAYS: Final = 2 * INTERACTION_LIVES_DAYS[1]
"""After two half-lives, interactions of before kinds were counted no longer matter."""

_PER_S: Final = memory.decay_per_s(INTERACTION_LIVES_DAYS)
_INTERACTION: Final = Kind.INTERACTION - 1


@lru_cache(WORDS_CACHED)
def class_of(word: str) -> int:
    """Return the class of an interaction's kind, from 1 to `INTERACTION_CLASSES`.

    >>> class_of("Product Viewed") == class_of("page-viewed") == 1 + CLASSES.index("views")
    True
    >>> CLASSES[class_of("unsubscribed") - 1].startswith("other_interactions")
    True
    """
    plain = re.sub(r"[\s_\-./:]+", "_", unicodedata.normalize("NFKC", word).casefold().strip())
    return _WORDS.get(plain) or len(_TABLE) + 1 + stable_hash(plain) % OTHER_CLASSES


def fold_kinds(states: States, folded: States, events: EventColumns) -> None:
    """Add interactions to the memories of `folded`, which has their newest times already.

    `states` are those before the events; `channel` holds the class, 0 where it is not known.
    """
    rows = np.unique(events.row)
    now = interacted_at(folded[rows])
    memory.bring(folded["kinds_decayed"], rows, interacted_at(states[rows]), now, _PER_S)
    known = np.flatnonzero(events.channel)
    row = events.row[known]
    age = now[np.searchsorted(rows, row)] - events.time[known]
    number = events.channel[known].astype(np.int64) - 1
    start = row * CELLS + cell("kinds_decayed") + number * len(_PER_S)
    memory.add(folded.view(np.float64), start, memory.weight(age, _PER_S))
    np.add.at(folded["kinds_counted"], row, 1.0)
    np.minimum.at(folded["kinds_since"], row, events.time[known])


def interacted_at(states: States) -> Floats:
    """Return the newest interaction's time, Unix seconds UTC; -inf without one."""
    return np.asarray(states["last"][:, _INTERACTION])


def with_kinds(states: States, now: Floats) -> Flags:
    """bool[n]: the customer has interacted, and the kinds of what still matters are known.

    Not known are those of states from before kinds were counted, until `KNOWN_DAYS` later.
    """
    whole = states["kinds_counted"] >= states["counts"][:, _INTERACTION]
    old = now - states["kinds_since"] >= KNOWN_DAYS * DAY_S
    return np.asarray((states["kinds_counted"] > 0) & (whole | old))


def kinds_faded_to(states: States, time: Floats) -> Floats:
    """Return the memories at a time, at least the newest interaction's: float64[n, classes, lives].

    Zeros where there was no interaction.
    """
    return memory.faded(states["kinds_decayed"], interacted_at(states), time, _PER_S)
