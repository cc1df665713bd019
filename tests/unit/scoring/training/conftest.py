"""Fixture that makes every training here a quick one."""

from tests.unit.scoring.training.quick_training import quick_training

__all__ = ["quick_training"]
