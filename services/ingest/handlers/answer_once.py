"""Use case: a request with an `Idempotency-Key` that is repeated gets the same answer.

The answer is stored after Kafka has acknowledged. Between the two a process may end: the repeated
request is then sent again, which changes nothing, since events are recognised by their ids. So the
key saves work and keeps answers alike; that an event counts once does not depend on it.
"""

from collections.abc import Awaitable, Callable
from dataclasses import dataclass

from services.ingest.ports import Answer, Answers
from shared.kernel.errors import Invalid
from shared.runtime.clock import Clock


@dataclass(frozen=True, slots=True)
class AnswerOnce:
    """One per process; what it knows is in the store, so that every replica knows it."""

    answers: Answers
    clock: Clock

    async def __call__(
        self, owner: str, key: str, digest: bytes, work: Callable[[], Awaitable[Answer]]
    ) -> Answer:
        """Return the answer of `work`, or the stored one; `digest`: of the whole request.

        Keys belong to their owner. Raises Invalid where the key was used for another request,
        Transient, and what `work` raises: such an outcome is not stored.
        """
        now = self.clock.now()
        claimed = await self.answers.claim(owner, key, digest, now)
        if claimed.digest != digest:
            raise Invalid("Idempotency-Key", "it was used for another request")
        if claimed.answer is not None:
            return claimed.answer
        answer = await work()
        await self.answers.store(owner, key, answer)
        return answer
