"""Sizing: what an installation needs, from measured figures."""
