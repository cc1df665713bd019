"""An address counts as https only where it is, in any field and spelling."""

from typing import get_args, get_type_hints

from hypothesis import given
from hypothesis import strategies as st

from services.alerts.connectors.core import config
from services.alerts.delivery.core.endpoint import ADDRESSES, Endpoint

SCHEMES = st.sampled_from(
    ["http", "HTTP", "hTTp", "ftp", "file", "", " http", "https ", "httpss", "h\0ttps", "ws"]
)
REST = st.text(max_size=30)


@given(name=st.sampled_from(("url", *ADDRESSES)), scheme=SCHEMES, rest=REST)
def test_anything_else_is_named_by_its_field(name: str, scheme: str, rest: str) -> None:
    address = f"{scheme}://{rest}"
    if name == "url":
        assert Endpoint(id="e", url=address).plain() == "url"
    else:
        assert Endpoint(id="e", kind="zoho", config={name: address}).plain() == f"config.{name}"


@given(scheme=st.sampled_from(["https", "HTTPS", "hTTpS"]), rest=REST)
def test_https_is_https(scheme: str, rest: str) -> None:
    address = f"{scheme}://{rest}"
    assert Endpoint(id="e", url=address, config=dict.fromkeys(ADDRESSES, address)).plain() is None


def test_every_address_of_every_connector_is_looked_at() -> None:
    """A new connector's address cannot be forgotten: its type marks it."""
    found = {
        name
        for model in config.KINDS.values()
        for name, hint in get_type_hints(model, include_extras=True).items()
        if hint == config.Address or config.Address in get_args(hint)
    }
    assert found == set(ADDRESSES)
