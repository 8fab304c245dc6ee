"""Who is speaking? A recurrent network over recordings of different lengths.

Trains    a bidirectional GRU over the 12 coefficients of each moment of a recording.
Data      640 recordings of nine men who say two vowels (JapaneseVowels: Kudo, Toyama and Shimbo
          1999; PyPI aeon, read as files), of 7 to 29 moments: a column of lists of 12 numbers each.
          Written once as 2 Parquet shards.
Tested    on the 370 recordings that the collectors set aside.
Takes     about 8 seconds on 2 cores.
Expect    accuracy .974 ± .005 (four seeds: .968 to .978).
Command   distml run jobs/sequence_rnn.py
          distml run jobs/sequence_rnn.py --epochs 10
"""

from importlib.util import find_spec
from pathlib import Path

import numpy as np
import pyarrow as pa

import distml


def job(epochs: int = 60, seed: int = 0, data: Path = Path("data/vowels")) -> distml.Job:
    """Train a network that knows nine speakers.

    Args:
        epochs: Passes over the training rows.
        seed: Everything random comes from it.
        data: Folder of the shards; written if it is not there.
    """
    return distml.Job(
        task=distml.Fit(
            data=prepare(data),
            label="speaker",
            estimator=distml.NeuralClassifier(
                distml.RNN("gru", hidden_size=64, bidirectional=True, pool="mean", dropout=0.3),
                epochs=epochs,
                batch_size=32,
                lr=5e-3,
                weight_decay=1e-2,
                scheduler="onecycle",
                # A step is over before a second thread has begun.
                cpus_per_worker=1,
                random_state=seed,
            ),
            split=distml.Split({"test": distml.ByTime("recording", start=270)}, seed=seed),
            features=("moments",),
            encoder=None,
            metrics=("accuracy", "f1_macro", "neg_log_loss"),
        ),
        seed=seed,
    )


def prepare(folder: Path) -> distml.ShardedDataset:
    """The recordings as shards in `folder`, written the first time."""
    return distml.write_shards(vowels, folder, num_shards=2, key="aeon JapaneseVowels, version 1")


def vowels() -> pa.Table:
    """Both parts behind each other: 270 recordings to learn from, then 370 to test on."""
    read = [recording for part in ("TRAIN", "TEST") for recording in _recordings(part)]
    moments, speakers = zip(*read, strict=True)
    return pa.table(
        {
            "recording": range(len(read)),
            "moments": pa.array(moments, pa.list_(pa.list_(pa.float32(), 12))),
            "speaker": speakers,
        }
    )


def _recordings(part: str) -> list[tuple[list[list[float]], str]]:
    """Moments of 12 numbers and the speaker of each recording in a file."""
    text = _file(f"JapaneseVowels_{part}.ts").read_text()
    lines = text.partition("@data\n")[2].splitlines()
    return [(_moments(channels), speaker) for *channels, speaker in (s.split(":") for s in lines)]


def _moments(channels: list[str]) -> list[list[float]]:
    return np.array([channel.split(",") for channel in channels], dtype=np.float32).T.tolist()


def _file(name: str) -> Path:
    package = find_spec("aeon")
    if package is None or package.origin is None:
        raise distml.DataError("aeon is not installed; pip install --no-deps aeon")
    return Path(package.origin).parent / "datasets" / "data" / "JapaneseVowels" / name
