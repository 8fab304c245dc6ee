"""Which digit was written? A convolutional network that reads images out of a column.

Trains    three convolutions with batch normalisation and a dense layer, by AdamW on a one-cycle
          schedule.
Data      1,797 handwritten digits of 43 people (in scikit-learn; UCI, CC BY 4.0): images of 8 x 8
          pixels from 0 to 16, a column of lists of lists. Written once as 2 Parquet shards.
Tested    on a quarter of the rows, chosen by a hash of the whole row, and on the last 400, which
          were written by people whose hands it has hardly seen.
Takes     about 6 seconds on 2 cores.
Expect    accuracy .991 ± .005 on the hold-out, .973 ± .005 on the last writers (four seeds: .986 to
          .997, .968 to .978).
Command   distml run jobs/digits_cnn.py
          distml run jobs/digits_cnn.py --epochs 10
"""

from pathlib import Path

import pyarrow as pa
from sklearn.datasets import load_digits

import distml


def job(epochs: int = 30, seed: int = 0, data: Path = Path("data/digits")) -> distml.Job:
    """Train a network that reads digits.

    Args:
        epochs: Passes over the training rows.
        seed: Everything random comes from it.
        data: Folder of the shards; written if it is not there.
    """
    return distml.Job(
        task=distml.Fit(
            data=prepare(data),
            label="digit",
            estimator=distml.NeuralClassifier(
                distml.CNN(channels=(32, 64, 64), pool=2, hidden=(128,), dropout=0.3),
                epochs=epochs,
                batch_size=64,
                lr=3e-3,
                scheduler="onecycle",
                # A step is over before a second thread has begun.
                cpus_per_worker=1,
                random_state=seed,
            ),
            split=distml.Split(
                {
                    "last_writers": distml.ByTime("row", start=1397),
                    "hold_out": distml.ByHash(0.25, key=["image"]),
                },
                seed=seed,
            ),
            features=("image",),
            encoder=None,
            metrics=("accuracy", "f1_macro", "neg_log_loss"),
        ),
        seed=seed,
    )


def prepare(folder: Path) -> distml.ShardedDataset:
    """The digits as shards in `folder`, written the first time."""
    return distml.write_shards(digits, folder, num_shards=2, key="scikit-learn digits, version 1")


def digits() -> pa.Table:
    """Images as lists of 8 lists of 8 numbers, in the order in which they were collected."""
    found = load_digits()
    images = found.images.astype("uint8").tolist()
    return pa.table(
        {
            "row": range(len(images)),
            "image": pa.array(images, pa.list_(pa.list_(pa.uint8(), 8), 8)),
            "digit": found.target,
        }
    )
