import contextlib
import logging
import subprocess
import sys
import warnings
from pathlib import Path

import pytest

from distml.errors import StorageError
from distml.logfile import collect_log
from distml.runs.storage import open_storage

LOG = logging.getLogger("test_logfile")

pytestmark = pytest.mark.filterwarnings("default")


class ObjectStore:
    """A storage that can put and get whole files only."""

    uri = "fake://"

    def __init__(self, **files):
        self.files = files
        self.refuses = False

    def read(self, path):
        with contextlib.suppress(KeyError):
            return self.files[path]
        raise FileNotFoundError(path)

    def write(self, path, data):
        if self.refuses:
            raise StorageError("storage is full")
        self.files[path] = data


def test_what_was_logged_before_the_file_is_in_it(tmp_path):
    with collect_log() as log:
        LOG.info("early")
        log.open(open_storage(tmp_path), "one/log.txt", take_output=False)
        LOG.info("late")
        warnings.warn("odd", stacklevel=1)
        log.close()
        LOG.info("too late")

    text = (tmp_path / "one/log.txt").read_text()
    assert "INFO test_logfile: early" in text
    assert "INFO test_logfile: late" in text
    assert "UserWarning: odd" in text
    assert "too late" not in text


def test_a_log_that_is_never_opened_leaves_nothing(tmp_path):
    with collect_log() as log:
        LOG.info("early")
        log.close()

    assert list(tmp_path.iterdir()) == []


def test_on_an_object_store_the_log_is_put_whole_and_goes_on_where_it_was():
    storage = ObjectStore(log=b"former attempt\n")

    with collect_log() as log:
        log.open(storage, "log", take_output=False)
        LOG.info("again")
        log.close()

    former, again = storage.files["log"].decode().splitlines()
    assert former == "former attempt"
    assert again.endswith("INFO test_logfile: again")


def test_an_object_store_that_refuses_the_log_says_so():
    storage = ObjectStore()

    with collect_log() as log:
        log.open(storage, "log", take_output=False)
        storage.refuses = True
        with pytest.raises(StorageError, match="storage is full"):
            log.close()


def test_output_of_the_process_and_its_children_goes_to_the_log_until_it_is_closed(tmp_path):
    code = f"""
import os, sys
from distml.logfile import collect_log
from distml.runs.storage import open_storage
with collect_log() as log:
    log.open(open_storage({str(tmp_path)!r}), "log.txt", take_output=True)
    print("from python")
    os.system("echo from a child >&2")
    log.close()
print("afterwards")
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)

    assert (done.stdout, done.stderr) == ("afterwards\n", "")
    lines = (tmp_path / "log.txt").read_text().splitlines()
    assert sorted(lines) == ["from a child", "from python"]


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="no device that is always full")
def test_a_log_on_a_full_disk_is_lost_without_a_word(capfd):
    with collect_log() as log:
        log.open(open_storage("/dev"), "full", take_output=False)
        LOG.error("lost")
        log.close()

    assert capfd.readouterr() == ("", "")
