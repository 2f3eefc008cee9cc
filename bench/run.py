"""Measure tcglite beside other engines: ``python bench/run.py [PART …] [--quick] [--json FILE]``.

Figures are medians of interleaved repetitions in CPU seconds (wall time where it says so); what to
quote are the ratios, for both sides of a ratio come from the same minutes of the same run. Nothing
here is a test: nothing fails because a computer is slow.
"""

from __future__ import annotations

import argparse
import json
import sys
import time
from collections.abc import Callable
from pathlib import Path

HERE = Path(__file__).resolve().parent
sys.path[:0] = [str(HERE), str(HERE.parent)]

import arrival  # noqa: E402
import checks  # noqa: E402
import latency  # noqa: E402
import parts  # noqa: E402
import report  # noqa: E402
import translation  # noqa: E402

from tcglite.bench.table import Table, text  # noqa: E402

PARTS: dict[str, Callable[[int, bool], Table]] = {
    "loop": parts.loop,
    "tinyrv": parts.race,
    "switches": parts.switches,
    "translation": translation.translation,
    "return": parts.loop_return,
    "latency": latency.latency,
    "arrival": arrival.arrival,
    "crosscheck": checks.checks,
    "fuzz": checks.fuzzing,
    "import": parts.imports,
    "memory": parts.memory,
}


def targets(tables: dict[str, Table]) -> Table:
    """What was promised, and what came out."""
    table = Table("Targets", ["measured", "target"])

    def row(label: str, key: str, line: str, column: str, target: float) -> None:
        if key in tables:
            table.rows.append((label, [tables[key].value(line, column), target]))

    row("python: loop, counting, M insn/s, at least", "loop", "python, counting", "M insn/s", 3)
    row("python: loop, count=False, M insn/s, at least", "loop", "python, count=False",
        "M insn/s", 5)
    row("python: crc: tcglite : tinyrv, at least", "tinyrv", "crc", "tcglite : tinyrv", 10)
    if "translation" in tables:
        for line, _ in tables["translation"].rows:
            if "median" in line:
                row(f"{line.split(':')[0]}: translation, CPU µs per instruction, at most",
                    "translation", line, "tb_gen_code", 40 if line.startswith("x86") else 120)
    if "arrival" in tables and tables["arrival"].rows:
        row("flag to native exit, µs, at most", "arrival", "process idle",
            "flag to native exit, median", 10)
        row("flag to handler, µs, at most", "arrival", "process idle",
            "flag to handler, median", 150)
    if "crosscheck" in tables:
        for name in tables["crosscheck"].columns:
            row(f"{name} beside Unicorn, thousand insn/s, at least", "crosscheck",
                "Unicorn, each visit to the loop", name, 5000)
            row(f"{name} beside Spike, each instruction, thousand insn/s, at least", "crosscheck",
                "Spike, each instruction", name, 100)
    if "fuzz" in tables:
        for backend, _ in tables["fuzz"].rows:
            row(f"{backend}: one generated program beside Unicorn, CPU ms, at most", "fuzz",
                backend, "Unicorn", 50)
    row("import tcglite, CPU s, less than", "import", "import tcglite", "CPU s", 0.2)
    row("a 64 MB machine, every byte of it written, MB, less than", "memory",
        "a 64 MB machine, every byte of it written", "MB at most", 200)
    return table


def main() -> None:
    parser = argparse.ArgumentParser(description="Measure tcglite beside other engines.")
    parser.add_argument("parts", nargs="*", metavar="PART", default=[],
                        help=f"what to measure: {', '.join(PARTS)} (default: all)")
    parser.add_argument("--quick", action="store_true", help="a minute or two; rough figures")
    parser.add_argument("--repeat", type=int, metavar="N", help="repetitions (default 5; quick 2)")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write all figures")
    options = parser.parse_args()
    unknown = [p for p in options.parts if p not in PARTS]
    if unknown:
        parser.error(f"unknown part: {', '.join(unknown)} (known: {', '.join(PARTS)})")
    if options.repeat is not None and options.repeat < 1:
        parser.error("--repeat takes a number from 1 on")
    repetitions = options.repeat or (2 if options.quick else 5)
    about = report.circumstances(repetitions, options.quick)
    print("\n".join(f"{key}: {value}" for key, value in about.items()) + "\n", flush=True)
    tables: dict[str, Table] = {}
    for name in options.parts or PARTS:
        began = time.perf_counter()
        tables[name] = PARTS[name](repetitions, options.quick)
        print(text(tables[name]) + "\n", flush=True)
        print(f"[{name}: {time.perf_counter() - began:.0f} s]", file=sys.stderr, flush=True)
    tables["targets"] = targets(tables)
    if tables["targets"].rows:
        print(text(tables["targets"]))
    if options.json:
        data = json.dumps(report.as_json(tables, about), indent=1, ensure_ascii=False)
        options.json.write_text(data + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
