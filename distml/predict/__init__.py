"""The Predict task: a saved model over sharded data, a file of predictions for each shard."""

from distml.predict.task import Predict

__all__ = ["Predict"]
