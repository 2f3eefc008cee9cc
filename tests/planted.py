"""Run the random blocks of ``x86_cases`` with a bug planted: ``planted.py MODULE SOURCE WRONG``.

Status 0 if nobody notices. ``WRONG`` takes the place of ``SOURCE`` in the module's text before it
is imported.
"""

from __future__ import annotations

import sys
from importlib.machinery import PathFinder, SourceFileLoader
from types import CodeType

BLOCKS = 3000


class Loader(SourceFileLoader):
    def get_code(self, fullname: str) -> CodeType:
        text = self.get_data(self.path).decode()
        if source not in text:
            sys.exit(f"not there: {source}")
        return compile(text.replace(source, wrong), "<planted>", "exec")


class Finder:
    @staticmethod
    def find_spec(name, path, target=None):
        spec = PathFinder.find_spec(name, path, target) if name == module else None
        if spec is not None:
            spec.loader = Loader(name, spec.origin)
        return spec


if __name__ == "__main__":
    module, source, wrong = sys.argv[1:]
    sys.meta_path.insert(0, Finder)
    from x86_cases import first_failure

    assert sys.modules[module].__spec__.loader.__class__ is Loader
    failed = first_failure(range(BLOCKS))
    print(f"{BLOCKS} blocks agree" if failed is None else f"seed {failed}")
    sys.exit(failed is not None)
