"""A service that ends itself, or raises, when a named function meets a planted item.

    python -m tests.integration.planted_failure SERVICE MODULE:NAME ITEM kill|raise run

The service is the real one; only the named function is wrapped.
"""

import asyncio
import importlib
import os
import runpy
import signal
import sys
from collections.abc import Callable
from functools import wraps
from typing import Any


class Planted(Exception):  # noqa: N818
    """A planted fault, which one item triggers."""


def mentions(given: Any, needle: str) -> bool:
    """Return whether an argument is or holds the planted item."""
    for name in ("customers", "ids", "id"):
        if held := getattr(given, name, None):
            return needle in str(held)
    return needle in str(given)


def _met(needle: str, how: str, given: tuple[Any, ...]) -> None:
    if any(mentions(one, needle) for one in given):
        if how == "kill":
            os.kill(os.getpid(), signal.SIGKILL)
        raise Planted("a planted item")


def poison(where: str, needle: str, how: str) -> None:
    """Wrap `module:name` or `module:Class.method`."""
    module, _, path = where.partition(":")
    owner: Any = importlib.import_module(module)
    *parents, name = path.split(".")
    for parent in parents:
        owner = getattr(owner, parent)
    original: Callable[..., Any] = getattr(owner, name)

    @wraps(original)
    def plain(*args: Any, **kwargs: Any) -> Any:
        _met(needle, how, (*args, *kwargs.values()))
        return original(*args, **kwargs)

    @wraps(original)
    async def awaited(*args: Any, **kwargs: Any) -> Any:
        _met(needle, how, (*args, *kwargs.values()))
        return await original(*args, **kwargs)

    setattr(owner, name, awaited if asyncio.iscoroutinefunction(original) else plain)


if __name__ == "__main__":
    service, where, needle, how, *arguments = sys.argv[1:]
    poison(where, needle, how)
    sys.argv = [service, *arguments]
    runpy.run_module(service, run_name="__main__")
