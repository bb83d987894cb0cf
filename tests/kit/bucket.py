"""What is in a bucket, read with a client of the test's own."""

from pathlib import Path

from obstore.store import S3Store

from tests.kit.seaweed import Seaweed


class Bucket:
    """Reads a Seaweed bucket, path-style or virtual-hosted as the server is."""

    def __init__(self, seaweed: Seaweed) -> None:
        virtual = seaweed.section.addressing == "virtual"
        self._store = S3Store(
            seaweed.bucket,
            endpoint=seaweed.endpoint.format(bucket=seaweed.bucket),
            access_key_id=seaweed.access_key,
            secret_access_key=seaweed.secret_key,
            virtual_hosted_style_request=virtual,
            region="local",
            client_options={"allow_http": True},
        )

    async def names(self, prefix: str) -> list[str]:
        """The keys below a prefix, without it, sorted."""
        keys = [meta["path"] async for page in self._store.list(prefix) for meta in page]
        return sorted(key.removeprefix(prefix).lstrip("/") for key in keys)

    async def read(self, key: str) -> bytes:
        """Raises FileNotFoundError."""
        answer = await self._store.get_async(key)
        return bytes(await answer.bytes_async())

    async def fetch(self, prefix: str, folder: Path) -> list[str]:
        """Copy everything below a prefix into a folder; the names."""
        folder.mkdir(parents=True, exist_ok=True)
        names = await self.names(prefix)
        for name in names:
            (folder / name).write_bytes(await self.read(f"{prefix}/{name}"))
        return names


def holding(folder: Path, needles: dict[str, bytes]) -> list[str]:
    """Which files below a folder hold which of the secrets: "name in path"."""
    return [
        f"{name} in {path}"
        for path in sorted(folder.rglob("*"))
        if path.is_file() and not path.is_symlink()
        for name, needle in needles.items()
        if needle in path.read_bytes()
    ]
