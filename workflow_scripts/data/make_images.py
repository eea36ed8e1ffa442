"""Draw the generated world's pictures to classify, in class folders."""

from functools import partial
from pathlib import Path

from PIL import Image

from workflow_scripts.data.world.labels import CLASSES
from workflow_scripts.data.world.pictures import class_picture, photograph
from workflow_scripts.data.world.settings import DEFAULT
from workflow_scripts.data.world.work import check_order, picture_generator, progress, workers, world_parser
from workflow_scripts.shared.files import run_command, whole_file, write_checksums


def make_images(seed: int, size: int, train: int, test: int, processes: int, folder: str | Path) -> None:
    """Write `train` and `test` pictures as `folder`/train/<class>/000123.png and `folder`/test/...

    They are RGB, of `size` x `size` pixels; picture i has class i modulo the number of classes. The same seed and
    counts give the same bytes whatever the number of processes. Raises `UserError` as `check_order` does.
    """
    check_order(size, processes, seed=seed, train=train, test=test)
    with whole_file(folder) as part, workers(processes) as each:
        for split, count in (("train", train), ("test", test)):
            for name in CLASSES:
                (part / split / name).mkdir(parents=True)
            work = partial(write_class_image, folder=part / split, seed=seed, split=split, size=size)
            for _ in progress(each(work, range(count)), count, f"{split} images"):
                pass


def write_class_image(index: int, folder: Path, seed: int, split: str, size: int) -> None:
    """Draw one picture and write it as <folder>/<class>/<index>.png; the classes alternate with the index."""
    rng = picture_generator(seed, split, index)
    name = CLASSES[index % len(CLASSES)]
    image = photograph(class_picture(name, rng, DEFAULT), size, rng, DEFAULT)
    Image.fromarray(image).save(folder / name / f"{index:06d}.png")


def main() -> None:
    """Draw as many training and test pictures as the command line says, and list the checksums of their files."""
    parser = world_parser(__doc__)
    parser.add_argument("--train", type=int, required=True, help="number of training pictures")
    parser.add_argument("--test", type=int, required=True, help="number of test pictures")
    options = parser.parse_args()
    make_images(options.seed, options.size, options.train, options.test, options.processes, options.out)
    write_checksums(options.out, options.checksums)


if __name__ == "__main__":
    run_command(main)
