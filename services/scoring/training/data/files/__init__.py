"""Event files of other companies: their columns, text, times, amounts and words made one shape.

What it is for: the stages that `event_file` joins. Each decides over a whole column, and what
cannot be decided is an Invalid that names the column, the rows and the option that settles it.
"""
