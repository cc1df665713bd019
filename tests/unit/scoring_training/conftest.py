"""Fixture that makes every training here a quick one."""

from tests.unit.scoring_training.quick import quick_training

__all__ = ["quick_training"]
