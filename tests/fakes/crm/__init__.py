"""Fake CRMs on loopback, as far as connectors need them.

They are built from the vendors' documentation and also used by the vendors' own SDKs
(`tests/integration/crm/test_consumers.py`), so that they do not only reflect our own reading.
"""
