"""The wheel in a bundle: what is in it, and that a bundle needs nothing else."""

import ast
import hashlib
import json
import os
import re
import subprocess
import sys
import zipfile
from importlib import metadata
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest
import xgboost
from sklearn.linear_model import LogisticRegression

from distml import session
from distml.data import ByHash, Encoder, Split, write_shards
from distml.ensemble import StackingClassifier
from distml.fit import Fit
from distml.job import Resources, RunContext
from distml.runs.bundle import Model, save_model
from distml.runs.wheel import own_wheel
from distml.train import NeuralClassifier


@pytest.fixture
def unpacked(tmp_path):
    name, content = own_wheel()
    (tmp_path / name).write_bytes(content)
    with zipfile.ZipFile(tmp_path / name) as archive:
        archive.extractall(tmp_path / "site")
    return tmp_path / "site"


def test_every_module_in_it_finds_what_it_imports_of_us(unpacked):
    present = {
        ".".join(path.relative_to(unpacked).with_suffix("").parts).removesuffix(".__init__")
        for path in unpacked.rglob("*.py")
    }
    assert {"distml", "distml.runs.bundle", "distml.data.encode", "distml.session"} <= present
    for path in unpacked.rglob("*.py"):
        if path.parent.name == "distml" and path.name == "__init__.py":
            continue  # resolves its names when they are asked for
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.ImportFrom) and (node.module or "").startswith("distml"):
                assert node.module in present, f"{path.name} imports {node.module}"


def test_it_lists_its_files_with_their_hashes(unpacked):
    (about,) = unpacked.glob("*.dist-info")
    assert about.name == "distml-0.1.0+bundle.dist-info"
    lines = (about / "RECORD").read_text().splitlines()
    listed = {line.split(",")[0] for line in lines}
    found = {p.relative_to(unpacked).as_posix() for p in unpacked.rglob("*") if p.is_file()}
    assert listed == found
    assert "ray" not in (about / "METADATA").read_text().lower()


def test_its_bytes_are_always_the_same():
    first = hashlib.sha256(own_wheel()[1]).hexdigest()
    own_wheel.cache_clear()
    assert hashlib.sha256(own_wheel()[1]).hexdigest() == first


@pytest.fixture(scope="module")
def bundle(tmp_path_factory):
    """A stack of ours with XGBoost in it, behind our encoder."""
    random = np.random.default_rng(0)
    table = pa.table(
        {"size": random.normal(size=200), "colour": pa.array(random.choice(["red", "blue"], 200))}
    )
    encoder = Encoder().fit(table)
    members = [("lr", LogisticRegression()), ("xgb", xgboost.XGBClassifier(n_estimators=3))]
    labels = np.where(table["size"].to_numpy() > 0, "yes", "no")
    with session.inline():
        stack = StackingClassifier(members, cv=2).fit(encoder.transform(table), labels == "yes")
    model = Model(
        estimator=stack,
        encoder=encoder,
        schema=table.schema,
        label="y",
        task="classification",
        classes=["no", "yes"],
    )
    folder = tmp_path_factory.mktemp("model") / "bundle"
    save_model(folder, model, golden=table, profile_rows=table)
    return folder


CODE = """
import json, sys
import distml
model = distml.load(".")
said = model.predict({"size": [2.0, -2.0], "colour": ["red", "mauve"]}).tolist()
heavy = [name for name in ("ray", "torch") if name in sys.modules]
print(json.dumps([said, distml.__file__, heavy]))
"""

GUARD = """
import sys
sys.path.insert(0, sys.argv[1])

class Guard:
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] in sys.argv[2:]:
            raise ModuleNotFoundError(f"{name} is not among the requirements", name=name)

sys.meta_path.insert(0, Guard())
"""


def absent_of(bundle):
    """What distml depends on and this bundle does not."""
    pins = (bundle / "requirements.txt").read_text().splitlines()
    wanted = {line.partition("==")[0] for line in pins if "==" in line}
    # pip installs what these depend on themselves, as joblib on cloudpickle.
    return needs_of("distml") - wanted - {name for pin in wanted for name in needs_of(pin)}


def needs_of(distribution):
    lines = [line for line in metadata.requires(distribution) or () if "extra ==" not in line]
    return {re.match(r"[\w-]+", line)[0] for line in lines}


def said_of(bundle, unpacked):
    """Predictions, the file of distml and what was loaded, where nothing else is to be had."""
    command = [sys.executable, "-P", "-c", GUARD + CODE, str(unpacked), *absent_of(bundle)]
    done = subprocess.run(command, cwd=bundle, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


def test_of_what_distml_depends_on_a_bundle_imports_its_requirements_alone(unpacked, bundle):
    assert {"ray", "torch", "click", "rich", "pandas"} <= absent_of(bundle)
    said, file, heavy = said_of(bundle, unpacked)
    assert said == ["yes", "no"]
    assert Path(file).is_relative_to(unpacked)
    assert heavy == []


@pytest.fixture(scope="module")
def table():
    random = np.random.default_rng(0)
    size = random.normal(size=400)
    colour = pa.array(random.choice(["red", "blue"], 400))
    return pa.table({"size": size, "colour": colour, "y": np.where(size > 0, "yes", "no")})


def test_the_bundle_of_a_network_asks_for_torch_and_not_for_ray(unpacked, table, tmp_path):
    data = write_shards(table, tmp_path / "data")
    network = NeuralClassifier(epochs=30, lr=1e-2, random_state=0)
    split = Split({"test": ByHash(0.25)})
    task = Fit(data=data, label="y", estimator=network, encoder=None, split=split)
    uri = str(tmp_path / "run")
    context = RunContext(
        run_id="r", run_uri=uri, seed=0, resources=Resources(), emit=lambda *_, **__: None
    )
    with session.inline():
        task.run(context)
    bundle = tmp_path / "run" / "bundle"
    assert {"ray", "click", "rich", "pandas"} <= absent_of(bundle)
    assert "torch" not in absent_of(bundle)
    assert (bundle / "estimator.skops").is_file()
    said, file, heavy = said_of(bundle, unpacked)
    assert said == ["yes", "no"]
    assert Path(file).is_relative_to(unpacked)
    assert heavy == ["torch"]


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_a_bundle_works_in_a_new_environment_with_its_requirements_alone(tmp_path, bundle):
    subprocess.run([sys.executable, "-m", "venv", tmp_path / "venv"], check=True)
    python = str(tmp_path / "venv" / "bin" / "python")
    clean = {name: value for name, value in os.environ.items() if not name.startswith("PYTHON")}
    options = {"cwd": bundle, "env": clean, "capture_output": True, "text": True}
    pip = [python, "-m", "pip", "install", "-q", "-r", "requirements.txt"]
    installed = subprocess.run(pip, **options, check=False)
    assert installed.returncode == 0, installed.stderr
    listed = subprocess.run([python, "-m", "pip", "list"], **options, check=True).stdout.split()
    assert not {"ray", "torch", "click"} & set(listed)
    done = subprocess.run([python, "-c", CODE], **options, check=False)
    assert done.returncode == 0, done.stderr
    said, file, heavy = json.loads(done.stdout)
    assert said == ["yes", "no"]
    assert Path(file).is_relative_to(tmp_path / "venv")
    assert heavy == []
