"""Choosing a host backend by name."""

from __future__ import annotations

from ..errors import BackendUnavailable, UnknownName
from .backend import Backend, Runtime
from .python_backend import PythonBackend
from .x86_64.buffer import CodeBuffer, make_buffer

BACKENDS = ("x86_64", "python")  #: in the order in which "auto" tries them


def check_backend(name: str) -> None:
    """UnknownName unless ``name`` is "auto" or one of BACKENDS."""
    if name != "auto" and name not in BACKENDS:
        raise UnknownName(f"unknown backend {name!r}; expected auto, {', '.join(BACKENDS)}")


def _x86_64(rt: Runtime, buffer: CodeBuffer | None = None) -> Backend:
    from .x86_64.backend import X86Backend  # when it is wanted, so that import tcglite is quick

    return X86Backend(rt, buffer)


def make_backend(name: str, rt: Runtime) -> Backend:
    """Backend ``name``, or the first that works here; BackendUnavailable says why it cannot."""
    check_backend(name)
    if name == "python":
        return PythonBackend(rt)
    try:
        return _x86_64(rt)
    except BackendUnavailable as error:
        if name != "auto":
            raise BackendUnavailable(f"no backend x86_64 here: {error}; try python") from None
        backend = PythonBackend(rt)
        backend.note += f"; no native code: {error}"
        return backend


def best_backend() -> str:
    """What "auto" takes on this computer, and why not the faster one, for people to read."""
    try:
        return f"x86_64 ({make_buffer(1 << 16).kind})"
    except BackendUnavailable as error:
        return f"python (no native code: {error})"


def listing_backend(name: str, rt: Runtime) -> Backend:
    """Backend ``name`` to compile and list with, on any computer; it cannot be entered."""
    check_backend(name)
    if name == "python":
        return PythonBackend(rt)
    return _x86_64(rt, CodeBuffer(1 << 20, "plain"))
