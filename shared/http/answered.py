"""A `send` of ASGI that remembers the status of the answer."""

from starlette.types import Message, Send


class Answered:
    """Passes messages on; `status` is that of the answer, or `none` before its head is sent."""

    def __init__(self, send: Send, none: str) -> None:
        self._send = send
        self.status = none

    async def __call__(self, message: Message) -> None:
        """Pass a message on."""
        if message["type"] == "http.response.start":
            self.status = str(message["status"])
        await self._send(message)
