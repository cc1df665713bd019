"""Encrypts secrets before they are stored, and decrypts them: AES-256-GCM, a fresh nonce each time.

Keys come from the environment or a file, never from the database. The first key encrypts, all of
them decrypt: so a new key is put in front, all secrets are encrypted again, and the old one is
removed.
"""

import hashlib
import os
from collections.abc import Sequence
from typing import Final

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from services.alerts.delivery.core.encryption_key import SETTING
from shared.kernel.errors import Invalid

NONCE_BYTES: Final = 12
"""Length of the random nonce: a repetition becomes conceivable after 2^32 secrets under one key;
there are a few."""


class Encryption:
    """Encrypts with the first of its keys.

    `place` binds a secret to where it is stored: moved to another row it cannot be decrypted.
    """

    def __init__(self, keys: Sequence[bytes]) -> None:
        self._keys = {hashlib.sha256(key).hexdigest()[:12]: AESGCM(key) for key in keys}

    @property
    def key_id(self) -> str | None:
        """Return an id of the encrypting key that does not reveal it; None when there is no key."""
        return next(iter(self._keys), None)

    def seal(self, place: str, secret: str) -> tuple[str, bytes]:
        """Return the key's id and the encrypted secret; raise Invalid when there is no key."""
        if self.key_id is None:
            raise Invalid(
                SETTING, "is not set, and secrets are never stored in the clear: set it to the "
                "output of `openssl rand -base64 32`"
            )  # fmt: skip
        nonce = os.urandom(NONCE_BYTES)
        sealed = self._keys[self.key_id].encrypt(nonce, secret.encode(), place.encode())
        return self.key_id, nonce + sealed

    def open(self, place: str, key_id: str, sealed: bytes) -> str:
        """Decrypt a secret; raise Invalid when its key is unknown, or it was changed or moved."""
        if key_id not in self._keys:
            raise Invalid(SETTING, f"the key {key_id}, which sealed {place}, is not among them")
        try:
            nonce, rest = sealed[:NONCE_BYTES], sealed[NONCE_BYTES:]
            return self._keys[key_id].decrypt(nonce, rest, place.encode()).decode()
        except (InvalidTag, ValueError):  # ValueError: too short, or not text
            raise Invalid(place, "was changed after it had been sealed") from None
