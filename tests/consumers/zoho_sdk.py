"""Zoho's official Python SDK at work on a CRM: create, change, query and watch tasks.

Run by .venv-consumers, whose packages are not ours: `zoho_sdk.py URL CLIENT SECRET REFRESH FOLDER`.
Prints what the SDK understood of each answer, as JSON.
"""

import json
import sys
from datetime import date, datetime, timedelta, timezone
from pathlib import Path
from typing import Any

from zohocrmsdk.src.com.zoho.api.authenticator import OAuthToken
from zohocrmsdk.src.com.zoho.api.authenticator.store import FileStore
from zohocrmsdk.src.com.zoho.crm.api import Initializer
from zohocrmsdk.src.com.zoho.crm.api.coql import BodyWrapper as Query
from zohocrmsdk.src.com.zoho.crm.api.coql import CoqlOperations
from zohocrmsdk.src.com.zoho.crm.api.dc import DataCenter
from zohocrmsdk.src.com.zoho.crm.api.notifications import BodyWrapper as Watches
from zohocrmsdk.src.com.zoho.crm.api.notifications import Notification, NotificationsOperations
from zohocrmsdk.src.com.zoho.crm.api.record import BodyWrapper, Field, Record, RecordOperations
from zohocrmsdk.src.com.zoho.crm.api.users import MinifiedUser
from zohocrmsdk.src.com.zoho.crm.api.util import Choice

KEY = "rt_sdk"


def begin(url: str, client: str, secret: str, refresh: str, folder: str) -> None:
    """Point the SDK at the CRM."""
    Initializer.initialize(
        environment=DataCenter.Environment(url, f"{url}/oauth/v2/token", url),
        token=OAuthToken(client_id=client, client_secret=secret, refresh_token=refresh),
        store=FileStore(file_path=str(Path(folder) / "tokens.txt")),
        resource_path=folder,
    )


def task(**values: Any) -> Any:
    """A task with our key."""
    record = Record()
    for name, value in values.items():
        record.add_key_value(name, value)
    return record


def outcomes(response: Any) -> list[dict[str, Any]]:
    """What the SDK read of an answer to a change."""
    found = []
    for each in response.get_object().get_data():
        code = each.get_code()
        details = {name: str(value) for name, value in (each.get_details() or {}).items()}
        found.append(
            {
                "kind": type(each).__name__,
                "code": code.get_value() if hasattr(code, "get_value") else code,
                "details": details,
            }
        )
    return found


def create() -> list[dict[str, Any]]:
    """Create a task as our connector does."""
    body, owner = BodyWrapper(), MinifiedUser()
    owner.set_id(777)
    record = task(Churn_Task_Key=KEY)
    record.add_field_value(Field.Tasks.subject(), "挽留任务")
    record.add_field_value(Field.Tasks.due_date(), date(2026, 11, 26))
    record.add_field_value(Field.Tasks.priority(), Choice("High"))
    record.add_field_value(Field.Tasks.status(), Choice("Not Started"))
    record.add_field_value(Field.Tasks.owner(), owner)
    body.set_data([record])
    return outcomes(RecordOperations("Tasks").create_records(body))


def update(remote_id: str) -> list[dict[str, Any]]:
    """Complete a task."""
    body, record = BodyWrapper(), task()
    record.add_field_value(Field.Tasks.status(), Choice("Completed"))
    body.set_data([record])
    return outcomes(RecordOperations("Tasks").update_record(int(remote_id), body))


def query() -> list[str]:
    """Ask for the task by our key, in the words of our connector."""
    body = Query()
    body.set_select_query(f"select id from Tasks where Churn_Task_Key = '{KEY}' limit 2")  # noqa: S608
    response = CoqlOperations().get_records(body)
    return [str(record.get_id()) for record in response.get_object().get_data()]


def watch() -> list[str]:
    """Ask to be told of changed tasks."""
    wanted, body = Notification(), Watches()
    wanted.set_channel_id("1000000068001")
    wanted.set_events(["Tasks.edit"])
    wanted.set_channel_expiry(datetime.now(timezone(timedelta(hours=8))) + timedelta(days=6))
    wanted.set_token("sdk-token")
    wanted.set_notify_url("https://example.com/hook")
    body.set_watch([wanted])
    response = NotificationsOperations().enable_notifications(body)
    codes = (each.get_code() for each in response.get_object().get_watch())
    return [code.get_value() if hasattr(code, "get_value") else str(code) for code in codes]


if __name__ == "__main__":
    begin(*sys.argv[1:])
    created = create()
    again = create()
    found = query()
    report = {
        "created": created,
        "again": again,
        "updated": update(created[0]["details"]["id"]),
        "found": found,
        "watched": watch(),
    }
    print(json.dumps(report, ensure_ascii=False))
