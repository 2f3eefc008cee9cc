"""Writes .binder/environment.yml, the lock for Binder: exact versions of everything that the lab
needs, as pip resolves the ranges of environment.yml today.

    .venv/bin/python tools/lock_binder.py

Run it with the Python that environment.yml names; a fresh environment is made in a temporary
folder. Binder reads .binder/ and ignores the files at the root.
"""

from __future__ import annotations

import subprocess
import sys
import tempfile
import venv
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
HEAD = """\
# Made by tools/lock_binder.py from the ranges in environment.yml; do not edit by hand.
name: tcglite
channels:
  - conda-forge
dependencies:
  - {python}
  - pip
  - pip:
"""


def ranges() -> tuple[str, list[str]]:
    """The python line and the pip requirements of environment.yml."""
    items = [line.strip()[2:] for line in (ROOT / "environment.yml").read_text().splitlines()
             if line.strip().startswith("- ")]
    start = items.index("pip:") + 1
    return next(i for i in items if i.startswith("python=")), items[start:]


def main() -> None:
    python, wanted = ranges()
    here = f"python={sys.version_info.major}.{sys.version_info.minor}"
    if here != python:
        sys.exit(f"this is {here}, environment.yml wants {python}")
    with tempfile.TemporaryDirectory() as folder:
        venv.create(folder, with_pip=True)
        pip = [f"{folder}/bin/python", "-m", "pip", "--disable-pip-version-check"]
        subprocess.run([*pip, "install", "--quiet", *wanted], check=True)
        frozen = subprocess.run([*pip, "freeze"], check=True, capture_output=True, text=True).stdout
    lines = [f"      - {line}\n" for line in frozen.split() if "==" in line]
    (ROOT / ".binder" / "environment.yml").write_text(
        HEAD.format(python=python) + "".join(lines), encoding="utf-8")
    print(f"{len(lines)} packages locked")


if __name__ == "__main__":
    main()
