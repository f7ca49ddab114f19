"""The process that holds a run's lock, and whether it is alive."""

from __future__ import annotations

import os
import socket
from dataclasses import asdict, dataclass
from pathlib import Path


@dataclass(frozen=True)
class Owner:
    """Identifies a process across machines and containers.

    Attributes:
        host: the machine's name.
        namespace: PID namespace: a container's process 7 is not its host's.
        pid: process ID.
        started: start time in kernel ticks, as process IDs are reused; "?" where unknown.
    """

    host: str
    namespace: str
    pid: int
    started: str

    @classmethod
    def here(cls) -> Owner:
        """This process."""
        return cls(socket.gethostname(), _namespace(), os.getpid(), _started(os.getpid()))

    @classmethod
    def parse(cls, text: str) -> Owner:
        """Parse the output of `str`.

        Raises:
            ValueError: the text is not such output.
        """
        host, namespace, pid, started = text.split()
        return cls(host, namespace, int(pid), started)

    def __str__(self) -> str:
        return " ".join(map(str, asdict(self).values()))

    def is_dead(self) -> bool:
        """Whether it ran on this machine and has ended; False if unknown."""
        if not self._is_local():
            return False
        if self.started == "?":
            return not _exists(self.pid)
        return self.started != _started(self.pid)

    def is_alive(self) -> bool:
        """Whether it runs on this machine; False if unknown."""
        return self._is_local() and self.started != "?" and self.started == _started(self.pid)

    def _is_local(self) -> bool:
        return (self.host, self.namespace) == (socket.gethostname(), _namespace())


def _namespace() -> str:
    try:
        return os.readlink("/proc/self/ns/pid")
    except OSError:
        return "?"


def _started(pid: int) -> str:
    """Start time of a process; "" if there is none or it is a zombie, "?" without /proc."""
    if not Path("/proc/self/stat").exists():
        return "?"
    try:
        after_name = Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()
    except OSError:
        return ""
    return "" if after_name[0] == "Z" else after_name[19]


def _exists(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except OSError:
        pass
    return True
