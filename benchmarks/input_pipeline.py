"""How fast pictures get from JPEG files to training, per core: this workflow and other decoders.

    python -m benchmarks.input_pipeline

Pictures are made from seeds, with the size of most of ImageNet's: 500 x 375 pixels in about 110 kB. Each is decoded,
and a random box (scale 0.1 to 1, ratio 0.8 to 1.25, the same for all decoders) is cut out and scaled to 224 x 224.
Rates are per second of CPU time, so other work on the machine matters little; each is the best of several runs.
Decoders that are not installed are left out: `pip install opencv-python-headless nvidia-dali-cuda120` adds two. Prints
a table; the last line is one JSON object.
"""

import argparse
import importlib.util
import io
import json
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch
from PIL import Image

from workflow_scripts.data.decode import decode
from workflow_scripts.data.image_index import ImageIndex
from workflow_scripts.train.file_pictures import Crops, FilePictures

HEIGHT, WIDTH, SIZE, QUALITY, BATCH = 375, 500, 224, 92, 50
TRAINING = {"crop_scale": [0.1, 1.0], "crop_ratio": [0.8, 1.25], "flip": False}
BILINEAR = Image.Resampling.BILINEAR
Box = tuple[int, int, int, int]  # top, left, height, width


def main() -> None:
    """Write pictures, load them with this workflow and other decoders, and print pictures per second and core."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--pictures", type=int, default=200)
    parser.add_argument("--runs", type=int, default=3)
    arguments = parser.parse_args()
    torch.set_num_threads(1)  # each worker scales on one thread
    with tempfile.TemporaryDirectory() as folder:
        files = write_pictures(Path(folder), arguments.pictures)
        pictures = file_pictures(Path(folder), files)
        drawn = pictures.draw_augmentation(TRAINING, (0,), 0)
        rates = {"decoding alone": rate(lambda: decode_all(files), len(files), arguments.runs)}
        rates["this workflow"] = rate(lambda: ours(pictures, drawn), len(files), arguments.runs)
        boxes = list(zip(*(side.tolist() for side in (drawn.top, drawn.left, drawn.height, drawn.width)), strict=True))
        for name, work in rivals(files, boxes).items():
            rates[name] = rate(work, len(files), arguments.runs)
    size = np.mean([len(data) for data in files]) / 1e3
    print(f"{len(files)} pictures, {WIDTH} x {HEIGHT}, {size:.0f} kB on average; pictures per second and core:")
    for name, found in rates.items():
        print(f"  {name:34} {found:6.0f}   this workflow: x {rates['this workflow'] / found:.2f}")
    print(json.dumps({"kilobytes": round(size), **{name: round(found) for name, found in rates.items()}}))


def write_pictures(folder: Path, count: int) -> list[bytes]:
    """Write `0.JPEG`, `1.JPEG`, ... and return their bytes.

    Their spectrum falls off like that of photographs (amplitude as 1 / frequency; Field 1987).
    """
    frequency = np.hypot(np.fft.fftfreq(HEIGHT)[:, None] * HEIGHT, np.fft.rfftfreq(WIDTH) * WIDTH)
    files = []
    for number in range(count):
        noise = np.random.default_rng(number).standard_normal((3, HEIGHT, WIDTH))
        planes = np.fft.irfft2(np.fft.rfft2(noise) / np.maximum(frequency, 1), (HEIGHT, WIDTH))
        planes[1:] = planes[0] + planes[1:] / 4  # the channels of photographs are correlated
        picture = (128 + 45 * planes / planes.std()).clip(0, 255).astype(np.uint8)
        path = folder / f"{number}.JPEG"
        Image.fromarray(np.ascontiguousarray(picture.transpose(1, 2, 0))).save(path, quality=QUALITY)
        files.append(path.read_bytes())
    return files


def file_pictures(folder: Path, files: list[bytes]) -> FilePictures:
    """Return the pictures in the form that training uses, decoded by one thread."""
    count = len(files)
    height, width = np.full(count, HEIGHT, np.int32), np.full(count, WIDTH, np.int32)
    paths = tuple(f"{number}.JPEG" for number in range(count))
    index = ImageIndex(paths, np.zeros(count, np.int64), ("a", "b"), height, width, "")
    return FilePictures(index, folder, SIZE, 256, [0.5] * 3, [0.25] * 3, torch.device("cpu"), workers=1)


def rate(work: Callable[[], None], pictures: int, runs: int) -> float:
    """Pictures per second of CPU time, summed over all threads."""
    seconds = []
    for _ in range(runs):
        started = time.process_time()
        work()
        seconds.append(time.process_time() - started)
    return pictures / min(seconds)


def decode_all(files: list[bytes]) -> None:
    """Decode JPEG files, given as bytes, at full size, and drop the pictures."""
    for data in files:
        decode(data, "")


def ours(pictures: FilePictures, drawn: Crops) -> None:
    """Read, decode, crop and scale; flipping and normalising are done by the GPU."""
    batches = [drawn.order[start : start + BATCH] for start in range(0, len(drawn.order), BATCH)]
    for _ in pictures.decoded(batches, lambda position: pictures.crop(position, drawn)):
        pass


def rivals(files: list[bytes], boxes: list[Box]) -> dict[str, Callable[[], None]]:
    """Return functions that cut and scale the same boxes, by the name of the decoder."""
    found = {"Pillow": lambda: pillow(files, boxes), "Pillow, draft and reducing gap": lambda: draft(files, boxes)}
    if importlib.util.find_spec("cv2"):
        found["OpenCV, by area"] = lambda: opencv(files, boxes)
    if importlib.util.find_spec("nvidia") and importlib.util.find_spec("nvidia.dali"):
        found["DALI, boxes of its own"] = dali(files)
    return found


def pillow(files: list[bytes], boxes: list[Box]) -> None:
    """Crop, then resize, as torchvision and most training code do."""
    for data, (top, left, height, width) in zip(files, boxes, strict=True):
        image = Image.open(io.BytesIO(data)).convert("RGB").crop((left, top, left + width, top + height))
        np.asarray(image.resize((SIZE, SIZE), BILINEAR))


def draft(files: list[bytes], boxes: list[Box]) -> None:
    """Let the decoder halve pictures and the resize skip pixels, if enough pixels remain."""
    for data, (top, left, height, width) in zip(files, boxes, strict=True):
        image = Image.open(io.BytesIO(data))
        shrink = min(height, width) / SIZE
        image.draft("RGB", (int(WIDTH / shrink), int(HEIGHT / shrink)))
        scale = image.width / WIDTH
        box = (left * scale, top * scale, (left + width) * scale, (top + height) * scale)
        np.asarray(image.convert("RGB").resize((SIZE, SIZE), BILINEAR, box=box, reducing_gap=2))


def opencv(files: list[bytes], boxes: list[Box]) -> None:
    """Use means over areas, OpenCV's only antialiased method, if pictures shrink."""
    import cv2

    cv2.setNumThreads(0)
    for data, (top, left, height, width) in zip(files, boxes, strict=True):
        picture = cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_COLOR_RGB)
        way = cv2.INTER_AREA if max(height, width) > SIZE else cv2.INTER_LINEAR
        cv2.resize(picture[top : top + height, left : left + width], (SIZE, SIZE), interpolation=way)


def dali(files: list[bytes]) -> Callable[[], None]:
    """Use one CPU thread, with decoding and cropping fused."""
    from nvidia.dali import fn, pipeline_def, types

    def batch(number: int) -> list[np.ndarray]:
        return [np.frombuffer(files[(number * BATCH + i) % len(files)], np.uint8) for i in range(BATCH)]

    # Nothing is prefetched, so that each run does only its own work.
    @pipeline_def(batch_size=BATCH, num_threads=1, device_id=None, prefetch_queue_depth=1)
    def pipeline() -> object:
        data = fn.external_source(source=batch, dtype=types.UINT8)
        shape = {"random_area": TRAINING["crop_scale"], "random_aspect_ratio": TRAINING["crop_ratio"]}
        crops = fn.decoders.image_random_crop(data, device="cpu", seed=0, **shape)
        return fn.resize(crops, size=[SIZE, SIZE], interp_type=types.INTERP_LINEAR, antialias=True)

    pipe = pipeline()
    pipe.build()
    pipe.run()

    def work() -> None:
        for _ in range(len(files) // BATCH):
            pipe.run()

    return work


if __name__ == "__main__":
    main()
