"""Every planted bug is noticed, by name; nothing else is; and none can be reached by accident."""

from __future__ import annotations

import subprocess
import sys

import backends
import pytest

from tcglite.accel import cpu_exec
from tcglite.crosscheck.bugs import BUGS, Bug, Edit, _code, _find, planted
from tcglite.crosscheck.follow import check_guest
from tcglite.crosscheck.fuzz.check import Settings, check_program, check_seed
from tcglite.crosscheck.fuzz.program import Program
from tcglite.crosscheck.report import Divergence
from tcglite.errors import StateError, TcgliteError, UnknownName

pytest.importorskip("unicorn")

PROGRAMS = 200  #: a bug must be found among so many generated ones

#: What a bug is noticed by, where that is its own and not a register that happens to differ.
NAMED = {
    "flag-not-tested": "blocks begun after the flag was set",
    "request-cleared-by-loop": "an enabled interrupt",
    "masked-forgotten": "an enabled interrupt",
    "flag-cleared-last": "an enabled interrupt",
    "io-not-last": "mtime",
    "key-without-fs": "trap",
    "mpie-lost": "mstatus",
    "refused-pc-of-first-block": "pc",
    "pc-not-stored": "pc",
    "wrong-vector": "pc",
}


def noticed(bug: Bug) -> tuple[Divergence | None, str]:
    """What the cross-checks say, and of what."""
    if bug.program:
        reports = check_program(Program.from_text(bug.program), backends.chosen, timeout=20)
    elif bug.guest:
        reports = check_guest(bug.guest, backend=backends.chosen, icount=bug.icount, timeout=20)
    if bug.guest or bug.program:
        found = [report.divergence for report in reports if report.divergence is not None]
        return (found or [None])[0], bug.guest
    settings = Settings(backend=backends.chosen, timeout=20)
    for seed in range(PROGRAMS):
        outcome = check_seed(seed, settings)
        if outcome.divergence is not None:
            return outcome.divergence.divergence, f"program {seed}"
    return None, ""


@pytest.mark.usefixtures("backend")
@pytest.mark.parametrize("name", BUGS)
def test_is_noticed(name: str) -> None:
    with planted(name) as bug:
        divergence, where = noticed(bug)
    assert divergence is not None, f"{name} goes unnoticed"
    if name in NAMED:
        assert divergence.what == NAMED[name], f"{where}: {divergence.line()}"
    if bug.guest or bug.program:  # and what showed it is not to blame
        assert noticed(bug) == (None, bug.guest)


def test_there_are_enough_of_them_and_each_is_told_to_students() -> None:
    assert len(BUGS) >= 16
    for bug in BUGS.values():
        assert bug.symptom.endswith(".")
        assert bug.mechanism
        assert not bug.mechanism.endswith(".")
        assert bug.edits


def test_functions_are_restored_also_after_an_error() -> None:
    code = cpu_exec.cpu_handle_interrupt.__code__

    def fail() -> None:
        with planted("last-block-kept"):
            assert cpu_exec.cpu_handle_interrupt.__code__ is not code
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        fail()
    assert cpu_exec.cpu_handle_interrupt.__code__ is code


def test_one_at_a_time_and_only_known_ones() -> None:
    with planted("mpie-lost"), pytest.raises(StateError, match="'mpie-lost' is planted already"):
        with planted("wrong-vector"):
            pass
    with planted("mpie-lost"):
        pass
    with pytest.raises(UnknownName, match="unknown bug 'sloth'"), planted("sloth"):
        pass


def test_a_bug_whose_function_has_changed_says_so() -> None:
    edit = Edit("tcglite.accel.cpu_exec:tb_find", "not there", "")
    with pytest.raises(TcgliteError, match="has changed"):
        _code(_find(edit.function), [edit])


def test_nobody_imports_them_by_accident() -> None:
    code = (
        "import sys, tcglite.cli, tcglite.crosscheck.command, tcglite.crosscheck.fuzz.command\n"
        "sys.exit('tcglite.crosscheck.bugs' in sys.modules)"
    )
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
