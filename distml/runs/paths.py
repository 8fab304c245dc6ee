"""The names of all files of a run, in one class.

The one decision: nobody else spells a file name of a run.
"""

from dataclasses import dataclass

from distml.runs.storage import join_uri

__all__ = ["RunPaths"]


@dataclass(frozen=True, slots=True)
class RunPaths:
    """The names of all files of a run: under its URI, or relative to its storage."""

    root: str
    """URI of the run, or its id for paths relative to the storage."""

    @property
    def record(self) -> str:
        """The record, as JSON."""
        return join_uri(self.root, "record.json")

    @property
    def job_source(self) -> str:
        """The job file as it was."""
        return join_uri(self.root, "job.py")

    @property
    def events(self) -> str:
        """The event log; on an object store, a folder of this name without its suffix."""
        return join_uri(self.root, "events.jsonl")

    @property
    def log(self) -> str:
        """What the driver printed and logged."""
        return join_uri(self.root, "log.txt")

    @property
    def lease(self) -> str:
        """Folder of the driver's lease."""
        return join_uri(self.root, "lease")

    @property
    def bundle(self) -> str:
        """Folder of the saved model."""
        return join_uri(self.root, "bundle")

    @property
    def units(self) -> str:
        """Folder of its own units, where it shares none with other runs."""
        return join_uri(self.root, "units")

    @property
    def checkpoints(self) -> str:
        """Folder of the checkpoints of a training loop."""
        return join_uri(self.root, "checkpoints")

    @property
    def weights(self) -> str:
        """The weights that a training loop has left, as safetensors."""
        return join_uri(self.root, "weights.safetensors")

    @property
    def evaluation(self) -> str:
        """What the model's scores rest on, as JSON: intervals, curves, slices."""
        return join_uri(self.root, "evaluation.json")

    @property
    def report(self) -> str:
        """What the run comes to, as one HTML page."""
        return join_uri(self.root, "report.html")
