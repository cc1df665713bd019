"""The doctor: examines an installation and states what is wrong and what to do about it."""
