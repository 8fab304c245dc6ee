"""What tests of runs share: settings, and a bundle as another writer would have it."""

import hashlib
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import settings

from distml.runs.manifest import seal

# No test asserts a time, by way of hypothesis' default limit either.
settings.register_profile("no-deadline", deadline=None)
settings.load_profile("no-deadline")


@pytest.fixture
def reseal() -> Callable[..., None]:
    """Writes a manifest that is right for changed files, as whoever wants to harm us would."""

    def write(folder: Path, **changes: Any) -> None:
        manifest = json.loads((folder / "manifest.json").read_text())
        manifest.pop("sha256")
        manifest.update(changes)
        for name in manifest["files"]:
            content = (folder / name).read_bytes()
            sha = hashlib.sha256(content).hexdigest()
            manifest["files"][name] = {"sha256": sha, "bytes": len(content)}
        manifest["sha256"] = seal(manifest)
        (folder / "manifest.json").write_text(json.dumps(manifest))

    return write
