"""Which process has a run, and whether it still lives: as far as this machine can see."""

from __future__ import annotations

import os
import socket
from dataclasses import asdict, dataclass
from pathlib import Path


@dataclass(frozen=True)
class Owner:
    """A process.

    Attributes:
        host: the machine's name.
        namespace: of process numbers there: a container's process 7 is not its host's.
        pid: its number.
        started: when, in the kernel's ticks, as numbers are used again; "?" where nobody says.
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
        """What `str` has written.

        Raises:
            ValueError: it has not written this.
        """
        host, namespace, pid, started = text.split()
        return cls(host, namespace, int(pid), started)

    def __str__(self) -> str:
        return " ".join(map(str, asdict(self).values()))

    def is_dead(self) -> bool:
        """Whether it ran on this machine and is gone; False where one cannot know."""
        if not self._is_local():
            return False
        if self.started == "?":
            return not _exists(self.pid)
        return self.started != _started(self.pid)

    def is_alive(self) -> bool:
        """Whether it runs on this machine; False where one cannot know."""
        return self._is_local() and self.started != "?" and self.started == _started(self.pid)

    def _is_local(self) -> bool:
        return (self.host, self.namespace) == (socket.gethostname(), _namespace())


def _namespace() -> str:
    try:
        return os.readlink("/proc/self/ns/pid")
    except OSError:
        return "?"


def _started(pid: int) -> str:
    """Empty without such a process, or with one that has ended and is only waited for."""
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
