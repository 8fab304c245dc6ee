"""How time and memory of a bagging grow with rows, members and workers: a table and a plot.

Each row of the table changes one thing of the middle case. `exponent` is the slope between the
first and the last size on logarithmic axes: 1 means twice the work takes twice as much.
"""

import math
from argparse import Namespace
from pathlib import Path

from measure import Figures, MemoryWatch, Rounds, compare, median, seconds, table, write
from sklearn.datasets import make_classification
from sklearn.tree import DecisionTreeClassifier

from distml import BaggingClassifier, session

MIDDLE = {"rows": 100_000, "members": 16, "workers": 2}
SIZES = {
    "rows": (25_000, 50_000, 100_000, 200_000, 400_000),
    "members": (4, 8, 16, 32, 64),
    "workers": (1, 2, 4),
}
"""What grows → its sizes. 4 workers share 2 cores where there are no more."""
CASES = {f"{what} {size}": {**MIDDLE, what: size} for what in SIZES for size in SIZES[what]}


def measure(contender: str, _: Namespace) -> Figures:
    """Fit one case on a warm Ray."""
    case = CASES[contender]
    X, y = make_classification(case["rows"], 40, n_informative=20, n_redundant=5, random_state=0)
    tree = DecisionTreeClassifier(max_depth=10, max_features="sqrt")
    session.connect(case["workers"])
    BaggingClassifier(tree, case["workers"], random_state=0).fit(X[:1000], y[:1000])
    model = BaggingClassifier(tree, case["members"], random_state=0)
    figures: dict[str, float] = {}
    with MemoryWatch() as memory, seconds(figures):
        model.fit(X, y)
    session.disconnect()
    return {**figures, "added_mb": memory.added_mb}


def exponent(results: Rounds, what: str, figure: str) -> float:
    """Slope of a figure over `what`, on logarithmic axes."""
    first, last = SIZES[what][0], SIZES[what][-1]
    low, high = (median(results, f"{what} {size}", figure) for size in (first, last))
    return math.log(high / low) / math.log(last / first)


def plot(results: Rounds) -> str:
    """The table as an SVG: a panel for each thing that grows, time and memory in it."""
    panels = [_panel(results, what, 20 + 260 * i) for i, what in enumerate(SIZES)]
    return (
        '<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 800 260" font-family="sans-serif" '
        'font-size="12"><rect width="800" height="260" fill="white"/>'
        + "".join(panels)
        + '<text x="20" y="250" fill="#1f5fa8">seconds</text>'
        '<text x="90" y="250" fill="#c2571a">added memory, MB</text>'
        '<text x="230" y="250">both axes logarithmic</text></svg>\n'
    )


def _panel(results: Rounds, what: str, left: int) -> str:
    width, top, height = 200, 40, 160
    sizes = SIZES[what]
    parts = [
        f'<text x="{left}" y="24" font-weight="bold">{what}</text>',
        f'<rect x="{left}" y="{top}" width="{width}" height="{height}" fill="none" stroke="#bbb"/>',
    ]
    steps = [
        left + 15 + (width - 30) * math.log(s / sizes[0]) / math.log(sizes[-1] / sizes[0])
        for s in sizes
    ]
    for x, size in zip(steps, sizes, strict=True):
        label = f"{size // 1000}k" if size >= 1000 else str(size)
        parts.append(f'<text x="{x:.0f}" y="218" text-anchor="middle">{label}</text>')
    for figure, color in (("seconds", "#1f5fa8"), ("added_mb", "#c2571a")):
        values = [max(median(results, f"{what} {size}", figure), 0.1) for size in sizes]
        # The same scale in all panels: from 0.5 to 2,000 of either unit.
        ys = [top + height * (1 - math.log(v / 0.5) / math.log(4000)) for v in values]
        points = " ".join(f"{x:.1f},{y:.1f}" for x, y in zip(steps, ys, strict=True))
        parts.append(f'<polyline points="{points}" fill="none" stroke="{color}" stroke-width="2"/>')
        for x, y, value in zip(steps, ys, values, strict=True):
            text = f"{value:.1f}" if value < 10 else f"{value:.0f}"
            parts.append(f'<circle cx="{x:.1f}" cy="{y:.1f}" r="3" fill="{color}"/>')
            parts.append(
                f'<text x="{x:.1f}" y="{y - 7:.1f}" text-anchor="middle" font-size="10" '
                f'fill="{color}">{text}</text>'
            )
    return "".join(parts)


def main() -> None:
    """Print the table, draw the plot, write both."""
    results, arguments = compare(tuple(CASES), measure, rounds=3)
    rows = [
        (name, median(results, name, "seconds"), median(results, name, "added_mb"))
        for name in CASES
    ]
    print(f"bagging of trees on 40 columns; the middle case is {MIDDLE}")
    print(table(("", "seconds", "added MB"), rows))
    ratios = {
        f"{figure} by {what}": exponent(results, what, figure)
        for what in SIZES
        for figure in ("seconds", "added_mb")
    }
    print(table(("exponent", ""), list(ratios.items())))
    path = write("growth", ratios, results, **vars(arguments))
    Path(path).with_suffix(".svg").write_text(plot(results), encoding="utf-8")


if __name__ == "__main__":
    main()
