"""企业微信 WeCom: group bots and application messages."""
