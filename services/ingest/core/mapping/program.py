"""Writes the source of Python functions and compiles it: what the rules of a mapping become.

Only fixed lines of the compilers and names made here enter a source, and names of fields as
literals by `repr`. Every other value of a document is bound to a name, never written.
"""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

Compiled = Callable[[Any, Any], Any]
"""A compiled function: the current value and the scope in."""


class Program:
    """Functions that are compiled together and may call one another."""

    def __init__(self) -> None:
        self._functions: list[Code] = []
        self._namespace: dict[str, Any] = {}
        self._names: dict[int, str] = {}

    def bind(self, value: Any) -> str:
        """Return the name of a value, such as a constant or a function that is called."""
        name = self._names.setdefault(id(value), f"c{len(self._names)}")
        self._namespace[name] = value  # and so its `id` stays its own
        return name

    def function(self) -> "Code":
        """Begin a function of the parameters `value` and `scope`."""
        made = Code(self, f"f{len(self._functions)}")
        self._functions.append(made)
        return made

    def compiled(self) -> Callable[["Code"], Compiled]:
        """Compile all functions; returns what gives the one that a code became."""
        source = "\n".join(line for code in self._functions for line in code.lines)
        # No text of a document is run: see above for what a source may hold.
        exec(compile(source, "<mapping>", "exec"), self._namespace)  # noqa: S102
        return lambda code: self._namespace[code.name]


class Code:
    """The body of one function, line by line."""

    def __init__(self, program: Program, name: str) -> None:
        self.program = program
        self.name = name
        self.lines = [f"def {name}(value, scope):"]
        self._depth = 1
        self._variables = 0
        self._known: list[dict[str, str]] = [{}]  # one for each block that is open

    def line(self, text: str) -> None:
        """Add a line."""
        self.lines.append(" " * self._depth + text)

    def assign(self, expression: str) -> str:
        """Assign to a new variable and return its name."""
        self._variables += 1
        name = f"v{self._variables}"
        self.line(f"{name} = {expression}")
        return name

    def once(self, expression: str) -> str:
        """Assign an expression without effects, unless a variable already has its value."""
        for known in self._known:
            if expression in known:
                return known[expression]
        name = self._known[-1][expression] = self.assign(expression)
        return name

    @contextmanager
    def block(self, header: str) -> Iterator[None]:
        """Indent what follows under `header`, such as `if v1 is None`."""
        self.line(f"{header}:")
        self._depth += 1
        self._known.append({})
        yield
        self._known.pop()
        self._depth -= 1

    def call(self, function: Any, *arguments: str) -> str:
        """Return the expression of a call of a bound function."""
        return f"{self.program.bind(function)}({', '.join(arguments)})"
