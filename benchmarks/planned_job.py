"""Ten jobs of unlike growth over the same made-up rows, to plan and then to run.

Command   distml plan benchmarks/planned_job.py --kind forest --data FILE.parquet
          distml run benchmarks/planned_job.py --kind forest --data FILE.parquet
"""

from pathlib import Path

from sklearn.ensemble import (
    ExtraTreesClassifier,
    GradientBoostingClassifier,
    HistGradientBoostingClassifier,
    RandomForestClassifier,
)
from sklearn.linear_model import LogisticRegression
from sklearn.neural_network import MLPClassifier
from sklearn.tree import DecisionTreeClassifier
from xgboost import XGBClassifier

import distml

KINDS = {
    "logistic": lambda: LogisticRegression(max_iter=500),
    "forest": lambda: RandomForestClassifier(60),
    "extra_trees": lambda: ExtraTreesClassifier(60),
    "boosting": lambda: GradientBoostingClassifier(n_estimators=20),
    "hist_boosting": lambda: HistGradientBoostingClassifier(max_iter=100),
    "xgboost": lambda: XGBClassifier(n_estimators=200),
    "network": lambda: MLPClassifier(hidden_layer_sizes=(32,), max_iter=15),
    "voting": lambda: distml.VotingClassifier(
        [("forest", RandomForestClassifier(40)), ("logistic", LogisticRegression())], voting="soft"
    ),
    "bagging": lambda: distml.BaggingClassifier(DecisionTreeClassifier(), n_estimators=30),
    "stack": lambda: distml.StackingClassifier(
        [
            ("forest", RandomForestClassifier(40)),
            ("boosting", HistGradientBoostingClassifier(max_iter=60)),
            ("logistic", LogisticRegression()),
        ],
        cv=3,
    ),
}


def job(kind: str = "forest", data: Path = Path("plan.parquet")) -> distml.Job:
    """Fit one of ten models.

    Args:
        kind: Which.
        data: The rows, with a label `y`.
    """
    task = distml.Fit(
        data=str(data),
        label="y",
        estimator=KINDS[kind](),
        split=distml.Split({"test": distml.ByHash(0.2)}),
        metrics=("roc_auc", "accuracy"),
    )
    return distml.Job(task=task, report=False)
