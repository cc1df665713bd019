"""Tests that train models: minutes of processor time, so apart from the unit tests."""
