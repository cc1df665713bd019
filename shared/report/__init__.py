"""HTML reports: one file that opens anywhere, without a network.

Used for model cards, segment reports and effect reports. `page` puts sections, tables and plots
into one page; `plots` draws. This package never computes a figure and never reads a clock.
"""
