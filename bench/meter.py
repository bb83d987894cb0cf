"""CPU time and private memory of processes, from /proc."""

import os
from collections import defaultdict
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

_TICK = os.sysconf("SC_CLK_TCK")


@dataclass(frozen=True)
class Stat:
    """Parent, and user plus system time in seconds, that of children whose end was waited for included."""

    parent: int
    cpu: float


def _stat(pid: int) -> Stat | None:
    try:
        text = Path(f"/proc/{pid}/stat").read_text()
    except OSError:
        return None  # it has ended
    # The name in brackets may hold anything, brackets too.
    fields = text.rpartition(")")[2].split()
    return Stat(int(fields[1]), sum(int(f) for f in fields[11:15]) / _TICK)


def processes() -> dict[int, Stat]:
    """All that there are, by id."""
    pids = (int(p.name) for p in Path("/proc").iterdir() if p.name.isdigit())
    return {pid: stat for pid in pids if (stat := _stat(pid)) is not None}


def cpu(pid: int) -> float:
    """Of one process. Raises ProcessLookupError."""
    stat = _stat(pid)
    if stat is None:
        raise ProcessLookupError(pid)
    return stat.cpu


def below(root: int) -> float:
    """CPU seconds of a process and all below it."""
    return usage(root, {root: "all"}, without="")["all"]


def usage(root: int, roles: dict[int, str], without: str) -> dict[str, float]:
    """CPU seconds of ``root`` and all below it, summed up by role; a process has its parent's role unless ``roles`` names one.

    The role ``without``, and what is below it, is left out.
    """
    stats = processes()
    children: dict[int, list[int]] = {}
    for pid, stat in stats.items():
        children.setdefault(stat.parent, []).append(pid)
    found: defaultdict[str, float] = defaultdict(float)
    waiting = [(root, roles[root])]
    while waiting:
        pid, role = waiting.pop()
        role = roles.get(pid, role)
        if role != without and pid in stats:
            found[role] += stats[pid].cpu
            waiting += [(child, role) for child in children.get(pid, ())]
    return found


def private_bytes(pid: int) -> int:
    """What the process has for itself alone: Private_Dirty and Private_Clean. Raises OSError."""
    lines = Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines()
    return sum(int(line.split()[1]) * 1024 for line in lines if line.startswith(("Private_Dirty:", "Private_Clean:")))


def _jiffies() -> tuple[int, int]:
    """Of the whole machine since it started: busy, all."""
    line = next(line for line in Path("/proc/stat").read_text().splitlines() if line.startswith("cpu "))
    values = [int(v) for v in line.split()[1:9]]
    return sum(values) - values[3] - values[4], sum(values)


class Load:
    """How busy the machine was since this was made, as a share of all its cores."""

    def __init__(self) -> None:
        self._begin = _jiffies()

    def busy(self) -> float:
        busy, total = _jiffies()
        return (busy - self._begin[0]) / max(1, total - self._begin[1])


def median(values: Iterable[float]) -> float:
    """The middle one; of an even number the mean of the two in the middle."""
    ordered = sorted(values)
    half = len(ordered) // 2
    return ordered[half] if len(ordered) % 2 else (ordered[half - 1] + ordered[half]) / 2


def percentile(values: Iterable[float], share: float) -> float:
    """The smallest value that at least ``share`` of all do not exceed."""
    ordered = sorted(values)
    return ordered[max(0, -int(-share * len(ordered) // 1) - 1)]
