"""A stack of forests whose fits take seconds, so that machines can come and go meanwhile."""

from pathlib import Path

import numpy as np
import pyarrow as pa
from sklearn.ensemble import RandomForestClassifier

import distml


def job(seconds: float = 1.0, cv: int = 6, data: Path = Path("/tmp/dots")) -> distml.Job:
    """Learn on which side of a plane dots are.

    Args:
        seconds: What each fit takes at least.
        cv: Folds.
        data: Folder of the shards; written if it is not there.
    """
    return distml.Job(
        task=distml.Fit(
            data=distml.write_shards(dots, data, num_shards=2, key="dots"),
            label="side",
            estimator=distml.StackingClassifier(
                [(f"forest{depth}", SlowForest(seconds, depth)) for depth in (2, 4, 6)], cv=cv
            ),
            split=distml.Split({"hold_out": distml.ByHash(0.25, key=["row"])}, seed=0),
            metrics=("accuracy", "neg_log_loss"),
        ),
        seed=0,
    )


class SlowForest(RandomForestClassifier):
    """A small forest that takes its time."""

    def __init__(self, seconds=1.0, max_depth=2, random_state=None):
        super().__init__(n_estimators=10, max_depth=max_depth, random_state=random_state)
        self.seconds = seconds

    def fit(self, X, y, sample_weight=None):
        """Fit, and wait."""
        import time

        time.sleep(self.seconds)
        return super().fit(X, y, sample_weight)


def dots() -> pa.Table:
    """2,000 dots in six dimensions, some on the wrong side."""
    random = np.random.default_rng(0)
    values = random.normal(size=(2000, 6)).astype("float32")
    side = (values @ np.arange(6) + random.normal(size=2000) > 0).astype(int)
    columns = {f"x{i}": values[:, i] for i in range(6)}
    return pa.table({"row": range(2000), "side": side, **columns})
