"""Which digit was written? A network on two workers, its learning rate and size searched.

Trains    6 configurations of a convolutional network, each data-parallel on 2 workers. All begin
          with 4 epochs; ASHA gives 12 to the third that is ahead. A trial takes the CPUs of its
          workers and none for itself, so on 2 CPUs one trains after the other and none waits for
          ever. Workers take seconds to start: this shows that it works, not that it is worth it.
Data      1,797 handwritten digits, the same shards as those of digits_cnn.py beside it, which says
          what is in them.
Tested    on a quarter of the rows, and on the last 400, as there.
Takes     2 to 3 minutes on 2 cores, most of them for workers to start.
Expect    accuracy .98 ± .01 on the hold-out, .93 ± .025 on the last writers; 2 of 6 trials are
          stopped early.
Command   distml run jobs/tune_network.py
          distml run jobs/tune_network.py --workers 1 --trials 12
"""

from pathlib import Path

import digits_cnn as digits
from ray.tune.schedulers import ASHAScheduler
from scipy.stats import loguniform
from sklearn.model_selection import ShuffleSplit

import distml


def job(
    trials: int = 6,
    epochs: int = 12,
    workers: int = 2,
    seed: int = 0,
    data: Path = Path("data/digits"),
) -> distml.Job:
    """Tune a network that reads digits.

    Args:
        trials: Configurations to try.
        epochs: The most passes over the training rows.
        workers: Workers that train one network together.
        seed: Everything random comes from it.
        data: Folder of the shards; written if it is not there.
    """
    return distml.Job(
        task=distml.Fit(
            data=digits.prepare(data),
            label="digit",
            estimator=search(trials=trials, epochs=epochs, workers=workers, seed=seed),
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


def search(*, trials: int, epochs: int, workers: int, seed: int) -> distml.TuneSearchCV:
    """A search by one validation set, since each fold of a trial starts its workers anew."""
    network = distml.NeuralClassifier(
        distml.CNN(channels=(16, 32), pool=2, hidden=(64,), dropout=0.3),
        epochs=epochs,
        batch_size=64,
        num_workers=workers,
        # A step is over before a second thread has begun.
        cpus_per_worker=1,
        random_state=seed,
    )
    channels = [(8, 16), (16, 32), (32, 64)]
    return distml.TuneSearchCV(
        network,
        {"lr": loguniform(3e-4, 3e-2), "module__channels": channels},
        scheduler=ASHAScheduler(max_t=epochs, grace_period=max(1, epochs // 3), reduction_factor=3),
        num_samples=trials,
        cv=ShuffleSplit(1, test_size=0.25, random_state=seed),
        random_state=seed,
    )
