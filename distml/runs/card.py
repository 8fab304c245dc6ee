"""What a bundle says of its model: `README.md` for people, `signature.json` for programs.

The one decision: the card is written from what the run measured, and says what was not measured. It
never praises: a score stands beside its interval and beside the baselines.
"""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from distml.runs.model import Model
from distml.runs.strict_json import to_json

__all__ = ["card_text", "signature"]


def signature(model: Model, units: str | None) -> dict[str, Any]:
    """Describe what goes into a model and what comes out.

    Args:
        model: the model.
        units: unit of the label, such as `"USD"`, if it has one.

    Returns:
        `task`, `label`, `units`, `classes`, and for `inputs` and `outputs` the name and Arrow type
        of each column. A prediction of a regression is in `units`.

    Raises:
        Nothing.
    """
    return {
        "task": model.task,
        "label": model.label,
        "units": units,
        "classes": to_json(model.classes),
        "inputs": [{"name": field.name, "type": str(field.type)} for field in model.schema],
        "outputs": [{"name": field.name, "type": str(field.type)} for field in model.output_schema],
    }


def card_text(
    model: Model, card: Mapping[str, Any], needed: Mapping[str, str], *, pickled: str | None
) -> str:
    """Write the model card.

    Args:
        model: the model.
        card: what the run knows, each key optional: `about` (text), `data` (`uri`, `fingerprint`,
            `rows` by part), `split` (its rules), `table` (the leaderboard), `evaluation` (the
            content of `evaluation.json`), `units` (of the label), `limits` (list of sentences).
        needed: distribution → version.
        pickled: what asks for a pickle, if a part is one.

    Returns:
        Markdown.

    Raises:
        Nothing.
    """
    sections = [
        [f"# {_title(model)}", "", *_facts(model, card)],
        ["## Data", "", *_data(card)],
        ["## Scores", "", *_scores(card)],
        ["## Limits", "", *(f"- {limit}" for limit in _limits(model, card, pickled=pickled))],
        ["## How to load it", "", *_loading(model, needed, pickled=pickled)],
    ]
    return "\n\n".join("\n".join(section).rstrip() for section in sections) + "\n"


def _title(model: Model) -> str:
    return f"{type(model.estimator).__name__}: {model.task} of `{model.label}`"


def _facts(model: Model, card: Mapping[str, Any]) -> Iterator[str]:
    if card.get("about"):
        yield f"{card['about']}\n"
    if model.metadata.get("run"):
        yield f"- Run: `{model.metadata['run']}`"
    if card.get("units"):
        yield f"- Unit of the prediction: {card['units']}"
    if model.classes is not None:
        yield f"- Classes: {', '.join(f'`{name}`' for name in model.classes)}"
    yield "- Columns it reads:"
    yield from (f"  - `{field.name}`: {field.type}" for field in model.schema)


def _data(card: Mapping[str, Any]) -> Iterator[str]:
    data = card.get("data") or {}
    if not data:
        yield "Not recorded."
    if data.get("uri"):
        yield f"- Read from `{data['uri']}`"
    if data.get("fingerprint"):
        yield f"- Fingerprint `{data['fingerprint']}`"
    for part, count in (data.get("rows") or {}).items():
        yield f"- {part}: {count:,} rows"
    if card.get("split"):
        yield f"- Split by: {_plain(card['split'])}"


def _scores(card: Mapping[str, Any]) -> Iterator[str]:
    """A table for each test set: models down, metrics across."""
    sets = _score_sets(card)
    if not sets:
        yield "Not measured."
        return
    kinds = {row["model"]: row.get("kind", "") for row in card.get("table") or ()}
    level = (card.get("evaluation") or {}).get("level")
    if level:
        yield f"In brackets: {level:.0%} bootstrap intervals.\n"
    for name, scores in sets.items():
        metrics = list(dict.fromkeys(metric for row in scores.values() for metric in row))
        yield f"**{name}**\n"
        yield f"| model | kind | {' | '.join(metrics)} |"
        yield f"|---|---|{'---|' * len(metrics)}"
        for model, row in scores.items():
            cells = [_score(row.get(metric)) for metric in metrics]
            yield f"| {model} | {kinds.get(model, '')} | {' | '.join(cells)} |"
        yield ""


def _score_sets(card: Mapping[str, Any]) -> dict[str, dict[str, Mapping[str, Any]]]:
    """Test set → model → metric → score, with intervals where they were computed."""
    evaluation = card.get("evaluation") or {}
    if evaluation.get("sets"):
        return {name: dict(one["scores"]) for name, one in evaluation["sets"].items()}
    sets: dict[str, dict[str, Mapping[str, Any]]] = {}
    for row in card.get("table") or ():
        for name, scores in row.items():
            if isinstance(scores, Mapping) and name != "validation":
                sets.setdefault(name, {})[row["model"]] = scores
    return sets


def _score(value: Any) -> str:
    if isinstance(value, Mapping):
        low, high = value.get("low"), value.get("high")
        span = "" if low is None or high is None else f" [{low:.4g}, {high:.4g}]"
        return f"{_score(value.get('value'))}{span}"
    return "-" if value is None else f"{value:.4g}"


def _limits(model: Model, card: Mapping[str, Any], *, pickled: str | None) -> Iterator[str]:
    yield from card.get("limits") or ()
    yield (
        "It was measured on the test sets above and on nothing else; rows of another time, place "
        "or process may be predicted worse."
    )
    if model.classes is not None:
        yield f"Every row gets one of its {len(model.classes)} classes, also a row of no class."
    if model.gives_probabilities:
        yield "Its probabilities are the estimator's own; look at their calibration before use."
    if pickled:
        yield (
            f"It is stored as a pickle ({pickled}): loading it runs code, and asks for "
            "`trust=True`."
        )


def _loading(model: Model, needed: Mapping[str, str], *, pickled: str | None) -> Sequence[str]:
    python = ".".join(needed["python"].split(".")[:2])
    trust = ", trust=True" if pickled else ""
    proba = ["model.predict_proba(table)"] if model.gives_probabilities else []
    return [
        f"With Python {python}, in this folder:",
        "",
        "```",
        "pip install -r requirements.txt",
        "```",
        "",
        "```python",
        "import distml",
        "",
        f'model = distml.load("."{trust})',
        "model.predict(table)  # pandas, Arrow, a dict of columns, a list of dicts",
        *proba,
        "```",
        "",
        "Loading checks the sha256 of every file, the versions of the libraries, and that the",
        "golden rows are predicted as they were. The `distml` named in `requirements.txt` is the",
        "wheel in this folder: it loads and predicts, without Ray, and trains nothing.",
    ]


def _plain(value: Any) -> str:
    if isinstance(value, Mapping):
        return ", ".join(f"{key} = {_plain(item)}" for key, item in value.items())
    if isinstance(value, list | tuple):
        return "; ".join(map(_plain, value))
    return str(value)
