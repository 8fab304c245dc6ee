"""Memory of this process, from /proc; zeros on systems that have none.

The one decision: a fit's peak is the kernel's own high-water mark, set back before the fit, so that
nothing has to be sampled while it runs.
"""

import contextlib
from dataclasses import dataclass
from pathlib import Path

__all__ = ["Memory"]


@dataclass(frozen=True, slots=True)
class Memory:
    """Bytes of this process."""

    resident: int = 0
    shared: int = 0
    peak: int = 0

    @classmethod
    def mark(cls) -> "Memory":
        """What is used now, with the kernel's high-water mark set back to it."""
        with contextlib.suppress(OSError):
            Path("/proc/self/clear_refs").write_text("5")
        return cls.now()

    @classmethod
    def now(cls) -> "Memory":
        """What is used now."""
        try:
            lines = Path("/proc/self/status").read_text().splitlines()
        except OSError:
            return cls()
        kilobytes = {
            name: int(rest.split()[0])
            for name, rest in (line.split(":", 1) for line in lines)
            if name in {"VmRSS", "RssShmem", "VmHWM"}
        }
        return cls(*(1024 * kilobytes.get(name, 0) for name in ("VmRSS", "RssShmem", "VmHWM")))

    def peak_since(self, before: "Memory") -> int:
        """Private bytes added at the peak; touched pages of the object store do not count."""
        touched = max(0, self.shared - before.shared)
        return max(0, self.peak - before.resident - touched)
