"""The backtest: which past customers would have been warned about, and which are at risk today.

It turns a company's own event file into a page for a manager, with the very cores of scoring and
alerts, without a broker or a database.
"""
