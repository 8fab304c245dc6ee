"""A tiny job that fits nothing and ends as it is told; tests run copies of it."""

import contextlib
import dataclasses
import logging
import subprocess
import sys
import time
import warnings
from pathlib import Path
from typing import Literal

from distml.errors import DataError, MemberError
from distml.job import Job, Resources, Result
from distml.runs.storage import open_storage


def sleep(signs):
    (signs / "ray").touch()
    time.sleep(600)


@dataclasses.dataclass
class Tiny:
    rows: int
    end: str
    signs: Path | None

    def run(self, context):
        sys.stdout.write("printed by the task\n")
        logging.getLogger("tiny").info("logged by the task")
        warnings.warn("warned by the task", stacklevel=1)
        context.emit("phase", name="tiny")
        if self.signs is not None:
            (self.signs / "started").touch()
        getattr(self, self.end)(context)
        return Result(
            metrics={"test": {"r2": self.rows / 100 + context.seed}},
            table=[{"model": "tiny", "kind": "member", "fit_s": 0.1, "test": {"r2": 0.5}}],
            artifacts={"note": "note.txt"},
            details={"rows": self.rows},
        )

    def succeed(self, context):
        open_storage(context.run_uri).write("note.txt", b"note")

    def break_down(self, context):
        raise ValueError("no luck\nat all")

    def lack_data(self, context):
        raise DataError("no files in data/; give a folder with Parquet files")

    def lose_members(self, context):
        raise MemberError("member 'forest' failed: MemoryError")

    def leave(self, context):
        sys.exit(3)

    def hang(self, context):
        time.sleep(600)

    def hang_once(self, context):
        if (self.signs / "resume").exists():
            self.succeed(context)
        else:
            (self.signs / "resume").touch()
            time.sleep(600)

    def hang_deaf(self, context):
        while True:
            with contextlib.suppress(BaseException):
                time.sleep(600)

    def have_children(self, context):
        subprocess.Popen(["sleep", "601"])
        subprocess.Popen(["sleep", "602"], process_group=0)
        (self.signs / "children").touch()
        time.sleep(600)

    def use_ray(self, context):
        from distml import session

        session.connect(1)
        import ray

        try:
            ray.get(ray.remote(sleep).remote(self.signs))
        finally:
            # Longer than Ray's handler of SIGTERM would let it live.
            time.sleep(4)


def job(
    rows: int = 10,
    end: Literal[
        "succeed",
        "break_down",
        "lack_data",
        "lose_members",
        "leave",
        "hang",
        "hang_once",
        "hang_deaf",
        "have_children",
        "use_ray",
    ] = "succeed",
    signs: Path | None = None,
    num_cpus: int | None = None,
    fast: bool = True,
) -> Job:
    """Make it.

    Args:
        rows: How many rows.
        end: How it ends.
    """
    if rows < 0:
        raise ValueError(f"rows={rows} must not be negative")
    return Job(task=Tiny(rows, end, signs), seed=1, resources=Resources(num_cpus=num_cpus))
