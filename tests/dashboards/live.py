"""Runs the queries of the dashboards on a real Prometheus, as Grafana does."""

import math
import re
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Any, Final

import httpx

from deploy.grafana.queries import OR_ZERO

WINDOW: Final = "10s"
"""In place of Grafana's windows: ten scrapes."""
SHOWN_S: Final = 120
"""Width of a graph in seconds."""
STEP_S: Final = 2
VALUES: Final = re.compile(r"label_values\((?P<of>.+), (?P<label>\w+)\)")


@dataclass(frozen=True, slots=True)
class Asked:
    """One query of one panel."""

    board: str
    panel: str
    ref: str
    expr: str
    graph: bool

    @property
    def place(self) -> str:
        """Where it is, for a message."""
        return f"{self.board}: {self.panel} ({self.ref})"


def asked(board: Mapping[str, Any]) -> Iterator[Asked]:
    """Return every query of a dashboard."""
    for panel in board["panels"]:
        for target in panel.get("targets", ()):
            graph = bool(target["range"])
            yield Asked(board["uid"], panel["title"], target["refId"], target["expr"], graph)


class Source:
    """A Prometheus behind the variables of a dashboard."""

    def __init__(self, address: str, variables: Mapping[str, str] | None = None) -> None:
        """`address`: of Prometheus, without a path. `variables`: regular expressions by name."""
        self._client = httpx.Client(base_url=f"{address}/api/v1", timeout=20)
        self._variables = dict(variables or {})

    def choose(self, board: Mapping[str, Any]) -> dict[str, list[str]]:
        """Choose `All` for each variable as Grafana does; return what there is to choose."""
        found: dict[str, list[str]] = {}
        for variable in board["templating"]["list"]:
            if variable["type"] != "query":
                continue
            query = VALUES.fullmatch(variable["query"])
            if query is None:
                raise ValueError(f"a variable with the query {variable['query']}")
            name = variable["name"]
            found[name] = self._get(
                f"/label/{query['label']}/values", {"match[]": self.filled(query["of"])}
            )
            every = "(" + "|".join(map(re.escape, found[name])) + ")"
            # Grafana writes the expression into a string of PromQL.
            self._variables[name] = variable.get("allValue") or every.replace("\\", "\\\\")
        return found

    def filled(self, expr: str) -> str:
        """Return the query with values in place of variables and windows."""
        for name, value in self._variables.items():
            expr = expr.replace(f'"${name}"', f'"{value}"')
        return expr.replace("$__rate_interval", WINDOW).replace("$__range", f"{SHOWN_S}s")

    def series(self, query: Asked) -> list[dict[str, Any]]:
        """Return the series of the answer, each with `metric` and `values`."""
        now = time.time()
        expr = self.filled(query.expr)
        if not query.graph:
            answer = self._get("/query", {"query": expr, "time": now})["result"]
            return [{"metric": s["metric"], "values": [s["value"]]} for s in answer]
        window = {"start": now - SHOWN_S, "end": now, "step": STEP_S}
        found: list[dict[str, Any]] = self._get("/query_range", {"query": expr, **window})["result"]
        return found

    def has_data(self, query: Asked) -> bool:
        """Return whether there is a number in the answer, not counting zeros for what is absent."""
        plain = replace(query, expr=query.expr.replace(OR_ZERO, ""))
        return any(
            not math.isnan(float(value))
            for each in self.series(plain)
            for _, value in each["values"]
        )

    def _get(self, path: str, parameters: Mapping[str, Any]) -> Any:
        answer = self._client.get(path, params=dict(parameters))
        body = answer.json()
        if body["status"] != "success":
            raise ValueError(f"{body.get('error')}: {parameters}")
        return body["data"]
