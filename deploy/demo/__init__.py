"""`make demo`: one year of a supermarket panel through the real services, and what came of it."""
