"""The references within a document, for tests of the documents that are generated."""

from collections.abc import Iterator


def references(inside: object) -> Iterator[str]:
    """Yield the target of every `$ref`, however deep it is."""
    if isinstance(inside, dict):
        if isinstance(inside.get("$ref"), str):
            yield inside["$ref"]
        for each in inside.values():
            yield from references(each)
    elif isinstance(inside, list):
        for each in inside:
            yield from references(each)
