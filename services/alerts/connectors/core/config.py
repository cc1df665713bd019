"""Validates an administrator's settings of a CRM: addresses, fields, owners, verdict rules.

It turns an endpoint's `config` into a value of its connector. Secrets are not part of it: they are
the endpoint's own, encrypted. The CRM is not called (`check_remote.py` does that).
"""

from collections.abc import Mapping
from typing import Annotated, Any, Final, Literal
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, HttpUrl, ValidationError

from services.alerts.connectors.core import template
from services.alerts.connectors.core.template import Fields, Templated
from services.alerts.connectors.core.verdict_mapping import VerdictRule
from shared.contracts.treatment import Verdict
from shared.kernel.errors import Invalid

SWEEP_S_MIN: Final = 60.0
"""Least seconds between two polls of a CRM: one a minute is 1,440 calls a day, a small part of the
smallest quota (5,000)."""
RULES_MAX: Final = 50
"""Most rules of one endpoint."""

ApiName = Annotated[str, Field(pattern=r"^[A-Za-z][A-Za-z0-9_]{0,99}$")]
"""A field's or module's name. The pattern keeps queries free of anything but names."""


def _a_zone(name: str) -> str:
    try:
        ZoneInfo(name)
    except (ZoneInfoNotFoundError, ValueError, OSError):  # OSError: a folder's name, a long one
        raise ValueError("must be a time zone such as Asia/Shanghai") from None
    return name


def _an_address(url: str) -> str:
    HttpUrl(url)
    return url.rstrip("/")


Address = Annotated[str, AfterValidator(_an_address)]


class _Config(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")

    time_zone: Annotated[str, AfterValidator(_a_zone)] = "Asia/Shanghai"
    """Time zone in which a due date is a day."""
    owner_ids: Literal["mapped", "same"] = "mapped"
    """`mapped`: through the endpoint's owner table; `same`: our ids are those of the CRM."""
    fallback_owner: str | None = Field(None, min_length=1, max_length=200)
    """Owner of tasks that no row of the owner table covers; None: such a task cannot be
    delivered."""


class _CrmConfig(_Config):
    """Config of a CRM that keeps the task as a record, and is polled for its changes."""

    key_field: ApiName
    """Field that keeps our id of the task. The CRM should enforce that it is unique."""
    verdicts: tuple[VerdictRule, ...] = Field((), max_length=RULES_MAX)
    sweep_s: float = Field(300.0, ge=SWEEP_S_MIN, le=86_400.0)
    """Seconds between two polls for changes."""


_NAME = "{{ title or customer.name or customer.id }}"
_WHY_AND_HOW = "{{ reasons_text }}{% for step in steps %}\n- {{ step }}{% endfor %}"


class ZohoConfig(_CrmConfig):
    """Zoho CRM v8. China: `www.zohoapis.com.cn` and `accounts.zoho.com.cn`."""

    api_url: Address = "https://www.zohoapis.com"
    accounts_url: Address = "https://accounts.zoho.com"
    client_id: str = Field(min_length=1, max_length=200)
    module: ApiName = "Tasks"
    key_field: ApiName = "Churn_Task_Key"
    fields: Fields = {
        "Subject": _NAME + ": {{ risk_percent }} %",
        "Due_Date": Templated(template="{{ due_at }}", type="date"),
        "Priority": "{{ 'Highest' if band == 'critical' else 'High' }}",
        "Status": "Not Started",
        "Description": _WHY_AND_HOW,
    }
    changed_fields: Fields = {
        "Due_Date": Templated(template="{{ due_at }}", type="date"),
        "Description": _WHY_AND_HOW,
    }
    """Fields that are written when a task changes that is still open."""
    closed_fields: Fields = {"Status": "Completed"}
    """Fields that are written when a task has ended here."""
    about: str | None = None
    """Template of the id of the account that the task is about."""
    about_module: ApiName = "Accounts"
    about_key: ApiName | None = None
    """Field of the account that holds that id; None: it is Zoho's own."""
    workflows: tuple[Literal["workflow", "approval", "blueprint"], ...] = ()
    """The automations of Zoho that may run."""
    notify_url: Address | None = None
    """Our public address: Zoho then notifies us of changes at once, and the poll only finds what it
    missed. None: only the poll."""


class FxiaokeConfig(_CrmConfig):
    """纷享销客, with a custom object (`…__c`) for the task."""

    api_url: Address = "https://open.fxiaoke.com"
    style: Literal["new", "old"] = "new"
    """Style of tokens and employee ids; never mixed."""
    app_id: str = Field(min_length=1, max_length=200)
    user_id: str = Field(min_length=1, max_length=200)
    """The employee that our changes are made as: `1000` (new) or `FSUID_…` (old)."""
    object_name: ApiName
    key_field: ApiName = "churn_task_key__c"
    fields: Fields = {
        "name": _NAME + "：{{ risk_percent }}%",
        "due__c": Templated(template="{{ due_at }}", type="milliseconds"),
        "reasons__c": _WHY_AND_HOW,
        "status__c": "open",
    }
    changed_fields: Fields = {
        "due__c": Templated(template="{{ due_at }}", type="milliseconds"),
        "reasons__c": _WHY_AND_HOW,
    }
    closed_fields: Fields = {"status__c": "closed"}
    workflows: bool = False
    """Whether Fxiaoke's approval flow and workflows may run."""


class WecomBotConfig(_Config):
    """企业微信 group bot: a message to a group. It returns nothing."""

    api_url: Address = "https://qyapi.weixin.qq.com"
    opened: str | None = Field(None, max_length=template.TEMPLATE_LENGTH_MAX)
    """Markdown of a new task; None: our own text in the task's language."""
    closed: str | None = Field(None, max_length=template.TEMPLATE_LENGTH_MAX)
    mention: bool = True
    """Whether the owner is mentioned, where the owner table knows them."""


class WecomAppConfig(_Config):
    """企业微信 application message: a card with buttons to the owner."""

    api_url: Address = "https://qyapi.weixin.qq.com"
    corp_id: str = Field(min_length=1, max_length=100)
    agent_id: int = Field(ge=1)
    url: str | None = Field(None, max_length=template.TEMPLATE_LENGTH_MAX)
    """Template of the address that a tap on the card opens. WeCom requires one: None uses
    `https://work.weixin.qq.com/`."""
    buttons: tuple[Verdict, ...] = Field(
        ("reached", "action_taken", "leaving", "wrong_alarm"), min_length=1, max_length=6
    )


Config = ZohoConfig | FxiaokeConfig | WecomBotConfig | WecomAppConfig

KINDS: Final[Mapping[str, type[Config]]] = {
    "zoho": ZohoConfig,
    "fxiaoke": FxiaokeConfig,
    "wecom_bot": WecomBotConfig,
    "wecom_app": WecomAppConfig,
}
RECORD_KINDS: Final = frozenset(
    kind for kind, config in KINDS.items() if issubclass(config, _CrmConfig)
)
"""Kinds that keep the task as a record: they describe their fields and are polled for changes."""

SECRETS: Final[Mapping[str, frozenset[str]]] = {
    "zoho": frozenset({"client_secret", "refresh_token"}),
    "fxiaoke": frozenset({"app_secret", "permanent_code"}),
    "wecom_bot": frozenset({"key"}),
    "wecom_app": frozenset({"corp_secret"}),
}
"""Names of the secrets that are needed to send."""

CALLBACK_SECRETS: Final[Mapping[str, frozenset[str]]] = {
    "zoho": frozenset({"callback_token"}),
    "wecom_app": frozenset({"callback_token", "callback_aes_key"}),
}
"""Names of the secrets that are needed to receive."""


def read_config(kind: str, config: Mapping[str, Any]) -> Config:
    """Return the config of a connector; raise Invalid naming the field that is wrong."""
    model = KINDS.get(kind)
    if model is None:
        raise Invalid("kind", f"must be one of webhook, {', '.join(KINDS)}")
    try:
        read = model.model_validate(config)
    except ValidationError as wrong:
        first = wrong.errors(include_url=False, include_input=False)[0]
        place = ".".join(str(part) for part in ("config", *first["loc"]))
        raise Invalid(place, first["msg"]) from None
    for name in ("fields", "changed_fields", "closed_fields"):
        template.check(getattr(read, name, {}), f"config.{name}")
    for name in ("about", "opened", "closed", "url"):
        text = getattr(read, name, None)
        if text is not None:
            template.check({name: text}, "config")
    return read
