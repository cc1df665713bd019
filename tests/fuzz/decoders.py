"""Every decoder of input from outside or from storage, each with samples.

A new decoder is one more line in `DECODERS`. With unreadable bytes a decoder may raise `Invalid` or
return an answer; anything else is a finding.
"""

import gzip
import json
import random
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import partial
from typing import Any, Final

from services.alerts.connectors.core.config import (
    FxiaokeConfig,
    WecomAppConfig,
    WecomBotConfig,
    ZohoConfig,
    read_config,
)
from services.alerts.connectors.core.notice import read_notice
from services.alerts.connectors.core.owners import remote_owner
from services.alerts.connectors.core.template import context, fill
from services.alerts.connectors.core.verdict_mapping import VerdictRule, rule_of
from services.alerts.connectors.fxiaoke import api as fxiaoke
from services.alerts.connectors.fxiaoke.connector import FxiaokeDialect, session_of
from services.alerts.connectors.record_connector import UnusableToken
from services.alerts.connectors.wecom import api as wecom
from services.alerts.connectors.wecom import crypto
from services.alerts.connectors.zoho import api as zoho
from services.alerts.connectors.zoho.connector import ZohoDialect
from services.alerts.core.webhook_payload import body
from services.alerts.delivery.core.retry import (
    DELAYS_S,
    ERROR_LENGTH_MAX,
    HEAD_LENGTH_MAX,
    REMOTE_ID,
    Answer,
    Reply,
    after,
)
from services.alerts.delivery.core.retry import read as read_webhook
from services.alerts.delivery.core.signature import symmetric, verify
from services.alerts.delivery.store.endpoints import _route
from services.alerts.inbound.activity import ActivityDecoder as AlertsActivityDecoder
from services.alerts.inbound.changes import ChangesDecoder
from services.alerts.inbound.risk import RiskDecoder
from services.ingest.core import segment
from services.ingest.core.bodies import EVENTS_MAX, Form, binary_mode, split
from services.ingest.core.http_sources import read_sources
from services.ingest.core.mapping.apply import Context, map_value
from services.ingest.core.mapping.document import compile_mapping
from services.ingest.core.rates import RateTable
from services.ingest.core.signatures import KINDS, SHOPIFY, STRIPE, WOOCOMMERCE, genuine
from services.ingest.inbound.mapping_files import read_mapping, shipped
from services.scoring.inbound.activity import ActivityDecoder
from services.scoring.inbound.treatment import TreatmentDecoder
from shared.contracts import events, risk
from shared.http.inflating import Inflating, TooLarge
from shared.kafka.batch import Batch
from shared.kernel.errors import Invalid
from shared.postgres.ledger import Claim
from tests.fakes.crm.wecom_cipher import encrypt
from tests.fuzz import framed_records
from tests.fuzz.mutation import mutated
from tests.unit.alerts.connectors.notices import closed, task
from tests.unit.alerts.inbound.test_decoders import Fetched
from tests.unit.alerts.samples import assessed
from tests.unit.ingest.events import accept
from tests.unit.ingest.mapping.corpus import Corpus, corpora

NOW: Final = datetime(2026, 3, 1, tzinfo=UTC)
ARRIVED_MS: Final = 1_772_355_600_000
ZOHO: Final = ZohoConfig(
    client_id="c", verdicts=(VerdictRule(field="Status", value="Completed", verdict="reached"),)
)
FXIAOKE: Final = FxiaokeConfig(app_id="a", user_id="1000", object_name="object_x__c")
OLD: Final = FXIAOKE.model_copy(update={"style": "old"})
BOT: Final = WecomBotConfig()
APP: Final = WecomAppConfig(corp_id="ww1", agent_id=1)
KEY: Final = b"k" * 32
RESULTS: Final = {"ok", "retry", "refresh_token", "permanent", "endpoint_dead", "ambiguous"}
STATUSES: Final = (None, 100, 200, 201, 204, 302, 400, 401, 404, 410, 429, 500, 503, 999)
HEADERS: Final = (
    None, "5", "-5", "9" * 5_000, "Wed, 21 Oct 99999999999999999999 07:28:00 GMT",
    "Wed, 21 Oct 2026 07:28:99999999999 GMT", "+99999999999999", "NaN", "\udcff", "\0", "²",
)  # fmt: skip

Decode = Callable[[random.Random, bytes], object]


@dataclass(frozen=True, slots=True)
class Decoder:
    """`decode(chance, bytes)` raises only Invalid; `samples` are inputs that it should read."""

    decode: Decode
    samples: tuple[Any, ...]

    def once(self, rng: random.Random) -> bytes:
        """Decode a mutation of the samples; returns the input, for the report."""
        given = mutated(rng, self.samples)
        try:
            self.decode(rng, given)
        except Invalid as wrong:
            assert wrong.field, "an Invalid that names no field"
        except Exception as error:
            raise AssertionError(f"{error!r} for {given[:300]!r} ({len(given)} bytes)") from error
        return given


def _reply(rng: random.Random, given: bytes) -> Reply:
    header = rng.choice(HEADERS)
    return Reply(
        rng.choice(STATUSES), 1.0, given, {} if header is None else {"retry-after": header}
    )


def _answers(read: Callable[[Reply], Any]) -> Decode:
    """Wraps a reader of answers: its result can be acted on and stored."""

    def decode(rng: random.Random, given: bytes) -> None:
        found = read(_reply(rng, given))
        if isinstance(found, Answer):
            _usable(found)
            attempt = rng.randrange(1, 10)
            follows = after(found, "m", attempt, NOW, DELAYS_S)
            assert follows.delay_s is None or 0 <= follows.delay_s <= 2 * DELAYS_S[attempt] + 60
        elif isinstance(found, tuple):
            assert 0 <= found[1] < 10**9, "seconds of a token"
        elif isinstance(found, list):
            for record in found:
                assert REMOTE_ID.fullmatch(record.remote_id)
                assert not record.key or REMOTE_ID.fullmatch(record.key)
                rule_of(record.values, ZOHO.verdicts)

    return decode


def _usable(answer: Answer) -> None:
    assert answer.result in RESULTS
    for text, most in ((answer.head, HEAD_LENGTH_MAX), (answer.error or "", ERROR_LENGTH_MAX)):
        assert len(text) <= most
        assert "\0" not in text
        text.encode()
    assert answer.remote_id is None or REMOTE_ID.fullmatch(answer.remote_id)


def _json(read: Callable[[Any], Any]) -> Decode:
    """Wraps a reader of JSON that a column has returned as a value."""

    def decode(_: random.Random, given: bytes) -> None:
        try:
            value = json.loads(given)
        except (ValueError, RecursionError):
            return  # no JSON column holds it
        read(value)

    return decode


def _config(kind: str) -> Decode:
    return _json(partial(read_config, kind))


def _delivery(rng: random.Random, given: bytes) -> None:
    """Decodes a stored delivery, and makes each connector's request of it."""
    notice = read_notice(given)
    try:
        owner = remote_owner(notice.owner_id, None, ZOHO)
        known = context(notice, owner)
        zoho.create_call(ZOHO, notice.key, fill(ZOHO.fields, known, "UTC"), owner, None)
        fields = fill(FXIAOKE.fields, known, "UTC")
        session = fxiaoke.Session("t", "e")
        fxiaoke.create_call(FXIAOKE, session, notice.key, fields, owner=owner, trace="t")
    finally:
        wecom.bot_call(BOT, notice, None, "k")
        wecom.card_call(APP, notice, "m", "t")


def _stored_session(_: random.Random, given: bytes) -> None:
    try:
        session_of(given.decode("utf-8", "replace"))
    except UnusableToken:
        return


def _callback(rng: random.Random, given: bytes) -> None:
    """Decodes a WeCom callback: the outer XML, the encrypted part, and the click inside."""
    for read in (crypto.encrypted_part, crypto.click_in):
        try:
            read(given)
        except Invalid:
            continue
    crypto.decrypt(given.decode("latin-1"), "ww1", KEY)


def _signed(rng: random.Random, given: bytes) -> None:
    """Verifies a callback of a webhook's receiver; its headers are untrusted."""
    text = given[:200].decode("latin-1")
    verify(
        {"webhook-id": "m", "webhook-timestamp": rng.choice([text, "1772323200", "9" * 4_000]),
         "webhook-signature": text},
        given, [symmetric(b"s" * 32)], NOW,
    )  # fmt: skip


def _record(decode: Callable[[Batch], Any]) -> Decode:
    """Wraps a decoder of a topic: what it cannot read is a dead letter."""

    def decode_one(_: random.Random, given: bytes) -> None:
        claim = Claim("t", 0, 1, 0, None)
        decode(Batch({("t", 0): claim}, {("t", 0): [Fetched(given)]}, {("t", 0): 1}))

    return decode_one


def _event(kind: str, /, **data: Any) -> dict[str, Any]:
    return {"specversion": "1.0", "id": "e-1", "source": "/t", "type": kind,
            "time": "2026-03-01T08:30:00Z", "subject": "c-1", "data": data}  # fmt: skip


EVENTS: Final = (
    _event(events.PURCHASE, amount=5.0, currency="USD"),
    _event(events.PROFILE, profile={"name": "Ann", "language": "zh-CN"}),
    _event(events.PROFILE, name="Ann", language="zh-CN"),
    _event(events.FEEDBACK, kind="survey", score=3),
    _event(events.TICK),
)
BODIES: Final = (json.loads(body(task())), json.loads(body(closed(task()))))
ROWS: Final = {"id": "1", "Churn_Task_Key": "rt_1", "Status": ["Completed"],
               "Modified_Time": "2026-03-01T08:30:00+08:00"}  # fmt: skip
NAMED: Final = (*ZOHO.fields, ZOHO.key_field)
ZOHO_DONE: Final = (
    {"data": [{"code": "SUCCESS", "details": {"id": "1"}, "status": "success"}]},
    {"data": [{"code": "DUPLICATE_DATA", "details": {"duplicate_record": {"id": "1"}}}]},
    {"code": "INVALID_TOKEN", "details": {"json_path": "$.data"}},
)
CLICK: Final = (
    b"<xml><Encrypt>" + encrypt(b"<xml/>", "ww1", KEY, b"r" * 16).encode() + b"</Encrypt></xml>",
    b"<xml><Event>template_card_event</Event><FromUserName>a</FromUserName><TaskId>t</TaskId></xml>",
)


def _mapped(corpus: Corpus) -> Decoder:
    """A topic whose records a shipped mapping reads."""
    _, mapping = read_mapping(corpus.mapping)
    context = Context(ARRIVED_MS, RateTable("USD"))
    return Decoder(
        lambda _, given: map_value(mapping, given, context), tuple(corpus.records.values())
    )


def _segment(_: random.Random, given: bytes) -> None:
    """Completes a batch of Segment's calls, and maps each."""
    mapping = read_mapping("segment")[1]
    for call in segment.calls("batch", given, ARRIVED_MS):
        map_value(mapping, call, Context(ARRIVED_MS, RateTable("USD")))


def _inflated(_: random.Random, given: bytes) -> None:
    stream = Inflating(1_000)
    try:
        assert len(stream.add(given)) <= 1_000
        stream.end()
    except TooLarge:
        return


def _genuine(rng: random.Random, given: bytes) -> None:
    """Verifies a vendor's webhook; its header is untrusted."""
    text = given[:4_000].decode("latin-1")
    names = (SHOPIFY, WOOCOMMERCE, STRIPE)
    kind = rng.choice(KINDS)
    assert not genuine(kind, dict.fromkeys(names, text), given, ["s" * 32], ARRIVED_MS / 1000)


def _split(rng: random.Random, given: bytes) -> None:
    form: Form = rng.choice(("json", "lines", "one"))
    assert len(split(given, form)) <= EVENTS_MAX
    binary_mode([("ce-id", given[:200].decode("latin-1"))], None)


CALLS: Final = ({"batch": [{"type": "track", "event": "A", "userId": "u"}], "sentAt": "x"},)


DECODERS: Final[dict[str, Decoder]] = {
    "registry: framed record": Decoder(framed_records.record, framed_records.RECORDS),
    "registry: schema": Decoder(framed_records.schema, framed_records.ANSWERS),
    "webhook: answer": Decoder(_answers(read_webhook), ({"ok": True}, b"thanks")),
    "webhook: callback": Decoder(_signed, (b"v1,c2ln", b"{}")),
    "zoho: answer": Decoder(_answers(zoho.read), ZOHO_DONE),
    "zoho: records": Decoder(
        _answers(lambda r: zoho.read_found(r, ZOHO)), ({"data": [ROWS]}, *ZOHO_DONE)
    ),
    "zoho: token": Decoder(
        _answers(zoho.read_token),
        ({"access_token": "1000.x", "expires_in": 3600}, {"error": "invalid_code"}),
    ),
    "zoho: description": Decoder(
        _answers(ZohoDialect(ZOHO).check), ({"fields": [{"api_name": name} for name in NAMED]},)
    ),
    "zoho: callback": Decoder(
        lambda _, given: zoho.is_notification(given, ["t"]), ({"token": "t", "ids": []},)
    ),
    "zoho: config": Decoder(_config("zoho"), ({"client_id": "c", "fields": {"S": "{{ key }}"}},)),
    "fxiaoke: answer": Decoder(
        _answers(fxiaoke.read), ({"errorCode": 0, "dataId": "6"}, {"errorCode": 20016})
    ),
    "fxiaoke: records": Decoder(
        _answers(lambda r: fxiaoke.read_found(r, FXIAOKE)),
        ({"errorCode": 0, "data": {"dataList": [{"_id": "6", "last_modified_time": 1772323200000,
                                                 "churn_task_key__c": "rt_1"}]}},),
    ),
    "fxiaoke: token": Decoder(
        _answers(lambda r: fxiaoke.read_session(r, FXIAOKE)),
        ({"errorCode": 0, "accessToken": "t", "ea": "e", "expiresIn": 7200},),
    ),
    "fxiaoke: old token": Decoder(
        _answers(lambda r: fxiaoke.read_session(r, OLD)),
        ({"errorCode": 0, "corpAccessToken": "t", "corpId": "e", "expiresIn": "7200"},),
    ),
    "fxiaoke: stored token": Decoder(_stored_session, (["t", "e"],)),
    "fxiaoke: description": Decoder(
        _answers(FxiaokeDialect(FXIAOKE).check),
        ({"errorCode": 0, "data": {"describe": {"fields": {
            name: {"is_required": True} for name in (*FXIAOKE.fields, FXIAOKE.key_field)}}}},),
    ),
    "fxiaoke: config": Decoder(
        _config("fxiaoke"), ({"app_id": "a", "user_id": "1", "object_name": "o__c"},)
    ),
    "wecom_bot: answer": Decoder(
        _answers(lambda r: wecom.read(r, None)), ({"errcode": 0, "errmsg": "ok"},)
    ),
    "wecom_bot: config": Decoder(_config("wecom_bot"), ({"opened": "{{ title }}"},)),
    "wecom_app: answer": Decoder(
        _answers(lambda r: wecom.read(r, "m")),
        ({"errcode": 0, "msgid": "x", "invaliduser": "m|n"}, {"errcode": 45009}),
    ),
    "wecom_app: token": Decoder(
        _answers(wecom.read_token), ({"errcode": 0, "access_token": "t", "expires_in": 7200},)
    ),
    "wecom_app: callback": Decoder(_callback, CLICK),
    "wecom_app: config": Decoder(_config("wecom_app"), ({"corp_id": "w", "agent_id": 1},)),
    "stored: delivery": Decoder(_delivery, BODIES),
    "stored: route": Decoder(
        _json(_route), ({"event_types": ["retention_task.opened"], "owner_ids": ["o-1"]},)
    ),
    "topic: alerts risk": Decoder(
        _record(RiskDecoder("d")), (json.loads(risk.ENCODER.encode(assessed(1, 1.0))),)
    ),
    "topic: alerts activity": Decoder(_record(AlertsActivityDecoder("d")), EVENTS),
    "topic: alerts changes": Decoder(
        _record(ChangesDecoder("d")),
        ({"customer_id": "c-1", "kind": "segment_entered", "at": "2026-03-01T08:30:00Z",
          "segment": "s"},),
    ),
    "topic: scoring activity": Decoder(
        _record(lambda batch: ActivityDecoder("d", replay=True)(batch, NOW)), EVENTS
    ),
    "topic: scoring treatment": Decoder(
        _record(TreatmentDecoder("d")),
        ({"customer_id": "c-1", "kind": "task_raised", "at": "2026-03-01T08:30:00Z"},),
    ),
    "http: events": Decoder(_split, (list(EVENTS), b"{}\n{}\n")),
    "http: compressed": Decoder(_inflated, (gzip.compress(b"{}" * 50, mtime=0),)),
    "http: segment": Decoder(_segment, CALLS),
    "http: signature": Decoder(_genuine, (b"t=1772355600,v1=" + b"0" * 64, b"c2ln")),
    "http: sources": Decoder(
        lambda _, given: read_sources(given.decode("utf-8", "replace")),
        ({"shop": {"signature": "shopify", "secrets": ["0123456789abcdef"]}},),
    ),
    "topic: ingest raw": Decoder(
        lambda _, given: accept(given, (), ARRIVED_MS, RateTable("USD", {})), EVENTS
    ),
    **{f"topic: records of {corpus.mapping}": _mapped(corpus) for corpus in corpora()},
    "mapping": Decoder(
        lambda _, given: compile_mapping(given.decode("utf-8", "replace"), "m.yaml"),
        tuple(read_mapping(name)[0].encode() for name in shipped()),
    ),
}  # fmt: skip
"""All decoders of external input, grouped by its origin."""
