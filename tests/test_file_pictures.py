"""Pictures from files: against Pillow and slow references, however many workers decode them."""

import math
import os
import signal
import subprocess
import sys
import threading
from contextlib import closing
from dataclasses import astuple
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from workflow_scripts.data.image_index import ImageIndex, read_image_index
from workflow_scripts.data.index_images import index_images
from workflow_scripts.shared.files import UserError
from workflow_scripts.train.file_pictures import FilePictures, draw_boxes

SIZES = [(40, 60), (75, 33), (20, 20), (90, 120), (24, 24), (61, 47)]  # height, width; in both classes
TRAINING = {"crop_scale": [0.1, 1.0], "crop_ratio": [0.8, 1.25], "flip": True}
SIZE, RESIZE = 24, 28
MEAN, STD = [0.5, 0.4, 0.3], [0.25, 0.2, 0.3]
CPU = torch.device("cpu")
ROUNDING = 2  # torch rounds its weights to fewer bits than Pillow


@pytest.fixture(scope="session")
def folder(tmp_path_factory) -> Path:
    """Photo-like pictures in two class folders: colour, grey, CMYK, and a PNG with a JPEG's name."""
    folder = tmp_path_factory.mktemp("pictures")
    rng = np.random.default_rng(0)
    for name in ("ant", "bee"):
        (folder / name).mkdir()
        for i, (height, width) in enumerate(SIZES):
            coarse = Image.fromarray(rng.integers(0, 256, (6, 6, 3), np.uint8))
            rough = np.asarray(coarse.resize((width, height)), np.int64) + rng.integers(-30, 30, (height, width, 3))
            image = Image.fromarray(rough.clip(0, 255).astype(np.uint8))
            mode = {1: "L", 2: "CMYK"}.get(i, "RGB")
            image.convert(mode).save(folder / name / f"{i}.JPEG", "PNG" if i == 3 else "JPEG", quality=95)
    return folder


@pytest.fixture(scope="session")
def index(folder, tmp_path_factory) -> ImageIndex:
    out = tmp_path_factory.mktemp("index") / "index.h5"
    index_images(folder, folder, out)
    return read_image_index(out)


def pictures_of(index: ImageIndex, folder: Path, workers: int = 2, size: int = SIZE) -> FilePictures:
    return FilePictures(index, folder, size, RESIZE, MEAN, STD, CPU, workers)


def whole(index: ImageIndex, folder: Path, position: int) -> Image.Image:
    return Image.open(folder / index.paths[position]).convert("RGB")


def as_bytes(batch: torch.Tensor) -> np.ndarray:
    """Undo the normalisation: float64 (n, S, S, 3), nearly whole numbers."""
    values = (batch.permute(0, 2, 3, 1).double().numpy() * STD + MEAN) * 255
    np.testing.assert_allclose(values, np.rint(values), atol=1e-3)
    return np.rint(values)


def test_the_test_view_is_resized_and_cropped_in_the_centre(index, folder):
    batches = [np.array([3, 0, 2, 1]), np.arange(4, len(index.paths))]
    found = list(pictures_of(index, folder).plain(batches))
    for positions, (pictures, labels) in zip(batches, found, strict=True):
        assert labels.tolist() == index.labels[positions].tolist() and labels.dtype == torch.int64
        assert pictures.shape == (len(positions), 3, SIZE, SIZE) and pictures.dtype == torch.float32
        assert pictures.is_contiguous(memory_format=torch.channels_last)
        for position, view in zip(positions, as_bytes(pictures), strict=True):
            image = whole(index, folder, position)
            shorter = min(image.size)
            image = image.resize([int(RESIZE * side / shorter) for side in image.size], Image.Resampling.BILINEAR)
            left, top = (round((side - SIZE) / 2) for side in image.size)
            expected = np.asarray(image.crop((left, top, left + SIZE, top + SIZE)), float)
            assert np.abs(view - expected).max() <= ROUNDING


def test_augmented_pictures_are_crops_scaled_and_flipped(index, folder):
    pictures = pictures_of(index, folder)
    for epoch in range(4):
        drawn = pictures.draw_augmentation(TRAINING, (0,), epoch)
        ((batch, labels),) = pictures.augmented([drawn.order], drawn)
        assert labels.tolist() == index.labels[drawn.order].tolist()
        assert batch.is_contiguous(memory_format=torch.channels_last)
        for position, view in zip(drawn.order, as_bytes(batch), strict=True):
            top, left, height, width = (int(side[position]) for side in astuple(drawn)[1:5])
            image = whole(index, folder, position).crop((left, top, left + width, top + height))
            expected = np.asarray(image.resize((SIZE, SIZE), Image.Resampling.BILINEAR), float)
            expected = expected[:, ::-1] if drawn.flip[position] else expected
            assert np.abs(view - expected).max() <= ROUNDING


def test_a_crop_that_needs_no_scaling_has_the_same_bytes(index, folder):
    position = next(i for i, path in enumerate(index.paths) if path == "ant/4.JPEG")  # 24 x 24
    pictures = pictures_of(index, folder)
    drawn = pictures.draw_augmentation(TRAINING | {"crop_scale": [1, 1], "crop_ratio": [1, 1], "flip": False}, (0,), 0)
    ((batch, _),) = pictures.augmented([np.array([position])], drawn)
    np.testing.assert_array_equal(as_bytes(batch)[0], np.asarray(whole(index, folder, position)))


def test_the_number_of_workers_changes_no_byte(index, folder):
    batches = [np.arange(5), np.arange(5, 12), np.array([1]), np.arange(12)] * 3
    drawn = pictures_of(index, folder).draw_augmentation(TRAINING, (1,), 2)
    found = []
    for workers in (0, 1, 3):
        pictures = pictures_of(index, folder, workers)
        streams = (pictures.augmented(batches, drawn), pictures.plain(batches))
        found.append([tensor.numpy().tobytes() for stream in streams for batch in stream for tensor in batch])
    assert len(found[0]) == 4 * len(batches)
    assert found[0] == found[1] == found[2]


def test_an_epoch_depends_only_on_seed_and_epoch(index, folder):
    pictures = pictures_of(index, folder)
    np.random.default_rng(0).random(3)
    first, again = (astuple(pictures.draw_augmentation(TRAINING, (1,), 2)) for _ in range(2))
    for a, b in zip(first, again, strict=True):
        np.testing.assert_array_equal(a, b)
    for other in (((1,), 3), ((2,), 2), ((2**31 + 1, 1), 2)):
        drawn = astuple(pictures.draw_augmentation(TRAINING, *other))
        assert all((a != b).any() for a, b in zip(first, drawn, strict=True))
    order, *boxes, flip = first
    assert sorted(order) == list(range(len(pictures))) and order.dtype == np.int64
    assert all(side.dtype == np.int32 for side in boxes) and flip.dtype == bool
    assert not pictures.draw_augmentation(TRAINING | {"flip": False}, (1,), 2).flip.any()


@settings(deadline=None)
@given(
    sizes=st.lists(st.tuples(st.integers(1, 90), st.integers(1, 90)), min_size=1, max_size=20),
    scale=st.tuples(st.floats(0.05, 1), st.floats(0.05, 1)).map(sorted),
    ratio=st.tuples(st.floats(0.5, 1), st.floats(1, 2)),
    seed=st.integers(0, 9),
)
def test_boxes_are_within_their_pictures_and_the_limits(sizes, scale, ratio, seed):
    height, width = np.array(sizes, np.int32).T
    boxes = draw_boxes(np.random.default_rng(seed), height, width, scale, ratio)
    for picture_height, picture_width, top, left, rows, columns in zip(height, width, *boxes, strict=True):
        assert min(top, left) >= 0 and top + rows <= picture_height and rows >= 1
        assert left + columns <= picture_width and columns >= 1
        # Sides are rounded to whole pixels.
        least, most = (columns - 0.5) / (rows + 0.5), (columns + 0.5) / (rows - 0.5)
        assert least <= ratio[1] and most >= ratio[0]
        area = picture_height * picture_width
        fits = (rows - 0.5) * (columns - 0.5) <= scale[1] * area and (rows + 0.5) * (columns + 0.5) >= scale[0] * area
        assert fits or is_central(picture_height, picture_width, top, left, rows, columns, ratio)


def is_central(height: int, width: int, top: int, left: int, rows: int, columns: int, ratio: tuple) -> bool:
    """Tell whether a box is the fallback if no drawn box fits: torchvision's definition, case by case."""
    if width / height < ratio[0]:
        expected = (round(width / ratio[0]), width)
    elif width / height > ratio[1]:
        expected = (height, round(height * ratio[1]))
    else:
        expected = (height, width)
    return (rows, columns) == expected and (top, left) == ((height - rows) // 2, (width - columns) // 2)


@pytest.mark.parametrize(("height", "width"), [(100, 1000), (1000, 100), (50, 1)])
def test_a_long_picture_that_no_box_fits_is_cropped_in_its_middle(height, width):
    sizes = np.full(20, height, np.int32), np.full(20, width, np.int32)
    boxes = draw_boxes(np.random.default_rng(0), *sizes, (0.9, 1), (0.8, 1.25))
    for box in zip(*boxes, strict=True):
        assert is_central(height, width, *map(int, box), (0.8, 1.25))


def slow_box(rng: np.random.Generator, height: int, width: int) -> tuple[float, float, float, float]:
    """Share of the area, log ratio and relative place of a box, drawn by the definition, one try after the other."""
    while True:
        area = rng.uniform(0.1, 1) * height * width
        ratio = math.exp(rng.uniform(math.log(0.8), math.log(1.25)))
        rows, columns = round(math.sqrt(area / ratio)), round(math.sqrt(area * ratio))
        if rows <= height and columns <= width:
            top, left = (int(rng.integers(0, free + 1)) for free in (height - rows, width - columns))
            return rows * columns, math.log(columns / rows), top, left


def test_boxes_are_distributed_as_defined():
    count, height, width = 20000, 375, 500
    sizes = np.full(count, height, np.int32), np.full(count, width, np.int32)
    top, left, rows, columns = (
        side.astype(float) for side in draw_boxes(np.random.default_rng(0), *sizes, (0.1, 1), (0.8, 1.25))
    )
    rng = np.random.default_rng(1)
    expected = np.array([slow_box(rng, height, width) for _ in range(count)]).T
    for drawn, slow in zip((rows * columns, np.log(columns / rows), top, left), expected, strict=True):
        # The largest distance of two empirical distributions (Kolmogorov-Smirnov) exceeds this once in 10,000 times.
        values = np.sort(np.concatenate([drawn, slow]))
        shares = [np.searchsorted(np.sort(sample), values, "right") / count for sample in (drawn, slow)]
        assert np.abs(shares[0] - shares[1]).max() < math.sqrt(-math.log(0.0001 / 2) / count)


def test_half_of_the_pictures_are_flipped():
    sizes = np.full(10000, 9, np.int32)
    index = ImageIndex(("",) * 10000, sizes, ("a",), sizes, sizes, "")
    flip = pictures_of(index, Path()).draw_augmentation(TRAINING, (0,), 0).flip
    assert abs(flip.mean() - 0.5) < 4 * 0.5 / math.sqrt(len(flip))


@pytest.fixture
def damaged(index, folder, tmp_path) -> Path:
    """The pictures again; one, bee/1.JPEG, may be damaged."""
    for path in index.paths:
        (tmp_path / path).parent.mkdir(exist_ok=True)
        (tmp_path / path).write_bytes((folder / path).read_bytes())
    return tmp_path


@pytest.mark.parametrize("spoil", ["cut", "removed", "other size"])
def test_a_changed_file_is_reported(index, damaged, spoil):
    path = damaged / "bee" / "1.JPEG"
    if spoil == "cut":
        path.write_bytes(path.read_bytes()[:-200])
    elif spoil == "removed":
        path.unlink()
    else:
        path.write_bytes((damaged / "bee" / "0.JPEG").read_bytes())
    pictures = pictures_of(index, damaged)
    positions = np.arange(len(pictures))
    with pytest.raises(UserError, match=r"bee/1\.JPEG"):
        list(pictures.augmented([positions], pictures.draw_augmentation(TRAINING, (0,), 0)))
    with pytest.raises(UserError, match=r"bee/1\.JPEG"):
        list(pictures.plain([positions]))
    assert len(list(pictures.plain([positions[:6]]))) == 1


def test_closing_early_ends_the_workers(index, folder):
    before = threading.active_count()
    with closing(pictures_of(index, folder, 3).plain([np.arange(12)] * 1000)) as loaded:
        next(loaded)
        assert threading.active_count() > before
    assert threading.active_count() == before


@pytest.mark.parametrize(("size", "ahead"), [(1, 64), (12, 5), (100, 2)])
def test_as_many_batches_wait_as_keep_the_workers_busy(index, folder, size, ahead):
    asked = []
    batches = (asked.append(number) or np.full(size, 2) for number in range(1000))
    with closing(pictures_of(index, folder, workers=2).plain(batches)) as loaded:
        for taken in range(1, 4):
            next(loaded)
            assert len(asked) == taken + ahead


LOOP = """
import signal, sys, time
from pathlib import Path
import numpy as np, torch
from workflow_scripts.data.image_index import read_image_index
from workflow_scripts.train.file_pictures import FilePictures
asked = []
for number in (signal.SIGTERM, signal.SIGINT):
    signal.signal(number, lambda number, frame: asked.append(number))
index = read_image_index(sys.argv[1])
pictures = FilePictures(index, Path(sys.argv[2]), 24, 28, [0.5] * 3, [0.2] * 3, torch.device("cpu"), 3)
stream = pictures.plain([np.arange(len(index.paths))] * 100000)
next(stream)
print("started", flush=True)
while len(asked) < 2:
    next(stream)
print(sum(len(next(stream)[1]) for _ in range(50)), flush=True)
stream.close()
"""


def test_signals_to_the_whole_group_leave_the_workers_working(index, folder, tmp_path):
    index_images(folder, folder, tmp_path / "index.h5")
    command = [sys.executable, "-c", LOOP, tmp_path / "index.h5", folder]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True, start_new_session=True) as process:
        assert process.stdout.readline() == "started\n"
        for number in (signal.SIGTERM, signal.SIGINT):
            os.killpg(process.pid, number)
        assert process.stdout.readline() == f"{50 * len(index.paths)}\n"
    assert process.returncode == 0
