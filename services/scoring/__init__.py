"""Scoring: folds events into customer states, assesses risk, re-assesses silent customers."""
