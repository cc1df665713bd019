"""The bounded texts, names and times that parts of the policy document are made of."""

from typing import Annotated

import msgspec
from msgspec import Meta

Days = Annotated[int, Meta(ge=0, le=3_650)]
Code = Annotated[str, Meta(pattern=r"^[a-z0-9][a-z0-9_-]{0,62}$(?!\n)")]
"""A name within the document; short, since it is a label of metrics."""
Text = Annotated[str, Meta(min_length=1, max_length=500)]
TimeOfDay = Annotated[str, Meta(pattern=r"^([01][0-9]|2[0-3]):[0-5][0-9]$(?!\n)")]
"""A time such as `20:00`; in YAML within quotes."""


class Both(
    msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, rename={"zh": "zh-CN"}
):
    """A text that owners or customers read, in both languages."""

    en: Text
    zh: Text
