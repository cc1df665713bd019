"""The PyPI package `fxiaoke-python` at work on a Fxiaoke: create and query records, old style.

Run by .venv-consumers: `fxiaoke_sdk.py URL APP SECRET CODE USER OBJECT`. The package's hosts are
written into it; an adapter of its HTTP client takes them to the given address.
"""

import json
import sys
from typing import Any
from urllib.parse import urlsplit, urlunsplit

import requests
from fxiaoke.api import FxiaokeApi
from fxiaoke.baseObj import baseObj
from fxiaoke.session import FxiaokeSession
from requests.adapters import HTTPAdapter

KEY = "rt_sdk"


class Elsewhere(HTTPAdapter):
    """Sends what is meant for Fxiaoke to another address."""

    def __init__(self, url: str) -> None:
        self._place = urlsplit(url)
        super().__init__()

    def send(self, request: Any, *args: Any, **kwargs: Any) -> Any:
        wanted = urlsplit(request.url)
        request.url = urlunsplit((self._place.scheme, self._place.netloc, *wanted[2:]))
        return super().send(request, *args, **kwargs)


def main(url: str, app: str, secret: str, code: str, user: str, name: str) -> dict[str, Any]:
    """What the package understood of each answer."""
    session = FxiaokeSession(app_id=app, app_secret=secret, permanent_code=code)
    session.requests = requests.Session()
    session.requests.mount("https://", Elsewhere(url))
    api = FxiaokeApi(session, api_version="v2")
    api._open_user_id = user
    records = baseObj(api=api, dataObjectApiName=name)
    created = records.create({"name": "挽留任务", "owner": [user], "churn_task_key__c": KEY})
    wanted = {"field_name": "churn_task_key__c", "field_values": [KEY], "operator": "EQ"}
    found = records.query(filters=[wanted], fieldProjection=["_id"])
    return {"created": created["dataId"], "found": [row["_id"] for row in found]}


if __name__ == "__main__":
    print(json.dumps(main(*sys.argv[1:]), ensure_ascii=False))
