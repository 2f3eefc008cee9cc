"""tcglite: a small, real dynamic binary translator that shows how QEMU's TCG handles interrupts."""

from .accel.mechanisms import Mechanisms
from .errors import TcgliteError
from .machine import Machine, RunResult, StopReason

__version__ = "0.1.0"
__all__ = ["Machine", "Mechanisms", "RunResult", "StopReason", "TcgliteError", "__version__"]
