"""The working tree that travels with a job: which files, how large, and as one package.

One decision: the files are those git would commit or show as new, less what `.distmlignore` names;
distml itself goes with them, so that the driver over there is the program that submits here. The
package depends on names and contents alone: the same tree is sent once.
"""

import hashlib
import io
import os
import subprocess
import zipfile
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from importlib import metadata
from pathlib import Path
from typing import TYPE_CHECKING

from distml.errors import UserError

if TYPE_CHECKING:
    from pathspec import GitIgnoreSpec

__all__ = ["IGNORE_FILE", "MAX_BYTES", "WorkingTree", "find_tree", "package_tree"]

IGNORE_FILE = ".distmlignore"
"""File of the tree's root with patterns, as in `.gitignore`, of what stays here."""

MAX_BYTES = 400 << 20
"""A larger tree is refused: what Ray hands from node to node has at most 512 MiB."""

_NOT_SHIPPED = (".git/", ".venv/", "venv/", "__pycache__/", "*.pyc", "node_modules/", "runs/")
"""Left out where there is no repository to tell."""
_NUM_LARGEST = 3
_PACKAGE = Path(__file__).resolve().parent.parent
_TIME = (1980, 1, 1, 0, 0, 0)


@dataclass(frozen=True, kw_only=True, slots=True)
class WorkingTree:
    """Files under one folder."""

    root: Path
    """The folder."""
    files: Mapping[str, int]
    """Path in it, with `/` → bytes, in order of the paths."""

    @property
    def num_bytes(self) -> int:
        """All files together."""
        return sum(self.files.values())

    def path_of(self, job_file: str) -> str:
        """Where the tree has a job file.

        Raises:
            UserError: it has not, or there is none.
        """
        path = Path(job_file).resolve()
        if not path.is_file():
            raise UserError(f"no such job file: {job_file}")
        if path.is_relative_to(_PACKAGE):  # a job of distml's own, which travels anyhow
            return f"distml/{path.relative_to(_PACKAGE).as_posix()}"
        inside = path.is_relative_to(self.root)
        name = path.relative_to(self.root).as_posix() if inside else ""
        if name in self.files:
            return name
        why = f"ignored by git or {IGNORE_FILE}" if inside else f"outside the tree {self.root}"
        raise UserError(f"{job_file} is {why}, so it cannot travel; move it into what is sent")

    def largest(self) -> Iterator[tuple[str, int]]:
        """The three largest files, the largest first."""
        yield from sorted(self.files.items(), key=lambda item: (-item[1], item[0]))[:_NUM_LARGEST]

    def __str__(self) -> str:
        largest = ", ".join(f"{name} {_size(size)}" for name, size in self.largest())
        return (
            f"working tree {self.root}: {len(self.files)} files, {_size(self.num_bytes)}"
            f" (largest: {largest})"
        )


def find_tree(folder: str | Path = ".", *, leave: str | Path | None = None) -> WorkingTree:
    """Find the files that belong to the work in a folder.

    Args:
        folder: Somewhere in a repository, whose root becomes the tree's; without a repository (or
            git) the folder itself.
        leave: A folder that stays here whatever git says: where runs are kept.

    Returns:
        The tree: of a repository its tracked and new files, else all but what is usually ignored.

    Raises:
        UserError: the files are larger than `MAX_BYTES` together.
    """
    root, names = _of_repository(Path(folder).resolve()) or _of_folder(Path(folder).resolve())
    stays = None if leave is None else Path(leave).resolve()
    ignored = _patterns(root / IGNORE_FILE)
    files: dict[str, int] = {}
    for name in sorted(names):
        path = root / name
        if ignored.match_file(name) or not path.is_file():
            continue
        if stays is not None and stays != root and path.is_relative_to(stays):
            continue
        files[name] = path.stat().st_size
    tree = WorkingTree(root=root, files=files)
    if tree.num_bytes > MAX_BYTES:
        raise UserError(
            f"{tree} is more than {_size(MAX_BYTES)}; name what is not needed in {IGNORE_FILE}, "
            "and read data from where the cluster can reach it"
        )
    return tree


def package_tree(tree: WorkingTree) -> tuple[str, bytes]:
    """Put a tree and distml into one zip file.

    Args:
        tree: What travels.

    Returns:
        The SHA-256 of its content, 64 hexadecimal characters, and the zip file.

    Raises:
        UserError: a file cannot be read.
    """
    parts = {name: tree.root / name for name in tree.files}
    parts.update(_own_files())
    digest, buffer = hashlib.sha256(), io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED, compresslevel=1) as archive:
        for name, path in sorted(parts.items()):
            try:
                content, mode = path.read_bytes(), path.stat().st_mode
            except OSError as error:
                raise UserError(
                    f"{path} cannot be sent: {error.strerror}; name it in {IGNORE_FILE} if it "
                    "is not needed"
                ) from error
            digest.update(f"{name}\0{mode:o}\0{len(content)}\0".encode())
            digest.update(content)
            entry = zipfile.ZipInfo(name, _TIME)
            entry.external_attr = mode << 16
            archive.writestr(entry, content, zipfile.ZIP_DEFLATED, 1)
    return digest.hexdigest(), buffer.getvalue()


def _own_files() -> Iterator[tuple[str, Path]]:
    """Distml's own files, and what tells its version."""
    for path in _PACKAGE.rglob("*"):
        if path.is_file() and "__pycache__" not in path.parts:
            yield f"distml/{path.relative_to(_PACKAGE).as_posix()}", path
    distribution = metadata.distribution("distml")
    for file in distribution.files or ():
        if file.name == "METADATA":
            found = Path(str(distribution.locate_file(file)))
            if found.is_file():
                yield f"{found.parent.name}/METADATA", found


def _of_repository(folder: Path) -> tuple[Path, list[str]] | None:
    top = _git(folder, "rev-parse", "--show-toplevel")
    if top is None:
        return None
    root = Path(top.strip())
    tracked = _git(root, "ls-files", "-z", "--cached", "--recurse-submodules")
    new = _git(root, "ls-files", "-z", "--others", "--exclude-standard")
    if tracked is None or new is None:
        return None
    return root, [name for name in (tracked + new).split("\0") if name]


def _of_folder(root: Path) -> tuple[Path, Iterator[str]]:
    return root, _walked(root)


def _walked(root: Path) -> Iterator[str]:
    ignored = _patterns(root / ".gitignore", *_NOT_SHIPPED)
    total = 0
    for folder, folders, names in os.walk(root):
        here = Path(folder).relative_to(root)
        folders[:] = [n for n in folders if not ignored.match_file(f"{(here / n).as_posix()}/")]
        for name in names:
            path = (here / name).as_posix()
            if ignored.match_file(path):
                continue
            yield path
            # Somebody's whole home is not walked to its end.
            total += Path(folder, name).lstat().st_size
            if total > 4 * MAX_BYTES:
                return


def _patterns(path: Path, *more: str) -> "GitIgnoreSpec":
    from pathspec import GitIgnoreSpec

    try:
        lines = path.read_text(encoding="utf-8").splitlines()
    except OSError:
        lines = []
    return GitIgnoreSpec.from_lines([*more, *lines])


def _git(folder: Path, *arguments: str) -> str | None:
    command = ["git", "--no-optional-locks", "-C", str(folder), *arguments]
    try:
        done = subprocess.run(command, capture_output=True, text=True, check=True)
    except (OSError, subprocess.SubprocessError):
        return None
    return done.stdout


def _size(num_bytes: float) -> str:
    for unit in ("B", "KiB"):
        if num_bytes < 1024:
            return f"{num_bytes:.0f} {unit}"
        num_bytes /= 1024
    return f"{num_bytes:.1f} MiB"
