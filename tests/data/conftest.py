import io

import pyarrow as pa
import pytest
from pyarrow import fs


class _Upload(io.BytesIO):
    """Visible in the store once it is closed, as in an object store."""

    def __init__(self, objects: dict[str, bytes], path: str) -> None:
        super().__init__()
        self._objects, self._path = objects, path

    def close(self) -> None:
        if not self.closed:
            self._objects[self._path] = self.getvalue()
        super().close()


class MemoryObjects(fs.FileSystemHandler):
    """An object store in memory: no folders, no rename."""

    def __init__(self) -> None:
        self.objects: dict[str, bytes] = {}

    def get_type_name(self):
        return "memory-objects"

    def normalize_path(self, path):
        return path

    def get_file_info(self, paths):
        return [self._info(path) for path in paths]

    def _info(self, path):
        if path in self.objects:
            return fs.FileInfo(path, fs.FileType.File, size=len(self.objects[path]))
        folder = any(name.startswith(f"{path}/") for name in self.objects)
        return fs.FileInfo(path, fs.FileType.Directory if folder else fs.FileType.NotFound)

    def get_file_info_selector(self, selector):
        below = [name for name in self.objects if name.startswith(f"{selector.base_dir}/")]
        return [self._info(name) for name in reversed(below)]

    def create_dir(self, path, recursive):
        pass

    def delete_file(self, path):
        del self.objects[path]

    def open_input_stream(self, path):
        return pa.BufferReader(self.objects[path])

    open_input_file = open_input_stream

    def open_output_stream(self, path, metadata):
        return pa.PythonFile(_Upload(self.objects, path), mode="w")

    def _refuse(self, *args):
        raise NotImplementedError("an object store does not do this")

    move = copy_file = delete_dir = delete_dir_contents = delete_root_dir_contents = _refuse
    open_append_stream = _refuse


@pytest.fixture
def object_store():
    return fs.PyFileSystem(MemoryObjects())
