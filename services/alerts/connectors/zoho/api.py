"""Zoho CRM v8 as values: our requests, and the meaning of its answers.

Zoho's contract in one place (OpenAPI description `zoho/crm-oas` v8.0, checked against its official
SDK in the tests). A 2xx may carry an error for the record: only the `code` counts. Nothing is sent
here.
"""

import hashlib
import hmac
from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta
from http import HTTPStatus
from typing import Any, Final
from urllib.parse import urlencode

import msgspec

from services.alerts.connectors.core.call import (
    Call,
    content_of,
    id_of,
    json_call,
    key_of,
    overloaded,
    seconds_of,
    token_of,
    word_of,
)
from services.alerts.connectors.core.config import ZohoConfig
from services.alerts.connectors.core.mapping import must_fit
from services.alerts.connectors.core.verdict_mapping import CrmRecord
from services.alerts.delivery.core.retry import (
    Answer,
    Reply,
    Result,
    answer,
)
from shared.kernel.errors import UNREADABLE

API: Final = "/crm/v8"
PAGE_ROWS: Final = 200
"""Rows of one query: up to 200 cost one credit."""
WATCH_DAYS: Final = 6
"""Days for which a channel is requested. Zoho allows a week; for a longer request it grants an
hour."""
THROTTLED: Final = frozenset({"TOO_MANY_REQUESTS", "LIMIT_EXCEEDED", "LIMIT_REACHED"})

REFUSED: Final = frozenset({"invalid_client", "invalid_client_secret", "invalid_code"})
"""Errors of the token request that waiting does not resolve."""

CODES: Final[Mapping[str, Result]] = {
    "SUCCESS": "ok",
    "DUPLICATE_DATA": "ok",  # our key is there already: this task has been delivered
    "INVALID_TOKEN": "refresh_token",
    "AUTHENTICATION_FAILURE": "refresh_token",
    "MANDATORY_NOT_FOUND": "permanent",
    "INVALID_DATA": "permanent",
    "DEPENDENT_FIELD_MISSING": "permanent",
    "EXPECTED_FIELD_MISSING": "permanent",
    "NO_PERMISSION": "permanent",
    "INVALID_MODULE": "endpoint_dead",  # no record will be taken until an administrator acts
    "OAUTH_SCOPE_MISMATCH": "endpoint_dead",
    "RECORD_IN_BLUEPRINT": "permanent",
    "RECORD_LOCKED": "retry",
    "ALREADY_MODIFIED": "retry",
    "TOO_MANY_REQUESTS": "retry",
    "LIMIT_EXCEEDED": "retry",
    "LIMIT_REACHED": "retry",
    "INTERNAL_ERROR": "ambiguous",  # it may have happened before or after the record was written
}
"""The meaning of each code. An unknown one is retried: it may pass, and the schedule is bounded."""


def token_call(config: ZohoConfig, client_secret: str, refresh_token: str) -> Call:
    """Make the request for an access token, form-encoded as the official SDK does."""
    form = {
        "refresh_token": refresh_token,
        "client_id": config.client_id,
        "client_secret": client_secret,
        "grant_type": "refresh_token",
    }
    return Call(
        "POST",
        "/oauth/v2/token",
        urlencode(form).encode(),
        {"content-type": "application/x-www-form-urlencoded"},
    )


def read_token(reply: Reply) -> tuple[str, float] | Answer:
    """Read the access token, and its life in seconds, from the answer to `token_call`."""
    content = content_of(reply) or {}
    token = token_of(content.get("access_token"))
    if token is not None:
        return token, seconds_of(content.get("expires_in"))
    error = word_of(content.get("error"))
    result: Result = "endpoint_dead" if error in REFUSED else "retry"
    return answer(reply, result, f"Zoho gave no access token: {error or 'no reason given'}")


def create_call(
    config: ZohoConfig, key: str, fields: Mapping[str, Any], owner: str | None, about: str | None
) -> Call:
    """Make the request to add one record. Ids are strings: they do not fit a JavaScript number."""
    record = {**fields, config.key_field: key}
    headers = {}
    if owner is not None:
        record["Owner"] = {"id": owner}
    if about:
        record["What_Id"] = {config.about_key or "id": about}
        record["$se_module"] = config.about_module
        if config.about_key:
            relation = f"{config.module}.What_Id->{config.about_module}.{config.about_key}"
            headers["x-external"] = relation
    content = {"data": [record], "trigger": list(config.workflows)}
    return json_call("POST", f"{API}/{config.module}", content, **headers)


def update_call(
    config: ZohoConfig, remote_id: str, fields: Mapping[str, Any], owner: str | None
) -> Call:
    """Make the request to change fields of one record, and its owner where one is given."""
    record = {"id": remote_id, **fields}
    if owner is not None:
        record["Owner"] = {"id": owner}
    content = {"data": [record], "trigger": list(config.workflows)}
    return json_call("PUT", f"{API}/{config.module}/{remote_id}", content)


def find_call(config: ZohoConfig, key: str) -> Call:
    """Make the request for the record with our key."""
    where = f"{config.key_field} = '{_quoted(key)}'"
    return _query(f"select id from {config.module} where {where} limit 2")  # noqa: S608


def changed_call(config: ZohoConfig, since: datetime, offset: int) -> Call:
    """Make the request for our records that changed at or after `since` (UTC).

    Our records have a key of ours. Oldest change first; `offset` as COQL counts, at most 10,000.
    """
    at = since.replace(microsecond=0).isoformat()
    names = sorted({rule.field for rule in config.verdicts} | {config.key_field, "Modified_Time"})
    return _query(
        f"select {', '.join(['id', *names])} from {config.module} "  # noqa: S608 (checked names)
        f"where ({config.key_field} is not null and Modified_Time >= '{at}') "
        f"order by Modified_Time asc limit {offset}, {PAGE_ROWS}"
    )


def watch_call(channel: str, token: str, notify_url: str, module: str, now: datetime) -> Call:
    """Make the request for notifications of changed records; the same channel again renews it."""
    expiry = (now + timedelta(days=WATCH_DAYS)).replace(microsecond=0).isoformat()
    watched = {
        "channel_id": channel,
        "events": [f"{module}.edit"],
        "channel_expiry": expiry,
        "token": token,
        "notify_url": notify_url,
    }
    return json_call("POST", f"{API}/actions/watch", {"watch": [watched]})


def channel_of(endpoint_id: str) -> str:
    """Return the number by which Zoho identifies an endpoint's notifications."""
    return str(int.from_bytes(hashlib.sha256(endpoint_id.encode()).digest()[:6]) + 10**15)


def path_secret(endpoint_id: str, token: str) -> str:
    """Return the part of the notifications' address that only Zoho and we know."""
    return hmac.new(token.encode(), b"path/" + endpoint_id.encode(), hashlib.sha256).hexdigest()


def is_notification(body: bytes, tokens: Sequence[str]) -> bool:
    """Return whether the body carries one of our tokens.

    Its other content is not trusted; the records are read from Zoho.
    """
    try:
        content = msgspec.json.decode(body)
    except UNREADABLE:
        return False
    given = content.get("token") if isinstance(content, dict) else None
    return isinstance(given, str) and any(
        hmac.compare_digest(given.encode(), token.encode()) for token in tokens
    )


def describe_call(module: str) -> Call:
    """Make the request for the module's fields."""
    return Call("GET", f"{API}/settings/fields?{urlencode({'module': module})}")


def read(reply: Reply) -> Answer:
    """Return what the answer to a change of one record means: only its `code` counts."""
    if reply.status is None:
        return answer(reply, "ambiguous" if reply.reached else "retry")
    outcome = _outcome(content_of(reply))
    if outcome is None:
        return _read_status(reply)
    code = word_of(outcome.get("code"))
    result = CODES.get(code, "retry")
    details = outcome.get("details")
    details = details if isinstance(details, dict) else {}
    if result == "ok":
        again = details.get("duplicate_record")
        remote = again.get("id") if isinstance(again, dict) else details.get("id")
        return answer(reply, "ok", remote_id=word_of(remote) or None)
    place = word_of(details.get("json_path")) or word_of(details.get("api_name"))
    why = f"Zoho answered {code or 'without a code'}" + (f" for {place}" if place else "")
    return overloaded(answer(reply, result, why), code in THROTTLED)


def read_found(reply: Reply, config: ZohoConfig) -> list[CrmRecord] | Answer:
    """Return the records in the answer to a query; an answer where none can be read."""
    if reply.status == HTTPStatus.NO_CONTENT:
        return []
    content = content_of(reply)
    rows = content.get("data") if content else None
    if reply.status != HTTPStatus.OK or not isinstance(rows, list) or "code" in _first(rows):
        refused = read(reply)
        return refused if refused.result != "ok" else answer(reply, "retry", "no rows in a query")
    try:
        return [_found(row, config) for row in rows]
    except (KeyError, TypeError, ValueError):
        return answer(reply, "retry", "rows that cannot be read")


def missing_fields(fields: Sequence[Mapping[str, Any]], config: ZohoConfig) -> None:
    """Raise Invalid, naming the field, for a mapping that does not fit the module's description."""
    known = {word_of(each.get("api_name")): each for each in fields if isinstance(each, Mapping)}
    must_fit(config, config.module, known, "system_mandatory", "Owner", "What_Id")


def _query(text: str) -> Call:
    return json_call("POST", f"{API}/coql", {"select_query": text})


def _quoted(text: str) -> str:
    return text.replace("\\", "\\\\").replace("'", "\\'")


def _first(rows: Sequence[Any]) -> Mapping[str, Any]:
    return rows[0] if rows and isinstance(rows[0], dict) else {}


def _outcome(content: Mapping[str, Any] | None) -> Mapping[str, Any] | None:
    """Return the one outcome in a body: a record's, a channel's, or the whole request's."""
    if content is None:
        return None
    for name in ("data", "watch"):
        rows = content.get(name)
        if isinstance(rows, list) and rows and isinstance(rows[0], dict):
            return rows[0]
    return content if "code" in content else None


def _read_status(reply: Reply) -> Answer:
    """Read a reply without a code, which comes from a proxy or an outage."""
    status = reply.status or 0
    if status == HTTPStatus.UNAUTHORIZED:
        return answer(reply, "refresh_token", "Zoho answered 401")
    if status == HTTPStatus.TOO_MANY_REQUESTS:
        return answer(reply, "retry", "Zoho answered 429")
    if HTTPStatus.BAD_REQUEST <= status < HTTPStatus.INTERNAL_SERVER_ERROR:
        return answer(reply, "permanent", f"Zoho answered {status} without a code")
    return answer(reply, "ambiguous", f"an answer that is not Zoho's (HTTP {status})")


def _found(row: object, config: ZohoConfig) -> CrmRecord:
    if not isinstance(row, dict):
        raise TypeError("a row that is no record")
    return CrmRecord(
        key_of(row.get(config.key_field)), id_of(row["id"]), row, _ms(row.get("Modified_Time"))
    )


def _ms(at: object) -> int:
    """Return Unix ms of a record's last change; 0 where unreadable: the mark then does not move."""
    try:
        return round(datetime.fromisoformat(str(at)).timestamp() * 1000)
    except (ValueError, OverflowError, OSError):
        return 0
