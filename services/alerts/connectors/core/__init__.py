"""Requests to each CRM, mappings, and the meaning of its answers, all as values.

Holds everything about Zoho CRM, Fxiaoke and WeCom that needs no connection. An adapter in
`outbound/` adds the connection, the access token and the time.
"""
