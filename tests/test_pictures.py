"""One policy for all pictures that networks are shown, in every reader: what is accepted, and what is refused."""

import io
import json
import logging
import os
import socket
import struct
import subprocess
import sys
import zlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import h5py
import numpy as np
import pytest
import reference_dissection as reference
import torch
from PIL import Image
from torch import nn

from workflow_scripts.data.image_index import ImageIndex
from workflow_scripts.data.index_images import index_images
from workflow_scripts.data.pack_concepts import pack_concepts
from workflow_scripts.data.pack_images import pack_images
from workflow_scripts.data.packed_images import read_packed_images
from workflow_scripts.shared.files import UserError, require_file
from workflow_scripts.shared.limits import LIMITS, SHIPPED
from workflow_scripts.shared.regular_files import read_file
from workflow_scripts.train.file_pictures import FilePictures
from workflow_scripts.train.measure_network import measure_accuracy

SIDE = 16
PIXELS = np.random.default_rng(0).integers(0, 256, (SIDE, SIDE, 3), np.uint8)
PICTURE = Image.fromarray(PIXELS)
STATISTICS = {"mean": [0.5] * 3, "std": [0.25] * 3}
Put = Callable[[Path], object]


def encoded(file_format: str, image: Image.Image = PICTURE, **options: object) -> bytes:
    buffer = io.BytesIO()
    image.save(buffer, file_format, **options)
    return buffer.getvalue()


def png(width: int, height: int, depth: int = 8, rows: bytes = b"", extra: bytes = b"") -> bytes:
    """A PNG in red, green and blue."""

    def chunk(kind: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    header = chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, depth, 2, 0, 0, 0))
    more = chunk(b"zTXt", b"k\0\0" + zlib.compress(extra)) if extra else b""
    return b"\x89PNG\r\n\x1a\n" + header + more + chunk(b"IDAT", zlib.compress(rows)) + chunk(b"IEND", b"")


def deep_tiff() -> bytes:
    """A TIFF of 4 x 4 pixels, 16 bits in each of red, green and blue."""
    bits = 8 + 2 + 10 * 12 + 4  # where they stand, behind the tags; the pixels follow
    tags = [
        (256, 3, 1, 4),
        (257, 3, 1, 4),
        (258, 3, 3, bits),
        (259, 3, 1, 1),
        (262, 3, 1, 2),
        (273, 4, 1, bits + 6),
        (277, 3, 1, 3),
        (278, 3, 1, 4),
        (279, 4, 1, 96),
        (284, 3, 1, 1),
    ]
    directory = b"".join(struct.pack("<HHII", *tag) for tag in tags)
    return b"II*\0\x08\0\0\0" + struct.pack("<H", len(tags)) + directory + bytes(4) + b"\x10\0" * 3 + b"\0\xc0" * 48


def sized_jpeg(height: int, width: int) -> bytes:
    """A JPEG whose header gives it another size."""
    data = bytearray(encoded("JPEG"))
    place = data.index(b"\xff\xc0") + 5
    data[place : place + 4] = struct.pack(">HH", height, width)
    return bytes(data)


def changed(data: bytes, place: int) -> bytes:
    return data[:place] + bytes([data[place] ^ 1]) + data[place + 1 :]


def content(data: bytes) -> Put:
    return lambda path: path.write_bytes(data)


def put_hole(path: Path) -> None:
    path.touch()
    os.truncate(path, 3 * 10**11)


def put_socket(path: Path) -> None:
    folder = os.open(path.parent, os.O_RDONLY)
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(f"/proc/self/fd/{folder}/{path.name}")  # a short name, as sockets need
    os.close(folder)


def frames(file_format: str) -> bytes:
    return encoded(file_format, save_all=True, append_images=[Image.fromarray(PIXELS ^ change) for change in (255, 15)])


FOREIGN = "not a whole JPEG, PNG, BMP, WebP or TIFF picture of at most 8 bits a channel"
DEEP = "more than 8 bits a channel"
PNG = encoded("PNG")
END = PNG.index(b"IEND") - 4  # of the pixels' chunk
REFUSED: dict[str, tuple[Put, str]] = {
    **{name: (content(encoded(name)), FOREIGN) for name in ("GIF", "PPM", "JPEG2000", "AVIF", "EPS", "ICO", "TGA")},
    "16 bits, grey PNG": (content(encoded("PNG", Image.fromarray(np.full((4, 4), 40000, np.uint16)))), DEEP),
    "16 bits, RGB PNG": (content(png(4, 4, 16, (b"\0" + b"\xc0\0" * 12) * 4)), DEEP),
    "16 bits, grey TIFF": (content(encoded("TIFF", Image.fromarray(np.full((4, 4), 40000, np.uint16)))), DEEP),
    "16 bits, RGB TIFF": (content(deep_tiff()), DEEP),
    "32 bits, TIFF": (content(encoded("TIFF", Image.fromarray(np.full((4, 4), 1000, np.int32)))), DEEP),
    "signed, TIFF": (
        content(encoded("TIFF", Image.fromarray(np.full((4, 4), 40, np.uint8)), tiffinfo={339: 2})),
        DEEP,
    ),
    "floating point, TIFF": (content(encoded("TIFF", Image.fromarray(np.full((4, 4), 1000, np.float32)))), DEEP),
    "animated WebP": (content(frames("WEBP")), "holds 3 frames"),
    "animated PNG": (content(frames("PNG")), "holds 3 frames"),
    "TIFF of several pages": (content(frames("TIFF")), "holds 3 frames"),
    "empty": (content(b""), FOREIGN),
    "text": (content(b"404"), FOREIGN),
    "web page": (content(b"<!DOCTYPE html><title>Not found</title>"), FOREIGN),
    "pointer": (content(b"version https://git-lfs.github.com/spec/v1\noid sha256:00\nsize 7\n"), "git lfs pull"),
    "cut PNG": (content(PNG[: len(PNG) // 2]), "not a whole picture"),
    "cut JPEG": (content(encoded("JPEG")[:-20]), "not a whole picture"),
    "cut TIFF": (content(encoded("TIFF")[:300]), "not a whole"),
    "wrong checksum of a header": (content(changed(PNG, PNG.index(b"IDAT") - 5)), FOREIGN),
    "wrong checksum of pixels": (content(changed(PNG, END - 5)), "not a whole picture"),
    "PNG of too many pixels": (content(png(10**6, 10**6)), "more than 356 million pixels"),
    "PNG of slightly too many pixels": (content(png(1, 178_000_001)), "178000001 x 1 pixels"),
    "BMP of too many pixels": (
        content(encoded("BMP")[:18] + struct.pack("<ii", 60000, 60000) + encoded("BMP")[26:]),
        "more than 356 million pixels",
    ),
    "PNG of fewer pixels than it says": (content(png(9000, 9000)), "not a whole picture"),
    "JPEG of fewer pixels than it says": (content(sized_jpeg(9000, 9000)), "too short for its size of 9000 x 9000"),
    "much text in a PNG": (content(png(SIDE, SIDE, rows=bytes(49) * 16, extra=bytes(10**8))), "not a whole picture"),
    "folder": (Path.mkdir, "cannot be read|is a folder, pipe, socket or device"),
    "pipe": (os.mkfifo, "is a folder, pipe, socket or device"),
    "socket": (put_socket, "cannot be read|is a folder, pipe, socket or device"),
    "device": (lambda path: path.symlink_to("/dev/zero"), "is a folder, pipe, socket or device"),
    "broken link": (lambda path: path.symlink_to("nowhere"), "is missing or is a broken link"),
    "links in a ring": (lambda path: path.symlink_to(path), "cannot be read"),
    "file without end": (put_hole, "has 300 GB"),
}


def class_folders(folder: Path, put: Put) -> Path:
    """Two classes with one picture each; the second picture is at b/x.png."""
    for name in ("a", "b"):
        (folder / name).mkdir(parents=True)
    PICTURE.save(folder / "a/0.png")
    put(folder / "b/x.png")
    return folder


class Two(nn.Module):
    """Chooses one of two classes, and keeps the pictures that it was shown."""

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        self.shown = x
        return x.mean((2, 3))[:, :2]


def packed(folder: Path, put: Put) -> np.ndarray:
    out = folder / "out.h5"
    pack_images(class_folders(folder / "set", put), SIDE, out)
    return read_packed_images(out).images[1]


def indexed(folder: Path, put: Put) -> None:
    index_images(class_folders(folder / "set", put), folder / "set", folder / "out.h5")


def trained(folder: Path, put: Put) -> np.ndarray:
    side = np.array([SIDE], np.int32)
    index = ImageIndex(("b/x.png",), np.array([0]), ("b",), side, side, "")
    files = class_folders(folder / "set", put)
    return FilePictures(index, files, SIDE, SIDE, **STATISTICS, device=torch.device("cpu"), workers=1).read(0)


def labelled(folder: Path, put: Put) -> np.ndarray:
    picture = reference.Picture(PIXELS, {"scene": [3]})
    reference.write_broden(reference.Concepts(["scene"], {3: ("street", ["scene"])}, 4, 6, [picture]), folder / "set")
    (folder / "set/images/some/0.png").unlink()
    put(folder / "set/images/some/0.png")
    pack_concepts(folder / "set", SIDE, folder / "out.h5")
    with h5py.File(folder / "out.h5") as file:
        return file["images"][0]


def measured(folder: Path, put: Put) -> np.ndarray:
    view = STATISTICS | {"size": SIDE, "resize": SIDE, "interpolation": "bilinear"}
    network = Two()
    measure_accuracy(network, class_folders(folder / "set", put), view, workers=1)
    return np.rint((network.shown[1].permute(1, 2, 0).numpy() * 0.25 + 0.5) * 255)


READERS = {"packed": packed, "indexed": indexed, "trained": trained, "labelled": labelled, "measured": measured}


@pytest.mark.parametrize("reader", READERS)
@pytest.mark.parametrize("case", REFUSED)
def test_unsupported_pictures_are_refused_with_a_sentence(tmp_path, caplog, reader, case):
    put, words = REFUSED[case]
    with pytest.raises(UserError, match=r"[0x]\.png") as error:
        READERS[reader](tmp_path, put)
    lines = [str(error.value), *caplog.messages]  # of many files a list is logged
    assert any(word in line for word in words.split("|") for line in lines)
    assert not any("\n" in line for line in lines)
    assert not list(tmp_path.glob("out.h5*"))


TAKEN = {
    "BMP": encoded("BMP"),
    "WebP": encoded("WEBP", lossless=True),
    "TIFF": encoded("TIFF"),
    "JPEG": encoded("JPEG"),
    "a camera's JPEG with a preview": encoded("MPO", save_all=True, append_images=[Image.fromarray(255 - PIXELS)]),
    "black and white": encoded("PNG", PICTURE.convert("1")),
    "grey": encoded("PNG", PICTURE.convert("L")),
    "grey, transparent": encoded("PNG", PICTURE.convert("LA")),
    "palette": encoded("PNG", PICTURE.convert("P")),
    "palette, transparent": encoded("PNG", PICTURE.convert("P"), transparency=bytes(range(256))),
    "transparent": encoded("PNG", Image.fromarray(np.concatenate([PIXELS, PIXELS[..., :1]], -1))),
    "CMYK": encoded("TIFF", PICTURE.convert("CMYK")),
    "CMYK, JPEG": encoded("JPEG", PICTURE.convert("CMYK")),
    "YCbCr": encoded("TIFF", PICTURE.convert("YCbCr")),
    "LAB": encoded("TIFF", Image.frombytes("LAB", (SIDE, SIDE), PIXELS.tobytes())),
    "damaged colour profile": encoded("PNG", icc_profile=b"no profile"),
}


@pytest.mark.parametrize("reader", [name for name in READERS if name != "indexed"])
@pytest.mark.parametrize("kind", TAKEN)
def test_accepted_pictures_match_pillow_whatever_their_ending(tmp_path, caplog, reader, kind):
    data = TAKEN[kind]
    with Image.open(io.BytesIO(data)) as image:
        expected = np.asarray(image.convert("RGB"))
    np.testing.assert_array_equal(READERS[reader](tmp_path, content(data)), expected)
    assert not [record for record in caplog.records if record.levelno > logging.INFO]


def test_colours_behind_transparency_show(tmp_path):
    data = encoded("PNG", Image.fromarray(np.concatenate([PIXELS, np.zeros_like(PIXELS[..., :1])], -1)))
    np.testing.assert_array_equal(packed(tmp_path, content(data)), PIXELS)


def turn(value: object) -> Image.Exif:
    exif = Image.Exif()
    exif[0x0112] = value
    return exif


TURNED = {
    **{f"PNG {value}": (encoded("PNG", exif=turn(value)), 1) for value in range(2, 9)},
    **{f"TIFF {value}": (encoded("TIFF", tiffinfo={0x0112: value}), 1) for value in range(2, 9)},
    "TIFF, compressed": (encoded("TIFF", tiffinfo={0x0112: 6}, compression="tiff_lzw"), 1),
    "JPEG": (encoded("JPEG", exif=turn(6)), 1),
    "JPEG, CMYK": (encoded("JPEG", PICTURE.convert("CMYK"), exif=turn(3)), 1),
    "WebP": (encoded("WEBP", lossless=True, exif=turn(8)), 1),
    "upright": (encoded("JPEG", exif=turn(1)), 0),
    "no such turn": (encoded("JPEG", exif=turn(9)), 0),
    "damaged EXIF data": (encoded("JPEG", exif=b"Exif\0\0no table"), 0),
    "damaged EXIF data, PNG": (encoded("PNG", exif=b"no table"), 0),
}


@pytest.mark.parametrize("reader", READERS)
@pytest.mark.parametrize("kind", TURNED)
def test_turns_are_reported_but_not_applied(tmp_path, caplog, reader, kind):
    data, count = TURNED[kind]
    found = READERS[reader](tmp_path, content(data))
    if found is not None and kind.startswith(("PNG", "TIFF", "WebP")):
        np.testing.assert_array_equal(found, PIXELS)
    told = [line for line in caplog.messages if "ask for a turn" in line]
    assert len(told) == (count if reader != "trained" else 0)  # these were told when they were indexed
    assert all(line.startswith("1 pictures") and ".png" in line for line in told)


def test_a_long_picture_is_not_turned(tmp_path):
    wide = Image.fromarray(np.repeat(PIXELS, 2, axis=1))
    for number, file_format in enumerate(("PNG", "TIFF")):
        options = {"exif": turn(6)} if file_format == "PNG" else {"tiffinfo": {0x0112: 6}}
        found = packed(tmp_path / str(number), content(encoded(file_format, wide, **options)))
        np.testing.assert_array_equal(found, np.asarray(wide)[:, SIDE // 2 : -SIDE // 2])


def test_no_program_is_started(tmp_path, monkeypatch):
    (tmp_path / "bin").mkdir()
    program = tmp_path / "bin/gs"
    program.write_text(f"#!/bin/sh\ntouch {tmp_path}/started\n")
    program.chmod(0o755)
    monkeypatch.setenv("PATH", f"{program.parent}:{os.environ['PATH']}")
    for number, reader in enumerate(READERS.values()):
        with pytest.raises(UserError):
            reader(tmp_path / str(number), content(encoded("EPS")))
    assert not (tmp_path / "started").exists()


def test_nothing_without_a_name_reaches_the_terminal(tmp_path):
    strange = encoded("TIFF", tiffinfo={296: 1}).replace(struct.pack("<HHI", 296, 3, 1), struct.pack("<HHI", 296, 3, 2))
    folder = class_folders(tmp_path / "set", content(strange))
    (folder / "b/y.png").write_bytes(encoded("PNG", PICTURE.convert("P"), transparency=bytes(range(256))))
    command = ["-m", "workflow_scripts.data.pack_images", "--folder", folder, "--size", str(SIDE)]
    done = subprocess.run(
        [sys.executable, *command, "--out", tmp_path / "out.h5"], capture_output=True, text=True, check=True
    )
    assert all(str(folder) in line for line in done.stderr.splitlines()) and done.stderr.count("\n") == 1


# ---------------------------------------------------------------- what is left out


def write_others(folder: Path) -> None:
    """Beside the picture a/0.png: five entries that are left out, and hidden ones that are not even reported."""
    (folder / "list.txt").touch()
    (folder / "a/1.gif").write_bytes(encoded("GIF"))
    (folder / "a/no ending").write_bytes(PNG)
    (folder / "b/nested").mkdir()
    (folder / "b/nested/2.png").write_bytes(PNG)
    (folder / "b/3.jp2").touch()
    for hidden in ("__MACOSX", ".git", "a/__MACOSX"):
        (folder / hidden).mkdir()
        (folder / hidden / "4.png").write_bytes(PNG)
    (folder / "a/._0.png").touch()


@pytest.mark.parametrize("reader", ["packed", "indexed", "measured"])
def test_files_that_are_left_out_are_counted_and_reported(tmp_path, caplog, reader):
    def put(path: Path) -> None:
        path.write_bytes(PNG)
        write_others(path.parent.parent)

    READERS[reader](tmp_path, put)
    told = [line for line in caplog.messages if "left out" in line]
    assert len(told) == 1 and told[0].startswith(f"5 files or folders of {tmp_path / 'set'} are left out")
    assert told[0].endswith("as list.txt")


@pytest.mark.parametrize("reader", ["packed", "indexed", "measured"])
def test_a_class_without_pictures_is_reported_with_its_contents(tmp_path, reader):
    def put(path: Path) -> None:
        path.with_suffix(".gif").touch()
        path.with_suffix(".ppm").touch()

    with pytest.raises(UserError, match=r"set/b has no pictures but 2 files or .*, such as b/x\.gif"):
        READERS[reader](tmp_path, put)


# ---------------------------------------------------------------- permissions


@contextmanager
def without_privileges() -> Iterator[None]:
    """Become a user who may read nothing here, if the tests run as root."""
    if os.geteuid() != 0:
        yield
        return
    os.seteuid(65534)
    try:
        yield
    finally:
        os.seteuid(0)


def test_files_and_folders_without_permission_end_in_a_sentence(tmp_path):
    folder = class_folders(tmp_path / "set", content(PNG))
    (folder / "b/x.png").chmod(0)
    closed = tmp_path / "closed"
    closed.mkdir()
    (closed / "table.csv").touch()
    closed.chmod(0)
    try:
        with without_privileges():
            for read in (read_file, lambda path: require_file(path, "")):
                with pytest.raises(UserError, match=r"table\.csv cannot be read \(Permission denied\)"):
                    read(closed / "table.csv")
            with pytest.raises(UserError, match=r"x\.png cannot be read \(Permission denied\)"):
                read_file(folder / "b/x.png")
            with pytest.raises(UserError, match="no folder"):
                pack_images(closed / "set", SIDE, tmp_path / "out.h5")
            with pytest.raises(UserError, match="not a folder"):
                pack_concepts(closed / "set", SIDE, tmp_path / "out.h5")
    finally:
        closed.chmod(0o700)


@pytest.mark.parametrize("reader", ["measured", "centre"])
def test_pictures_that_scaling_would_make_huge_are_refused(tmp_path, monkeypatch, reader):
    monkeypatch.setenv(LIMITS, json.dumps(SHIPPED | {"picture_megapixels": 1}))

    def narrow(path: Path) -> None:
        Image.new("RGB", (60000, 1)).save(path)

    with pytest.raises(UserError, match=r"x\.png, scaled so that .*limits\.picture_megapixels"):
        if reader == "measured":
            measured(tmp_path, narrow)
        else:
            files = class_folders(tmp_path, narrow)
            index = ImageIndex(("b/x.png",), np.array([0]), ("b",), np.array([1]), np.array([60000]), "")
            device = torch.device("cpu")
            FilePictures(index, files, 24, 24, **STATISTICS, device=device, workers=1).centre(0)
