"""The text of a first job: what stays the same whatever the data, with `$names` for what does not.

One decision: a line that is a `$name` alone becomes as many lines as that text has, at the same
indent, and none if the text is empty. So the template reads as the file that it makes.
"""

from collections.abc import Iterator, Mapping
from string import Template

__all__ = ["JOB", "LABELLED", "MEMBERS", "MEMBER_IMPORTS", "fill"]

JOB = '''\
"""$title

Written by `distml init` as a start: read it, and change what you know better.

$header
"""

$import_path

$import_arrow
$import_members

import distml

LABEL = $label

$rare

$columns

$dropped


def job(
    rows: int = 0,
    $cv_parameter
    seed: int = 0,
    data: $data_type = $data,
    $shards_parameter
) -> distml.Job:
    """Train a $task.

    Args:
        rows: Train and test on this many rows drawn at random; 0 for all.
        $cv_help
        seed: Everything random comes from it.
        data: Where the data is.
        $shards_help
    """
    return distml.Job(
        task=distml.Fit(
            data=$dataset,
            label=LABEL,
            estimator=$estimator,
            split=distml.Split(
                {
                    $test_sets
                },
                seed=seed,
            ),
            # Trees take missing values as they are; the linear model fills them itself.
            $encoder
            metrics=($metrics),
            $rule
            rows=rows or None,
        ),
        seed=seed,
    )


$members
$labelled
'''

_LINEAR_IMPORTS = """\
from sklearn.impute import SimpleImputer
from sklearn.linear_model import $linear
$import_folds
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from xgboost import $xgboost"""

MEMBER_IMPORTS: Mapping[str, str] = {
    "classification": (
        "from sklearn.ensemble import HistGradientBoostingClassifier, RandomForestClassifier\n"
        + _LINEAR_IMPORTS.replace("$linear", "LogisticRegression").replace(
            "$xgboost", "XGBClassifier"
        )
    ),
    "regression": (
        "from sklearn.ensemble import HistGradientBoostingRegressor, RandomForestRegressor\n"
        + _LINEAR_IMPORTS.replace("$linear", "RidgeCV").replace("$xgboost", "XGBRegressor")
    ),
}
"""Task → the imports that its members need."""

MEMBERS: Mapping[tuple[str, bool], str] = {
    ("classification", True): '''\
def stack(*, cv: int, seed: int) -> distml.StackingClassifier:
    """Four learners that err differently, weighed by what they say of rows they have not seen."""
    members = {
        "logistic": make_pipeline(
            SimpleImputer(keep_empty_features=True),
            StandardScaler(),
            LogisticRegression(max_iter=1000),
        ),
        "forest": RandomForestClassifier($forest, random_state=seed),
        "boosting": HistGradientBoostingClassifier(learning_rate=0.1, random_state=seed),
        "xgboost": XGBClassifier(n_estimators=150, max_depth=5, subsample=0.8, random_state=seed),
    }
    return distml.StackingClassifier(
        list(members.items()),
        final_estimator=LogisticRegression(max_iter=1000),
        $folds
    )''',
    ("classification", False): '''\
def vote(*, seed: int) -> distml.VotingClassifier:
    """Four learners that err differently; their probabilities are averaged, for rows are few."""
    members = {
        "logistic": make_pipeline(
            SimpleImputer(keep_empty_features=True),
            StandardScaler(),
            LogisticRegression(max_iter=1000),
        ),
        "forest": RandomForestClassifier($forest, random_state=seed),
        "boosting": HistGradientBoostingClassifier(learning_rate=0.1, random_state=seed),
        "xgboost": XGBClassifier(n_estimators=100, max_depth=3, subsample=0.8, random_state=seed),
    }
    return distml.VotingClassifier(list(members.items()), voting="soft")''',
    ("regression", True): '''\
def stack(*, cv: int, seed: int) -> distml.StackingRegressor:
    """Four learners that err differently, weighed by what they say of rows they have not seen."""
    members = {
        "ridge": make_pipeline(
            SimpleImputer(keep_empty_features=True), StandardScaler(), RidgeCV()
        ),
        "forest": RandomForestRegressor($forest, random_state=seed),
        "boosting": HistGradientBoostingRegressor(learning_rate=0.1, random_state=seed),
        "xgboost": XGBRegressor(n_estimators=200, max_depth=6, subsample=0.8, random_state=seed),
    }
    return distml.StackingRegressor(
        list(members.items()),
        final_estimator=RidgeCV(),
        $folds
    )''',
    ("regression", False): '''\
def vote(*, seed: int) -> distml.VotingRegressor:
    """Four learners that err differently; their predictions are averaged, for rows are few."""
    members = {
        "ridge": make_pipeline(
            SimpleImputer(keep_empty_features=True), StandardScaler(), RidgeCV()
        ),
        "forest": RandomForestRegressor($forest, random_state=seed),
        "boosting": HistGradientBoostingRegressor(learning_rate=0.1, random_state=seed),
        "xgboost": XGBRegressor(n_estimators=100, max_depth=3, subsample=0.8, random_state=seed),
    }
    return distml.VotingRegressor(list(members.items()))''',
}
"""(Task, whether there are rows enough to stack) → the function that makes the estimator."""


LABELLED = '''\


def labelled(data: $data_type, folder: Path) -> distml.ShardedDataset:
    """The rows whose label can be learnt, as shards in `folder`."""
    tables = $opened.iter_tables()
    return distml.write_shards(map(known, tables), folder, overwrite=True)


def known(table: pa.Table) -> pa.Table:
    """The rows of a table whose label can be learnt."""
    $without_unusable
    $without_rare
    return table
'''
"""The functions that leave rows out, where there are any to leave out."""


def fill(template: str, texts: Mapping[str, str]) -> str:
    """Put texts into a template.

    Args:
        template: Lines with `$names`.
        texts: Name → text; it is taken as it is, `$` in it included.

    Returns:
        The text, without blank lines at its end and never with more than two in a row.

    Raises:
        KeyError: a name of the template is not among the texts.
    """
    lines: list[str] = []
    for line in _filled(template, texts):
        if line or lines[-2:] != ["", ""]:
            lines.append(line)
    return "\n".join(lines).rstrip("\n") + "\n"


def _filled(template: str, texts: Mapping[str, str]) -> Iterator[str]:
    for line in template.splitlines():
        name = line.strip()
        if name.startswith("$") and name[1:].isidentifier():
            indent = line[: len(line) - len(line.lstrip())]
            yield from ((indent + part).rstrip() for part in texts[name[1:]].splitlines())
        else:
            yield Template(line).substitute(texts)
