"""How strongly should a logistic regression be held back? C, chosen by 3-fold cross-validation.

Trains    a logistic regression for each of 13 values of C, on two thirds of the training rows and
          scored on the last third, three times over; then the best C on all of them.
Data      569 tumours of the breast, 30 measures of cell nuclei each (in scikit-learn; UCI, CC BY
          4.0): malignant or benign. Written once as 1 Parquet shard.
Tested    on a quarter of the rows, chosen by a hash of the whole row.
Takes     about 20 seconds on 2 cores, most of them for Ray to start; 5 with --on debug.
Expect    C = 1, log loss .092 over the folds and .059 on the hold-out, accuracy .986 ± .02.
Command   distml run jobs/cv_logistic.py
          distml run jobs/cv_logistic.py --folds 10
"""

from pathlib import Path

import numpy as np
import pyarrow as pa
from sklearn.datasets import load_breast_cancer
from sklearn.linear_model import LogisticRegression

import distml


def job(folds: int = 3, seed: int = 0, data: Path = Path("data/tumours")) -> distml.Job:
    """Choose C, and train with it.

    Args:
        folds: Parts of the cross-validation.
        seed: Everything random comes from it.
        data: Folder of the shard; written if it is not there.
    """
    return distml.Job(
        task=distml.Fit(
            data=prepare(data),
            label="diagnosis",
            estimator=distml.TuneSearchCV(
                LogisticRegression(max_iter=1000),
                {"C": np.logspace(-4, 2, 13).tolist()},
                search="grid",
                cv=folds,
                scoring="neg_log_loss",
            ),
            split=distml.Split({"hold_out": distml.ByHash(0.25)}, seed=seed),
            metrics=("accuracy", "roc_auc", "neg_log_loss"),
        ),
        seed=seed,
    )


def prepare(folder: Path) -> distml.ShardedDataset:
    """The tumours as a shard in `folder`, written the first time."""
    key = "scikit-learn breast cancer, version 1"
    return distml.write_shards(tumours, folder, num_shards=1, key=key)


def tumours() -> pa.Table:
    """The table that comes with scikit-learn, its classes by name."""
    found = load_breast_cancer(as_frame=True)
    table = found.data.assign(diagnosis=found.target_names[found.target])
    return pa.Table.from_pandas(table, preserve_index=False)
