import pytest

from distml.verbs.health import (
    Check,
    check_clock,
    check_gpus,
    check_packages,
    check_python,
    check_ray,
    check_text,
)

NOW = 1_800_000_000.0


@pytest.mark.parametrize(
    ("version", "state"), [("3.11.0", "ok"), ("3.13.1", "ok"), ("3.10.9", "problem")]
)
def test_python_is_of_the_range_of_the_package(version, state):
    assert check_python(version, ">=3.11").state == state


def test_packages_of_the_versions_needed_are_well():
    wanted = ["click>=8.1", 'ruff>=0.14; extra == "dev"', 'pywin32; sys_platform == "win32"']

    assert check_packages(wanted, {"click": "8.5.1"}) == Check(
        name="packages", state="ok", found="1 of the versions needed"
    )


def test_all_packages_that_are_wrong_are_named_with_one_line_that_mends():
    wanted = ["click>=8.1", "ray[default,tune]<2.61,>=2.60", "numpy>=2.0"]

    check = check_packages(wanted, {"ray": "2.9.0", "numpy": "2.4"})

    assert check.state == "problem"
    assert check.found == "click is missing, ray 2.9.0"
    assert check.mend == "pip install 'click>=8.1' 'ray[default,tune]<2.61,>=2.60'"


def test_a_version_between_releases_counts():
    assert check_packages(["torch>=2.13"], {"torch": "2.14.0.dev1+cu130"}).state == "ok"


@pytest.mark.parametrize(
    ("now", "storage", "state", "words"),
    [
        (NOW, NOW + 1, "ok", "the same as the storage's"),
        (NOW, None, "ok", "not compared"),
        (NOW, NOW + 60, "warning", "60.0 s behind the storage's"),
        (NOW, NOW - 60, "warning", "60.0 s ahead of the storage's"),
        (0.0, 0.0, "problem", "years behind"),
    ],
    ids=["same", "alone", "behind", "ahead", "1970"],
)
def test_the_clock_is_compared_with_the_storages(now, storage, state, words):
    check = check_clock(now, storage)

    assert (check.state, words in check.found) == (state, True)
    assert (check.mend == "") == (state == "ok")


@pytest.mark.parametrize(
    ("nodes", "smi", "torch", "state", "words"),
    [
        (0, None, None, "ok", "none"),
        (1, "", None, "warning", "driver does not answer"),
        (1, "H200, 143771 MiB, 570.1", "13.0", "ok", "H200, 143771 MiB, 570.1; torch has CUDA 13"),
        (1, "H200, 143771 MiB, 570.1", "none", "warning", "torch is built without CUDA"),
        (1, "H200, 143771 MiB, 570.1", "", "warning", "torch cannot use it"),
    ],
    ids=["none", "no driver", "well", "no CUDA", "torch fails"],
)
def test_a_gpu_is_no_need_but_should_work_where_it_is(nodes, smi, torch, state, words):
    check = check_gpus(nodes, smi, torch)

    assert (check.state, words in check.found) == (state, True)


def test_ray_that_does_not_start_says_why_and_what_to_look_at():
    check = check_ray(False, "ConnectionError: nobody answers", 3.0)

    assert (check.state, check.found) == ("problem", "ConnectionError: nobody answers")
    assert "RAY_TMPDIR" in check.mend
    assert check_ray(False, "", 3.0).found == "the task gave no answer"
    assert check_ray(True, "", 3.0).state == "ok"


def test_a_check_is_a_line_and_how_to_mend_it_another():
    check = Check(name="memory", state="problem", found="0.1 GiB", mend="give it more")

    assert check_text(check, 80).splitlines() == [
        "problem  memory         0.1 GiB",
        "         mend: give it more",
    ]


@pytest.mark.parametrize("width", [20, 40])
def test_a_narrow_terminal_loses_no_word(width):
    check = Check(name="memory", state="problem", found="1 2 3 " * 20, mend="give it more " * 9)

    text = check_text(check, width)

    assert text.split() == ["problem", "memory", *check.found.split(), "mend:", *check.mend.split()]
    assert max(map(len, text.splitlines())) <= max(width, 30)
