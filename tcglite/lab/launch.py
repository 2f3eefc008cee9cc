"""``tcglite lab``: JupyterLab, opened at notebook 00, with defaults that suit the panels.

The front end's defaults (no news pop-up, widget messages on one thread) come with the package in
``labconfig/`` and are handed over in the environment, so nobody's own settings are touched.
"""

from __future__ import annotations

import importlib.util
import os
import shutil
import subprocess
import sys
from pathlib import Path

from tcglite.errors import UsageError

HERE = Path(__file__).resolve().parent
FIRST = "00-start-here.ipynb"


def notebooks() -> Path:
    """The folder of the student's notebooks: the project's own in a checkout, else a copy of the
    installed ones in ``tcglite-notebooks`` here (files that exist there are left alone)."""
    checkout = HERE.parent.parent / "notebooks"
    if (checkout / FIRST).exists():
        return checkout
    installed = HERE.parent / "_data" / "notebooks"
    if not (installed / FIRST).exists():
        raise UsageError(f"no notebooks found in {checkout} or {installed}")
    mine = Path.cwd() / "tcglite-notebooks"
    mine.mkdir(exist_ok=True)
    for source in sorted(installed.glob("*.ipynb")):
        if not (mine / source.name).exists():
            shutil.copyfile(source, mine / source.name)
    return mine


def command(folder: Path, arguments: list[str]) -> tuple[list[str], dict[str, str]]:
    """The command line and the environment that start JupyterLab on ``folder``."""
    paths = [str(HERE), *filter(None, [os.environ.get("JUPYTER_CONFIG_PATH")])]
    environment = {**os.environ, "JUPYTER_CONFIG_PATH": os.pathsep.join(paths)}
    line = [sys.executable, "-m", "jupyterlab", f"--ServerApp.root_dir={folder}",
            f"--LabApp.default_url=/lab/tree/{FIRST}", *arguments]
    if getattr(os, "geteuid", lambda: 1)() == 0:
        line.append("--allow-root")     # a container: there is no other user to be
    return line, environment


def open_lab(arguments: list[str] | None = None) -> int:
    """Run JupyterLab until it ends; ``arguments`` go to it as they are. Returns its status."""
    missing = [name for name in ("jupyterlab", "ipywidgets", "matplotlib")
               if importlib.util.find_spec(name) is None]
    if missing:
        raise UsageError(f"the lab needs {', '.join(missing)}: pip install 'tcglite[lab]'")
    folder = notebooks()
    print(f"JupyterLab opens {folder / FIRST}; Ctrl-C ends it.")
    line, environment = command(folder, list(arguments or []))
    try:
        return subprocess.run(line, env=environment).returncode
    except KeyboardInterrupt:
        return 0
