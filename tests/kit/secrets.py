"""Whether a secret stands where it must not: in files and their names, in texts, in what the kernel tells of processes."""

import re
from collections.abc import Iterable
from pathlib import Path


class Secrets:
    """What is looked for: of each secret the longest part that stands the same in a URL, a form, in JSON and in a log.

    Several may have one name.
    """

    def __init__(self, **secrets: str) -> None:
        self._needles: list[tuple[str, bytes]] = []
        for name, secret in secrets.items():
            self.add(name, secret)

    def add(self, name: str, secret: str) -> str:
        """The secret itself, to be used."""
        part = max(re.findall(r"[A-Za-z0-9]+", secret), key=len)
        assert len(part) >= 12, f"{name} is too short to be looked for"
        self._needles.append((name, part.encode()))
        return secret

    def within(self, place: str, text: str | bytes) -> list[str]:
        """Which ones stand in there: "name in place"."""
        data = text.encode() if isinstance(text, str) else text
        return [f"{name} in {place}" for name, needle in self._needles if needle in data]

    def in_folder(self, folder: Path) -> list[str]:
        """In its files, and in the names of all that is in it."""
        found = []
        for path in sorted(folder.rglob("*")):
            found += self.within(f"the name {path.name}", path.name)
            if path.is_file() and not path.is_symlink():
                found += self.within(str(path), path.read_bytes())
        return found

    def in_processes(self, pids: Iterable[int]) -> list[str]:
        """In their arguments and environment, and in the name that a core file would get (core(5))."""
        found = []
        for pid in pids:
            for what in ("cmdline", "environ", "comm"):
                found += self.within(f"{what} of {pid}", Path(f"/proc/{pid}/{what}").read_bytes())
        return found
