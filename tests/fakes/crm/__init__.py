"""CRMs on loopback, as far as connectors need them.

They are built from the vendors' documentation and driven by the vendors' own SDKs as well
(`tests/integration/crm/test_consumers.py`), so that they are not only our idea of a CRM.
"""
