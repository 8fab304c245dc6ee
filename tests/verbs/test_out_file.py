"""A file is whole or as it was, whatever goes wrong while it is written."""

import pytest

from distml.errors import UserError
from distml.verbs.out_file import write_whole


def test_a_file_takes_its_place_with_nothing_beside_it(tmp_path):
    for text in ("ä\n", "b\n"):
        write_whole(tmp_path / "page.html", text)
        assert (tmp_path / "page.html").read_text(encoding="utf-8") == text
    assert [path.name for path in tmp_path.iterdir()] == ["page.html"]


def test_a_full_disk_leaves_the_former_file(small_disk):
    write_whole(small_disk / "page.html", "former\n")

    with pytest.raises(UserError, match=r"page\.html cannot be written \(No space left on device"):
        write_whole(small_disk / "page.html", "x" * 4_000_000)

    assert (small_disk / "page.html").read_text() == "former\n"
    assert [path.name for path in small_disk.iterdir() if path.is_file()] == ["page.html"]
