"""Loads any artefact of the store as a predictor: trees or a pooled prior."""

import msgspec

from services.scoring.model import churn_model, pooled_model
from services.scoring.model.churn_model import ChurnModel
from services.scoring.model.pooled_model import PooledModel


class _Kind(msgspec.Struct):
    kind: str = ""


def loads(data: bytes) -> ChurnModel | PooledModel:
    """Load the predictor in these bytes. Raises Invalid, naming what does not fit."""
    try:
        kind = msgspec.json.decode(data, type=_Kind).kind
    except msgspec.MsgspecError:
        kind = ""  # the model's own decoder reports the error
    return pooled_model.loads(data) if kind == pooled_model.KIND else churn_model.loads(data)


def knows_until(model: ChurnModel | PooledModel) -> str:
    """Return the instant (UTC, ISO 8601) that ends the data that the model learned from."""
    return model.artefact.labels_end if isinstance(model, PooledModel) else model.card.labels_end
