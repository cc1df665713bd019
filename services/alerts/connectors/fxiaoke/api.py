"""纷享销客 Fxiaoke as values: our requests, and the meaning of its answers.

Both generations of its parameters are here. Every answer is HTTP 200, so only `errorCode` counts,
never the message. Random trace ids come from the caller. Nothing is sent here.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from http import HTTPStatus
from typing import Any, Final

from services.alerts.connectors.core.call import (
    Call,
    code_of,
    content_of,
    id_of,
    json_call,
    key_of,
    overloaded,
    seconds_of,
    token_of,
    word_of,
)
from services.alerts.connectors.core.config import FxiaokeConfig
from services.alerts.connectors.core.mapping import must_fit
from services.alerts.connectors.core.verdict_mapping import CrmRecord
from services.alerts.delivery.core.retry import (
    Answer,
    Reply,
    Result,
    answer,
)

PAGE_ROWS: Final = 100
"""Rows of one query, the most that Fxiaoke returns."""
OK: Final = 0

CODES: Final[Mapping[int, Result]] = {
    0: "ok",
    20016: "refresh_token",  # invalid or expired
    -1: "retry",  # busy
    50009: "ambiguous",  # a service behind it failed or timed out: it may have written the record
    30004: "retry",  # calls per second
    14001: "retry",  # calls per interval
    30002: "retry",  # the day's quota, until midnight
    30003: "endpoint_dead",  # no quota was bought
    20021: "endpoint_dead",  # the app is switched off
    20022: "endpoint_dead",  # the app is not authorised
    10006: "endpoint_dead",  # wrong secret (by the gateway; the documented table differs)
    20017: "permanent",  # no authorisation in the request
    10013: "permanent",  # a parameter is wrong, or an offset above 10,000
}
"""The meaning of each code. Any other positive one is a refusal of this record."""

THROTTLED: Final = frozenset({30004, 14001, 30002})


@dataclass(frozen=True, slots=True)
class Session:
    """An access token and the company it is for (`ea`, or `corpId` in the old style)."""

    token: str
    company: str


def token_call(config: FxiaokeConfig, app_secret: str, permanent_code: str, trace: str) -> Call:
    """Make the request for an access token. At most ten times a minute, and never twice at once."""
    content = {"appId": config.app_id, "appSecret": app_secret, "permanentCode": permanent_code}
    if config.style == "old":
        return json_call("POST", _traced("/cgi/corpAccessToken/get/V2", trace), content)
    return json_call(
        "POST", _traced("/oauth2.0/token", trace), content | {"grantType": "app_secret"}
    )


def read_session(reply: Reply, config: FxiaokeConfig) -> tuple[Session, float] | Answer:
    """Read the session, and its life in seconds, from the answer to `token_call`."""
    content = content_of(reply) or {}
    names = ("corpAccessToken", "corpId") if config.style == "old" else ("accessToken", "ea")
    token, company = (token_of(content.get(name)) for name in names)
    if content.get("errorCode", OK) != OK or not token or not company:
        refused = read(reply)
        return refused if refused.result != "ok" else answer(reply, "retry", "no token in it")
    return Session(token, company), seconds_of(content.get("expiresIn"))


def create_call(
    config: FxiaokeConfig,
    session: Session,
    key: str,
    fields: Mapping[str, Any],
    owner: str | None,
    trace: str,
) -> Call:
    """Make the request to add one record.

    Its name is inside `object_data` here; Fxiaoke's triggers default to on.
    """
    record = {"dataObjectApiName": config.object_name, **fields, config.key_field: key}
    if owner is not None:
        record["owner"] = [owner]
    data = {"object_data": record, "details": {}}
    return _call(config, session, "create", data, trace, _triggers(config))


def update_call(
    config: FxiaokeConfig, session: Session, remote_id: str, fields: Mapping[str, Any], trace: str
) -> Call:
    """Make the request to change fields of one record."""
    record = {"dataObjectApiName": config.object_name, "_id": remote_id, **fields}
    return _call(config, session, "update", {"object_data": record}, trace, _triggers(config))


def find_call(config: FxiaokeConfig, session: Session, key: str, trace: str) -> Call:
    """Make the request for the record with our key."""
    condition = _filter(config.key_field, "EQ", key)
    return _query(config, session, [condition], 0, ["_id", config.key_field], trace)


def changed_call(
    config: FxiaokeConfig, session: Session, since_ms: int, offset: int, trace: str
) -> Call:
    """Make the request for records changed after `since_ms` (Unix ms), oldest change first."""
    names = {rule.field for rule in config.verdicts}
    names |= {"_id", config.key_field, "last_modified_time"}
    filters = [_filter("last_modified_time", "GT", str(since_ms))]
    return _query(config, session, filters, offset, sorted(names), trace)


def describe_call(config: FxiaokeConfig, session: Session, trace: str) -> Call:
    """Make the request for the object's fields."""
    content = {"includeDetail": False, "data": {"apiName": config.object_name}}
    return _signed(config, session, "/cgi/crm/v2/object/describe", content, trace)


def read(reply: Reply) -> Answer:
    """Return what an answer means: only its `errorCode` counts, under HTTP 200 or not."""
    if reply.status is None:
        return answer(reply, "ambiguous" if reply.reached else "retry")
    content = content_of(reply)
    code = code_of(content, "errorCode")
    if content is None or code is None:
        if reply.status == HTTPStatus.TOO_MANY_REQUESTS:
            return answer(reply, "retry", "Fxiaoke's gateway answered 429")
        return answer(reply, "ambiguous", f"an answer that is not Fxiaoke's (HTTP {reply.status})")
    result = CODES.get(code, "permanent" if code > OK else "retry")
    if result == "ok":
        return answer(reply, "ok", remote_id=word_of(content.get("dataId")) or None)
    refusal = answer(reply, result, f"Fxiaoke answered errorCode {code}")
    return overloaded(refusal, code in THROTTLED)


def read_found(reply: Reply, config: FxiaokeConfig) -> list[CrmRecord] | Answer:
    """Return the records in the answer to a query; an answer where none can be read."""
    refused = read(reply)
    if refused.result != "ok":
        return refused
    data = (content_of(reply) or {}).get("data")
    rows = data.get("dataList") if isinstance(data, dict) else None
    if not isinstance(rows, list):
        return answer(reply, "retry", "no rows in a query")
    try:
        return [_found(row, config) for row in rows]
    except (KeyError, TypeError, ValueError, AttributeError, OverflowError):
        return answer(reply, "retry", "rows that cannot be read")


def missing_fields(described: object, config: FxiaokeConfig) -> None:
    """Raise Invalid, naming the field, for a mapping that does not fit the object's description."""
    fields = described.get("fields") if isinstance(described, Mapping) else None
    known: Mapping[str, Any] = fields if isinstance(fields, Mapping) else {}
    must_fit(config, config.object_name, known, "is_required", "owner")


def _found(row: Mapping[str, Any], config: FxiaokeConfig) -> CrmRecord:
    changed = word_of(row.get("last_modified_time"))
    # 0 where that cannot be read: the mark then does not move.
    modified_ms = int(changed) if changed.isascii() and changed.isdigit() else 0
    return CrmRecord(key_of(row.get(config.key_field)), id_of(row["_id"]), row, modified_ms)


def _query(
    config: FxiaokeConfig,
    session: Session,
    filters: Sequence[Mapping[str, Any]],
    offset: int,
    fields: Sequence[str],
    trace: str,
) -> Call:
    order = "last_modified_time" if "last_modified_time" in fields else "_id"
    info = {
        "limit": PAGE_ROWS,
        "offset": offset,
        "filters": list(filters),
        "orders": [{"fieldName": order, "isAsc": True}],
        "fieldProjection": list(fields),
    }
    data = {"dataObjectApiName": config.object_name, "search_query_info": info}
    return _call(config, session, "query", data, trace, {})


def _filter(name: str, operator: str, value: str) -> dict[str, Any]:
    return {"field_name": name, "field_values": [value], "operator": operator}


def _triggers(config: FxiaokeConfig) -> dict[str, Any]:
    return {"triggerApprovalFlow": config.workflows, "triggerWorkFlow": config.workflows}


def _call(
    config: FxiaokeConfig,
    session: Session,
    action: str,
    data: Mapping[str, Any],
    trace: str,
    more: Mapping[str, Any],
) -> Call:
    custom = "custom/" if config.object_name.endswith("__c") else ""
    return _signed(
        config, session, f"/cgi/crm/{custom}v2/data/{action}", {**more, "data": data}, trace
    )


def _signed(
    config: FxiaokeConfig, session: Session, path: str, content: Mapping[str, Any], trace: str
) -> Call:
    """Sign a request: the new style names the caller in headers, the old one in the body.

    Never both.
    """
    if config.style == "new":
        return json_call(
            "POST",
            _traced(path, trace),
            content,
            **{
                "authorization": f"Bearer {session.token}",
                "x-fs-ea": session.company,
                "x-fs-userid": config.user_id,
            },
        )
    who = {
        "corpAccessToken": session.token,
        "corpId": session.company,
        "currentOpenUserId": config.user_id,
    }
    return json_call("POST", _traced(path, trace), {**who, **content})


def _traced(path: str, trace: str) -> str:
    return f"{path}?thirdTraceId={trace}"
