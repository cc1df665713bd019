"""The parts of alerts that send messages to customers, wired as `main` wires them."""

import asyncio

from sqlalchemy.ext.asyncio import AsyncEngine

from services.alerts.core.policy_document import Policy
from services.alerts.handlers.decide_messages import DecideMessages
from services.alerts.handlers.send_customer_messages import SendCustomerMessages
from services.alerts.handlers.take_message_result import TakeMessageResult
from services.alerts.store.business_clock import BusinessClock
from services.alerts.store.consents import Consents
from services.alerts.store.customer_messages import CustomerMessages
from services.alerts.store.customers import Customers
from services.alerts.store.due_tasks import TaskLog
from services.alerts.store.tables import SCHEMA
from services.alerts.store.tasks import Tasks
from shared.postgres.suspects import Suspects
from shared.runtime.isolation import ItemIsolation
from tests.fakes.clock import SetClock
from tests.integration.alerts.doubles import SetRules


def customer_messages(engine: AsyncEngine, clock: SetClock, policy: Policy) -> SendCustomerMessages:
    """Return the step of the timers that sends messages to customers."""
    return SendCustomerMessages(
        engine=engine,
        decide=DecideMessages(
            messages=CustomerMessages(),
            consents=Consents(),
            customers=Customers(),
            tasks=Tasks(),
            rules=SetRules(policy),
        ),
        log=TaskLog(),
        business_clock=BusinessClock(clock, replay=False),
        clock=clock,
        isolation=ItemIsolation(Suspects(engine, SCHEMA), clock, lambda _: None),
        deliveries_queued=asyncio.Event(),
    )


def take_result(engine: AsyncEngine, clock: SetClock) -> TakeMessageResult:
    """Return the handler of what providers report."""
    return TakeMessageResult(
        engine=engine,
        messages=CustomerMessages(),
        consents=Consents(),
        customers=Customers(),
        log=TaskLog(),
        business_clock=BusinessClock(clock, replay=False),
        clock=clock,
    )
