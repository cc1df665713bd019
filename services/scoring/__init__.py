"""Scoring: folds events into customer state, assesses risk, re-assesses the silent."""
