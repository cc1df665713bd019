"""企业微信 callbacks: signature, encryption and the event inside.

Implements the scheme of WeCom's documentation (pages 90968 and 91144): SHA-1 over the sorted parts,
AES-256-CBC with the key's first 16 bytes as IV, PKCS#7 to blocks of 32 bytes. No key is
kept.
"""

import base64
import binascii
import hashlib
import hmac
from dataclasses import dataclass
from typing import Final
from xml.etree.ElementTree import Element, ParseError

from cryptography.hazmat.primitives import padding
from cryptography.hazmat.primitives.ciphers import Cipher, algorithms, modes
from defusedxml import DefusedXmlException
from defusedxml.ElementTree import fromstring

from shared.kernel.errors import UNREADABLE, Invalid

AES_KEY_LENGTH: Final = 43
"""Characters of an EncodingAESKey: base64 of 32 bytes without the last `=`."""
NONCE_BYTES: Final = 16
LENGTH_BYTES: Final = 4
BLOCK_BITS: Final = 32 * 8
CIPHER_BLOCK: Final = 16


@dataclass(frozen=True, slots=True)
class Click:
    """A click on a button of a card."""

    user_id: str
    """The member who clicked, authenticated by WeCom."""
    task_id: str
    event_key: str
    response_code: str
    """Code for changing the card; valid once, for 72 h."""
    created_at: str
    """Unix seconds."""


def key_of(encoding_aes_key: str) -> bytes:
    """Decode the AES key; raise Invalid (without the key) if it is none."""
    try:
        key = base64.b64decode(encoding_aes_key + "=", validate=True)
    except binascii.Error:
        raise Invalid("callback_aes_key", "must be base64") from None
    if len(encoding_aes_key) != AES_KEY_LENGTH:
        raise Invalid("callback_aes_key", f"must have {AES_KEY_LENGTH} characters")
    return key


def signature(token: str, timestamp: str, nonce: str, encrypted: str) -> str:
    """Return the `msg_signature` of a callback."""
    parts = "".join(sorted((token, timestamp, nonce, encrypted)))
    return hashlib.sha1(parts.encode(), usedforsecurity=False).hexdigest()


def is_signed(given: str, token: str, timestamp: str, nonce: str, encrypted: str) -> bool:
    """Return whether the signature is right, compared in constant time."""
    expected = signature(token, timestamp, nonce, encrypted)
    return hmac.compare_digest(given.encode(), expected.encode())


def decrypt(encrypted: str, receive_id: str, key: bytes) -> bytes:
    """Decrypt a message for `receive_id`; raise Invalid, without its content, for any other."""
    wrong = Invalid("Encrypt", "cannot be decrypted with this endpoint's key")
    try:
        sealed = base64.b64decode(encrypted, validate=True)
        decryptor = Cipher(algorithms.AES(key), modes.CBC(key[:CIPHER_BLOCK])).decryptor()
        unpadder = padding.PKCS7(BLOCK_BITS).unpadder()
        padded = decryptor.update(sealed) + decryptor.finalize()
        plain = unpadder.update(padded) + unpadder.finalize()
    except (binascii.Error, ValueError):
        raise wrong from None
    begin = NONCE_BYTES + LENGTH_BYTES
    end = begin + int.from_bytes(plain[NONCE_BYTES:begin])
    if len(plain) < begin or end > len(plain):
        raise wrong
    if plain[end:] != receive_id.encode():
        raise Invalid("Encrypt", "is for another receiver")
    return plain[begin:end]


def encrypted_part(body: bytes) -> str:
    """Return the `Encrypt` element of a callback's body.

    Raises Invalid if the XML is unsafe or lacks it.
    """
    found = _text(_parsed(body), "Encrypt")
    if not found:
        raise Invalid("Encrypt", "is missing")
    return found


def click_in(message: bytes) -> Click | None:
    """Return the click in a decrypted message; None for any other event."""
    root = _parsed(message)
    if _text(root, "Event") != "template_card_event":
        return None
    return Click(
        user_id=_text(root, "FromUserName"),
        task_id=_text(root, "TaskId"),
        event_key=_text(root, "EventKey"),
        response_code=_text(root, "ResponseCode"),
        created_at=_text(root, "CreateTime"),
    )


def _parsed(body: bytes) -> Element:
    """Parse XML; entities, external references and document types are refused."""
    try:
        found: Element = fromstring(body, forbid_dtd=True)
    except (ParseError, DefusedXmlException, LookupError, *UNREADABLE):
        raise Invalid("body", "is not the XML of a callback") from None
    return found


def _text(root: Element, name: str) -> str:
    return (root.findtext(name) or "").strip()
