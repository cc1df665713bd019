"""`wechatpy`'s crypto for 企业微信 callbacks.

Run by .venv-consumers: `wechat_crypto.py encrypt|decrypt TOKEN KEY CORP`, a JSON object on its
input; prints a JSON object.
"""

import json
import sys

import xmltodict
from wechatpy.enterprise.crypto import WeChatCrypto


def main(action: str, token: str, key: str, corp: str) -> dict[str, str]:
    """Seal a message as WeCom does, or verify and open one."""
    crypto = WeChatCrypto(token, key, corp)
    given = json.load(sys.stdin)
    if action == "encrypt":
        sealed = crypto.encrypt_message(given["message"], given["nonce"], given["timestamp"])
        parts = xmltodict.parse(sealed)["xml"]
        return {"encrypted": parts["Encrypt"], "signature": parts["MsgSignature"]}
    body = f"<xml><Encrypt>{given['encrypted']}</Encrypt></xml>"
    message = crypto.decrypt_message(body, given["signature"], given["timestamp"], given["nonce"])
    return {"message": message if isinstance(message, str) else message.decode()}


if __name__ == "__main__":
    print(json.dumps(main(*sys.argv[1:]), ensure_ascii=False))
