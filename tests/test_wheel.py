"""What is installed without a checkout: guests, notebooks and texts travel in the wheel."""

from __future__ import annotations

import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

pytest.importorskip("hatchling")

ROOT = Path(__file__).resolve().parent.parent


@pytest.fixture(scope="module")
def wheel(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("wheel")
    done = subprocess.run([sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-d", folder],
                          cwd=ROOT, capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr
    (built,) = folder.glob("*.whl")
    return built


def test_the_wheel_holds_what_the_package_needs_and_no_more(wheel):
    names = set(zipfile.ZipFile(wheel).namelist())
    for kept in (ROOT / "tcglite").rglob("*"):
        if kept.is_file() and "__pycache__" not in kept.parts:
            assert kept.relative_to(ROOT).as_posix() in names
    assert "tcglite/_data/guests/guests.json" in names
    assert "tcglite/_data/guests/elf/timer.elf" in names
    assert "tcglite/_data/guests/src/timer.S" in names
    assert "tcglite/_data/traces/README.md" in names
    assert "tcglite/_data/traces/timer.json" in names
    assert "tcglite/_data/notebooks/00-start-here.ipynb" in names
    assert {name.split("/")[0] for name in names} == {"tcglite", "tcglite-0.1.0.dist-info"}


def test_an_unpacked_wheel_runs_guests_and_finds_its_notebooks(wheel, tmp_path):
    zipfile.ZipFile(wheel).extractall(tmp_path / "site")
    code = ("import tcglite; from tcglite import Machine, guests, lab; "
            "from tcglite.lab import launch; assert 'site' in tcglite.__file__; "
            "print(Machine(guests.load('hello')).run(timeout=20).exit_code); "
            "print(launch.notebooks().name); "
            "from tcglite.crosscheck import traces; print(traces.check_recorded('hello').ok)")
    done = subprocess.run([sys.executable, "-c", code], cwd=tmp_path, capture_output=True,
                          text=True, timeout=60,
                          env={"PYTHONPATH": str(tmp_path / "site"), "PATH": ""})
    assert done.returncode == 0, done.stderr
    assert done.stdout.split() == ["0", "tcglite-notebooks", "True"]
