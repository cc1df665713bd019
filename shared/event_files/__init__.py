"""Reads event files of other companies: their columns, text, times, amounts and words.

`reader` joins the stages in the other modules. Each decides over a whole column; what cannot be
decided raises Invalid, which names the column, the rows and the option that settles it.
"""
