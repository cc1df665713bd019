"""The address of PostgreSQL: a wrong one is refused, one without a server tried again."""

import pytest

from deploy.local.databases import Database
from deploy.local.process import StackError
from deploy.local.waiting import free_port


@pytest.mark.parametrize("url", ["postgresql://u@127.0.0.1/d?sslmode=bogus", "mysql://127.0.0.1/d"])
def test_an_address_that_cannot_be_used_is_refused_with_the_reason(url: str) -> None:
    with pytest.raises(StackError, match=r"DATABASE_URL cannot be used: .*(sslmode|scheme)"):
        Database(url, None).ready()


def test_a_server_that_does_not_answer_is_not_ready() -> None:
    assert not Database(f"postgresql://u@127.0.0.1:{free_port()}/d", None).ready()
