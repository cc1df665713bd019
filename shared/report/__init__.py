"""HTML reports: one file that opens anywhere, without a network.

What it is for: model cards, segment reports, effect reports. `page` puts sections, tables and
plots into one page; `plots` draws. It never computes a figure and never reads a clock.
"""
