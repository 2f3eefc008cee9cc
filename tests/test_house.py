"""The house rules: who may import whom, how long files are, what an import costs."""

from __future__ import annotations

import ast
import io
import re
import subprocess
import sys
import tokenize
import tomllib
from functools import cache
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
PACKAGE = ROOT / "tcglite"

# A room imports only from lower floors; rooms on the same floor do not import each other, except
# `lab` and `cli`, which both stand on the roof.
FLOORS = {
    "errors": 0,
    "trace": 1,
    "tcg": 2,
    "target": 3,
    "accel": 4,
    "hw": 5,
    "guests": 6,
    "views": 6,
    "machine": 7,
    "crosscheck": 8,
    "bench": 8,
    "lab": 9,
    "terminal": 8,
    "cli": 10,
    "": 11,          # tcglite/__init__.py and __main__.py
    "__main__": 11,
}

# What the source document describes. Everything else is beyond the mail, and says so.
# (The switches, the address space, and record and replay are.)
MAIL_CORE = (
    "accel/cpu.py", "accel/cpu_exec.py", "accel/cputlb.py", "accel/icount.py", "accel/tb*.py",
    "accel/translate_all.py", "accel/vcpu.py", "tcg/python_backend.py",
)
MAIL_CORE_LIMIT = 1500

MAX_LINES = 500


def modules() -> dict[str, Path]:
    """Every module of the package: dotted name -> file."""
    found = {}
    for path in sorted(PACKAGE.rglob("*.py")):
        parts = path.relative_to(ROOT).with_suffix("").parts
        if "_data" in parts:
            continue
        found[".".join(p for p in parts if p != "__init__")] = path
    return found


def room(module: str) -> str:
    parts = module.split(".")
    return parts[1] if len(parts) > 1 else ""


@cache
def imports(module: str) -> list[tuple[str, int, bool]]:
    """(imported name, line, only for type checkers) of each import, also those inside functions."""
    path = modules()[module]
    tree = ast.parse(path.read_text(encoding="utf-8"))
    package = module.split(".") if path.name == "__init__.py" else module.split(".")[:-1]
    typing_only = {
        id(child)
        for node in ast.walk(tree)
        if isinstance(node, ast.If) and "TYPE_CHECKING" in ast.unparse(node.test)
        for child in ast.walk(node)
    }
    found = []
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            found += [(a.name, node.lineno, id(node) in typing_only) for a in node.names]
        elif isinstance(node, ast.ImportFrom):
            base = package[: len(package) - node.level + 1] if node.level else []
            name = ".".join([*base, *(node.module or "").split(".")]).rstrip(".")
            for alias in node.names:
                full = f"{name}.{alias.name}"
                target = full if full in modules() else name
                found.append((target, node.lineno, id(node) in typing_only))
    return found


def test_no_room_imports_from_a_floor_above():
    wrong = []
    for module in modules():
        for name, line, _ in imports(module):
            if not name.startswith("tcglite."):
                continue
            here, there = room(module), room(name)
            assert here in FLOORS, f"{module}: room {here!r} has no floor in this test"
            assert there in FLOORS, f"{module}:{line} imports {name}: unknown room"
            if here != there and there != "errors" and FLOORS[there] >= FLOORS[here]:
                wrong.append(f"{module}:{line} imports {name}")
    assert not wrong, "\n".join(wrong)


def test_no_circles_between_modules():
    names = modules()
    graph = {
        m: {n for n, _, typing_only in imports(m) if n in names and not typing_only and n != m}
        for m in names
    }
    done: set[str] = set()

    def visit(module: str, path: tuple[str, ...]) -> None:
        assert module not in path, " -> ".join([*path[path.index(module):], module])
        if module not in done:
            for other in sorted(graph[module]):
                visit(other, (*path, module))
            done.add(module)

    for module in names:
        visit(module, ())


@pytest.mark.parametrize(
    ("package", "allowed"),
    [
        ("ipywidgets", {"lab"}),
        ("matplotlib", {"lab", "bench"}),
        ("IPython", {"lab"}),
        ("unicorn", {"crosscheck", "bench"}),
        ("ziglang", set()),
    ],
)
def test_outside_packages_stay_on_their_floor(package: str, allowed: set[str]):
    wrong = [
        f"{module}:{line}"
        for module in modules()
        for name, line, _ in imports(module)
        if name.split(".")[0] == package and room(module) not in allowed
    ]
    assert not wrong, f"{package} is imported in {wrong}"


def python_files() -> list[Path]:
    out = subprocess.run(["git", "-C", str(ROOT), "ls-files", "-co", "--exclude-standard", "*.py"],
                         capture_output=True, text=True)
    if out.returncode:      # not a git checkout: an unpacked source archive
        return [p for d in ("tcglite", "tests", "bench", "tools") for p in (ROOT / d).rglob("*.py")]
    return [ROOT / line for line in out.stdout.splitlines() if (ROOT / line).exists()]


def test_no_file_is_too_long_to_read():
    long = {
        str(path.relative_to(ROOT)): n
        for path in python_files()
        if (n := len(path.read_text(encoding="utf-8").splitlines())) > MAX_LINES
    }
    assert not long, f"longer than {MAX_LINES} lines: {long}"


def lines_of_code(path: Path) -> int:
    """Lines that hold code: no blank lines, no comments, no docstrings."""
    source = path.read_text(encoding="utf-8")
    lines: set[int] = set()
    skip = {tokenize.COMMENT, tokenize.NL, tokenize.NEWLINE, tokenize.INDENT, tokenize.DEDENT,
            tokenize.ENDMARKER}
    for token in tokenize.generate_tokens(io.StringIO(source).readline):
        if token.type not in skip:
            lines.update(range(token.start[0], token.end[0] + 1))
    for node in ast.walk(ast.parse(source)):
        if (isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant)
                and isinstance(node.value.value, str)):
            lines.difference_update(range(node.lineno, (node.end_lineno or node.lineno) + 1))
    return len(lines)


def test_the_mail_core_stays_small():
    sizes = {str(p.relative_to(PACKAGE)): lines_of_code(p)
             for pattern in MAIL_CORE for p in sorted(PACKAGE.glob(pattern))}
    assert sizes, "the list of the mail core names no file"
    assert sum(sizes.values()) <= MAIL_CORE_LIMIT, f"{sum(sizes.values())} lines of code: {sizes}"


def in_a_fresh_python(code: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, cwd=ROOT,
                          timeout=60, check=True)


def test_importing_tcglite_prints_nothing_and_loads_no_heavy_package():
    out = in_a_fresh_python(
        "import sys; before = set(sys.modules)\n"
        "import tcglite; from tcglite import Machine, guests\n"
        "heavy = {'capstone', 'elftools', 'unicorn', 'ipywidgets', 'matplotlib', 'numpy',"
        " 'IPython', 'asyncio', 'email', 'http', 'importlib.metadata', 'unittest'}\n"
        "loaded = set(sys.modules) - before\n"
        "sys.stderr.write(' '.join(sorted(loaded & heavy)))\n"
        "assert len(loaded) < 200, len(loaded)")
    assert out.stdout == ""
    assert out.stderr == ""


@pytest.mark.parametrize("module", sorted(modules()) if PACKAGE.exists() else [])
def test_every_module_says_what_it_is(module: str):
    doc = ast.get_docstring(ast.parse(modules()[module].read_text(encoding="utf-8")))
    assert doc, f"{module} has no docstring"


# -- one set of ranges ------------------------------------------------------------------------

def requirement(text: str) -> tuple[str, str]:
    match = re.match(r"[A-Za-z0-9_.-]+", text)
    assert match, text
    return match[0].lower(), text[match.end():].strip()


def project() -> dict:
    return tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]


def conda(path: str) -> tuple[str, dict[str, str]]:
    """(the python line, pip requirements) of an environment file."""
    yaml = pytest.importorskip("yaml")
    env = yaml.safe_load((ROOT / path).read_text(encoding="utf-8"))
    python = next(d for d in env["dependencies"] if isinstance(d, str) and d.startswith("python"))
    pip = next(d["pip"] for d in env["dependencies"] if isinstance(d, dict))
    return python, dict(requirement(line) for line in pip)


def wanted() -> dict[str, str]:
    data = project()
    extras = data["optional-dependencies"]
    return dict(requirement(r) for r in
                [*data["dependencies"], *extras["lab"], *extras["crosscheck"]])


def test_environment_yml_has_the_ranges_of_pyproject():
    python, pip = conda("environment.yml")
    assert re.fullmatch(r"python=3\.\d+", python), "repo2docker wants an exact x.y"
    assert pip == wanted()


def test_the_lock_for_binder_lies_within_the_ranges():
    specifiers = pytest.importorskip("packaging.specifiers")
    python, pins = conda(".binder/environment.yml")
    assert python == conda("environment.yml")[0]
    for name, spec in wanted().items():
        assert name in pins, f"{name} is not in the lock"
        version = pins[name].removeprefix("==")
        assert version in specifiers.SpecifierSet(spec), f"{name}: {version} is not in {spec}"
    assert all(v.startswith("==") for v in pins.values())
