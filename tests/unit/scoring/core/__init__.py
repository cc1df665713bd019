"""The scoring kernel against hand-made examples and an independent reference."""
