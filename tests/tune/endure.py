"""A search that takes its time, run by tests that kill it: `endure.py FOLDER SEARCHER`.

Writes a line into `fits` for each unit that was fitted, and `outcome.json` at the end.
"""

import json
import sys
from pathlib import Path

from sklearn.datasets import make_classification
from sklearn.ensemble import GradientBoostingClassifier

from distml import TuneSearchCV, session
from distml.runs.events import use_events
from distml.runs.units import UnitStore, use_units

folder, searcher = Path(sys.argv[1]), sys.argv[2]
X, y = make_classification(1_500, 20, n_informative=6, flip_y=0.1, random_state=0)


def listen(kind, **fields):
    if kind == "unit_done" and not fields["cached"]:
        with (folder / "fits").open("a") as file:
            file.write(f"{fields['unit']}\n")
    if kind == "trial_reported":
        (folder / "started").touch()


search = TuneSearchCV(
    GradientBoostingClassifier(n_estimators=45, max_features=0.5, random_state=0),
    {"learning_rate": [0.01, 0.03, 0.1, 0.3, 0.5], "max_depth": [1, 2, 3, 4, 5]},
    search=searcher,
    scheduler="asha",
    num_samples=12,
    cv=3,
    max_concurrent_trials=4,
    random_state=0,
)
session.connect(2)
with use_units(UnitStore(folder / "units")), use_events(listen):
    search.fit(X, y)
session.disconnect()
results = search.cv_results_
(folder / "outcome.json").write_text(
    json.dumps(
        {
            "best": search.best_params_,
            "score": search.best_score_,
            "params": list(results["params"]),
            "scores": results["mean_test_score"].tolist(),
            "resources": [int(n) for n in results["n_resources"]],
            "reasons": [str(reason) for reason in results["stop_reason"]],
        }
    )
)
