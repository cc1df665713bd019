"""What each CRM is told and what its answers mean: requests, mappings and error tables as values.

What it is for: everything about Zoho CRM, Fxiaoke and WeCom that needs no connection. An adapter
in `outbound/` adds the connection, the access token and the time.
"""
