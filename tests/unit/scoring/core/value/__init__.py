"""Value, grades, states and segments: the cores."""
