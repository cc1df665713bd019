"""Reads the sources of signed webhooks from their setting: name, signature, secrets, mapping."""

import re
from typing import Annotated, Final

import msgspec
from msgspec import Meta

from services.ingest.core.faults import from_msgspec
from services.ingest.core.signatures import Kind
from shared.kernel.errors import Invalid

SETTING: Final = "EBBWATCH_INGEST_HTTP_SOURCES"

SOURCES_MAX: Final = 50
"""Sources of one deployment, as many as a mapping may be for."""

NAME: Final = re.compile(r"[a-z0-9][a-z0-9._-]{0,62}")
"""What a source's name looks like, as a part of a path, a header's value and a metric's label."""


Secret = Annotated[str, Meta(min_length=16, max_length=500)]
"""As long as one that is made by chance: shorter ones can be guessed from a recorded signature."""


class HttpSource(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """A vendor that signs what it sends."""

    signature: Kind
    secrets: Annotated[list[Secret], Meta(min_length=1, max_length=2)]
    """One, or two while one replaces the other."""
    mapping: Annotated[str, Meta(min_length=1, max_length=80)] | None = None
    """A shipped mapping, in force while `mappings put … --http` has put no other in force for this
    source; None: the one named like the signature."""

    def __repr__(self) -> str:
        """Return the source without its secrets."""
        return f"HttpSource({self.signature!r}, mapping={self.mapping!r})"


def read_sources(text: str) -> dict[str, HttpSource]:
    """Returns the sources by name; raises Invalid with the place of a mistake, without a secret.

    >>> try: read_sources('{"shop": {"signature": "stripe", "secrets": []}}')
    ... except Invalid as wrong: print(wrong.field)
    EBBWATCH_INGEST_HTTP_SOURCES[...].secrets
    """
    if not text.strip():
        return {}
    try:
        found = msgspec.json.decode(text, type=dict[str, HttpSource])
    except msgspec.ValidationError as error:
        raise from_msgspec(error, SETTING) from None
    except (msgspec.DecodeError, RecursionError):
        raise Invalid(SETTING, "not JSON: an object of sources by name") from None
    if len(found) > SOURCES_MAX:
        raise Invalid(SETTING, f"{len(found)} sources, at most {SOURCES_MAX} are read")
    for name in found:
        if not NAME.fullmatch(name):
            why = "a name has up to 63 of a-z, 0-9, dot, hyphen and underscore"
            raise Invalid(SETTING, f"{name[:80]!r}: {why}")
    return found
