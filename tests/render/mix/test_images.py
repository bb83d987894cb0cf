"""Background and placeholder images by RenderMode."""

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image
from structlog.testing import capture_logs

from rokuga.render.mix import images
from rokuga.render.mix.colour import yuv
from rokuga.render.mix.images import ImageFolder
from rokuga.render.mix.layout import CROP, FIT, SMART, STRETCH, Rect
from rokuga.render.mix.planes import Planes
from tests.kit.stills import file_of, png

pytestmark = pytest.mark.live

STRIPES = [(255, 0, 0), (0, 255, 0), (0, 0, 255), (255, 255, 0)]


def stripes(width: int, height: int) -> bytes:
    """Four upright ones."""
    picture = Image.new("RGB", (width, height))
    for number, colour in enumerate(STRIPES):
        picture.paste(colour, (number * width // 4, 0, (number + 1) * width // 4, height))
    return file_of(picture, "png")


def shown(planes: Planes, x: int, y: int) -> tuple[int, int, int]:
    return int(planes.y[y, x]), int(planes.u[y // 2, x // 2]), int(planes.v[y // 2, x // 2])


def at(fraction: float, rect: Rect) -> int:
    return int(rect.width * fraction)


@pytest.mark.parametrize(
    ("mode", "covered", "seen"),
    [
        (STRETCH, Rect(100, 50, 200, 200), {0.05: 0, 0.3: 1, 0.7: 2, 0.95: 3}),
        (CROP, Rect(100, 50, 200, 200), {0.05: 1, 0.45: 1, 0.55: 2, 0.95: 2}),
        (FIT, Rect(100, 100, 200, 100), {0.05: 0, 0.3: 1, 0.7: 2, 0.95: 3}),
        # A fifth of the width goes, a tenth at either side.
        (SMART, Rect(100, 88, 200, 124), {0.05: 0, 0.25: 1, 0.75: 2, 0.95: 3}),
    ],
)
def test_a_wide_image_in_a_square(tmp_path: Path, mode: int, covered: Rect, seen: dict[float, int]) -> None:
    (tmp_path / "a.png").write_bytes(stripes(400, 200))
    found = ImageFolder(tmp_path).image("a.png", Rect(100, 50, 200, 200), mode)
    assert found is not None
    rect, planes = found
    assert rect == covered
    assert planes.y.shape == planes.a.shape == (rect.height, rect.width)
    assert (planes.a == 255).all()
    for fraction, stripe in seen.items():
        assert shown(planes, at(fraction, rect), rect.height // 2) == yuv(STRIPES[stripe])


def test_transparency_stays(tmp_path: Path) -> None:
    picture = Image.new("RGBA", (20, 20), (0, 255, 0, 64))
    (tmp_path / "a.png").write_bytes(file_of(picture, "png"))
    found = ImageFolder(tmp_path).image("a.png", Rect(0, 0, 100, 100), CROP)
    assert found is not None
    assert (found[1].a == 64).all()
    assert shown(found[1], 50, 50) == yuv((0, 255, 0))


@given(st.integers(1, 300), st.integers(1, 300), st.integers(1, 150), st.integers(1, 150), st.sampled_from([STRETCH, CROP, FIT, SMART]))
def test_any_image_in_any_rectangle(
    tmp_path_factory: pytest.TempPathFactory, width: int, height: int, across: int, down: int, mode: int
) -> None:
    folder = tmp_path_factory.mktemp("images")
    (folder / "a.png").write_bytes(png((width, height), (0, 0, 255)))
    cell = Rect(10, 20, 2 * across, 2 * down)
    found = ImageFolder(folder).image("a.png", cell, mode)
    assert found is not None
    rect, planes = found
    assert cell.x <= rect.x < rect.x + rect.width <= cell.x + cell.width
    assert cell.y <= rect.y < rect.y + rect.height <= cell.y + cell.height
    assert planes.y.shape == (rect.height, rect.width)
    assert np.unique(planes.y).tolist() == [yuv((0, 0, 255))[0]]


@pytest.mark.parametrize("content", [None, b"", b"text", png()[:40], png((2561, 1))])
def test_a_missing_or_bad_file_is_logged_once(tmp_path: Path, content: bytes | None) -> None:
    if content is not None:
        (tmp_path / "a.png").write_bytes(content)
    folder = ImageFolder(tmp_path)
    with capture_logs() as logs:
        for _ in range(3):
            assert folder.image("a.png", Rect(0, 0, 100, 100), CROP) is None
            assert folder.still("a.png") is None
    assert [(entry["log_level"], entry["image"]) for entry in logs] == [("warning", "a.png")]


def test_what_was_laid_out_is_kept_up_to_a_number(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(images, "KEPT", 2)
    (tmp_path / "a.png").write_bytes(png())
    folder = ImageFolder(tmp_path)

    def planes(size: int, x: int = 0) -> Planes:
        found = folder.image("a.png", Rect(x, 0, size, size), CROP)
        assert found is not None
        assert found[0] == Rect(x, 0, size, size)
        return found[1]

    first = planes(10)
    assert planes(10, x=40) is first
    second = planes(20)
    assert planes(10) is first
    planes(30)
    assert planes(10) is first
    assert planes(20) is not second
    assert folder.image("a.png", Rect(0, 0, 0, 10), CROP) is None
