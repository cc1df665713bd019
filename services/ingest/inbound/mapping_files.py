"""Reads mappings that are shipped, or that lie in a file."""

from pathlib import Path
from typing import Final

from services.ingest.core.mapping.document import CompiledMapping, compile_mapping
from services.ingest.core.mapping.tree import DOCUMENT_BYTES_MAX
from shared.kernel.errors import Invalid

SHIPPED: Final = Path(__file__).parents[1] / "mappings"


def shipped() -> list[str]:
    """Returns the names of the mappings that come with Ebbwatch."""
    return sorted(path.stem for path in SHIPPED.glob("*.yaml"))


def read_mapping(given: str) -> tuple[str, CompiledMapping]:
    """Returns the document and the mapping of a file, or of a shipped name.

    Raises Invalid with the place of the first mistake, or where there is no such mapping.
    """
    if given in shipped():
        path = SHIPPED / f"{given}.yaml"
    else:
        path = Path(given)
        if not path.is_file():
            names = ", ".join(shipped())
            raise Invalid(given, f"no file, and no shipped mapping: there are {names}")
    try:
        with path.open("rb") as file:
            text = file.read(DOCUMENT_BYTES_MAX + 1).decode("utf-8")
    except UnicodeDecodeError as error:
        raise Invalid(str(path), "not UTF-8") from error
    return text, compile_mapping(text, path.name)
