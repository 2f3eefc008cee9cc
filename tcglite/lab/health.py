"""Will the panels work here? One line, and what to do if not.

What can be wrong (each of these was seen): ipywidgets 7, or missing; a kernel in which widget
updates from a worker thread vanish without a word. ipykernel 7.0 is one, unless the thread carries
a copy of the cell's context, as our workers do. The check does what a panel does: a worker thread
sets the value of a widget.
"""

from __future__ import annotations

import contextvars
import importlib.util
import os
import sys
import threading
from collections.abc import Callable
from dataclasses import dataclass, field
from importlib.metadata import PackageNotFoundError, version

from tcglite.tcg.backends import best_backend


@dataclass
class Report:
    """What was found. ``problems``: empty when all is well; each says what to do."""

    facts: list[str] = field(default_factory=list)
    problems: list[str] = field(default_factory=list)

    @property
    def ok(self) -> bool:
        return not self.problems

    def line(self) -> str:
        """One line for the student and for bug reports."""
        verdict = "the lab works here" if self.ok else "NOT READY: " + "; ".join(self.problems)
        return f"{verdict} ({', '.join(self.facts)})"


def installed(package: str) -> tuple[int, ...]:
    """The version as numbers, () when the package is missing."""
    try:
        parts = version(package).split(".")
    except PackageNotFoundError:
        return ()
    return tuple(int(p) for p in parts[:3] if p.isdigit())


def front_end() -> str:
    """Where the output will be seen, as far as the kernel can know."""
    if "ipykernel" not in sys.modules:
        return "no notebook"
    if "google.colab" in sys.modules:
        return "Colab"
    if os.environ.get("VSCODE_PID") or os.environ.get("VSCODE_CWD"):
        return "VS Code"
    if os.environ.get("BINDER_SERVICE_HOST") or os.environ.get("BINDER_REPO_URL"):
        return "Binder"
    return "Jupyter"


def in_worker(work: Callable[[], None], timeout: float = 5) -> BaseException | None:
    """Run ``work`` in a thread with a copy of this context; the exception that it ended with."""
    failed: list[BaseException] = []

    def guarded() -> None:
        try:
            work()
        except BaseException as error:
            failed.append(error)

    context = contextvars.copy_context()
    thread = threading.Thread(target=context.run, args=(guarded,), daemon=True)
    thread.start()
    thread.join(timeout)
    if thread.is_alive():
        return TimeoutError(f"the worker did not finish within {timeout} s")
    return failed[0] if failed else None


def examine() -> Report:
    """Look at everything that a panel needs."""
    report = Report([f"{front_end()}", f"Python {sys.version_info.major}.{sys.version_info.minor}"])
    report.facts.append(f"host code {best_backend()}")
    for package in ("jupyterlab", "ipykernel", "ipywidgets"):
        found = installed(package)
        if found:
            report.facts.append(f"{package} {'.'.join(map(str, found))}")
    widgets = installed("ipywidgets")
    if not widgets:
        report.problems.append("ipywidgets is missing: pip install 'tcglite[lab]'")
    elif widgets < (8, 1):
        report.problems.append("ipywidgets is too old: pip install 'ipywidgets>=8.1'")
    else:
        import ipywidgets
        probe = ipywidgets.HTML("before")
        error = in_worker(lambda: setattr(probe, "value", "after"))
        if error is not None or probe.value != "after":
            report.problems.append(f"a worker cannot update a widget ({error!r}): pip install "
                                   "'ipykernel>=7.1' 'ipywidgets>=8.1', then restart the kernel")
        probe.close()
    for package in ("capstone", "elftools"):
        if importlib.util.find_spec(package) is None:
            report.problems.append(f"{package} is missing: pip install tcglite")
    return report


def doctor(quiet: bool = False) -> None:
    """Print in one line whether the panels will work here and what to do if not; with ``quiet``
    only if something is broken."""
    report = examine()
    if not quiet or not report.ok:
        print(report.line())


def main() -> int:
    """``python -m tcglite.lab.health [--strict]``: strict ends with 1 if anything is wrong."""
    report = examine()
    print(report.line())
    return 1 if "--strict" in sys.argv and not report.ok else 0


if __name__ == "__main__":
    sys.exit(main())
