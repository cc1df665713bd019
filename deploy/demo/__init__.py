"""`make demo`: sends one year of a supermarket panel through the real services and shows the
results."""
