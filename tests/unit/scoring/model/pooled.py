"""A pooled prior as it is stored, for tests of every kind of model."""

from services.scoring.model.pooled_model import PooledArtefact, make

ARTEFACT = PooledArtefact(
    horizon_days=14,
    r=0.8,
    alpha=9.0,
    a=0.4,
    b=3.0,
    customers=300,
    repeats=900,
    labels_end="2021-01-01T00:00:00+00:00",
    data_fingerprint="0",
)
POOLED, DATA = make(ARTEFACT)
