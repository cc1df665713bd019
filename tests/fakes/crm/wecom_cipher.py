"""Encrypts callbacks as WeCom does; the vendors' packages check that in `tests/consumers`."""

import base64

from cryptography.hazmat.primitives import padding
from cryptography.hazmat.primitives.ciphers import Cipher, algorithms, modes

from services.alerts.connectors.wecom.crypto import BLOCK_BITS, CIPHER_BLOCK, LENGTH_BYTES


def encrypt(message: bytes, receive_id: str, key: bytes, random: bytes) -> str:
    """Encrypt a message as WeCom would; `random` are 16 random bytes."""
    padder = padding.PKCS7(BLOCK_BITS).padder()
    plain = random + len(message).to_bytes(LENGTH_BYTES) + message + receive_id.encode()
    encryptor = Cipher(algorithms.AES(key), modes.CBC(key[:CIPHER_BLOCK])).encryptor()
    padded = padder.update(plain) + padder.finalize()
    return base64.b64encode(encryptor.update(padded) + encryptor.finalize()).decode()
