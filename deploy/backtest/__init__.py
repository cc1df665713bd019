"""The backtest: who would have been warned of in the past, and who is at risk today.

What it is for: from a company's own event file to a page that a manager reads, with the very cores
of scoring and alerts, without a broker or a database.
"""
