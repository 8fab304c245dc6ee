"""A job that does next to nothing, and the same work as a bare script: what is left is overhead.

Command   distml run benchmarks/tiny_job.py --data FILE.parquet
          python benchmarks/tiny_job.py FILE.parquet
"""

import sys
from pathlib import Path

import distml


def job(data: Path) -> distml.Job:
    """Fit a logistic regression to a small file."""
    from sklearn.linear_model import LogisticRegression

    split = distml.Split({"test": distml.ByHash(0.2)})
    task = distml.Fit(
        data=data, label="y", estimator=LogisticRegression(), split=split, metrics=("accuracy",)
    )
    return distml.Job(task=task, report=False)  # the bare script writes none either


def bare(data: Path) -> float:
    """The same by hand: read, split, scale, fit, score beside a dummy, save."""
    import joblib
    import pandas as pd
    from sklearn.dummy import DummyClassifier
    from sklearn.linear_model import LogisticRegression
    from sklearn.model_selection import train_test_split
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler

    frame = pd.read_parquet(data)
    parts = train_test_split(frame.drop(columns="y"), frame["y"], test_size=0.2, random_state=0)
    X_train, X_test, y_train, y_test = parts
    DummyClassifier().fit(X_train, y_train).score(X_test, y_test)
    model = make_pipeline(StandardScaler(), LogisticRegression()).fit(X_train, y_train)
    joblib.dump(model, data.with_suffix(".joblib"))
    return float(model.score(X_test, y_test))


if __name__ == "__main__":
    bare(Path(sys.argv[1]))
