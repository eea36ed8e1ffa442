"""Training that is killed, stopped, or shared among processes ends like training that is not."""

import errno
import hashlib
import io
import json
import os
import pty
import random
import re
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from conftest import NETWORK, TRAINING
from PIL import Image
from torch import nn

from workflow_scripts.data.image_index import read_image_index
from workflow_scripts.data.index_images import index_images
from workflow_scripts.data.packed_images import PackedImages, write_packed_images
from workflow_scripts.networks.checkpoints import load_tensors, save_tensors
from workflow_scripts.networks.constructors import build
from workflow_scripts.networks.pruning import full_masks
from workflow_scripts.shared.files import UserError
from workflow_scripts.train.file_pictures import FilePictures
from workflow_scripts.train.train_dense import train_dense
from workflow_scripts.train.training import Trainer
from workflow_scripts.train.training_state import TrainingState

ROOT = Path(__file__).resolve().parent.parent
KILLS = 20
FORTY = TRAINING | {"epochs": 40, "learning_rate": 0.01}
TORCHRUN = ["torch.distributed.run", "--standalone", "--nproc-per-node=2", "-m"]


@pytest.fixture(scope="module")
def folder(packed, tmp_path_factory):
    """A folder with pictures and a network to start from."""
    folder = tmp_path_factory.mktemp("resume")
    many = np.random.default_rng(0).integers(0, len(packed.labels), 400)
    write_packed_images(folder / "pictures.h5", PackedImages(packed.images[many], packed.labels[many], packed.classes))
    rng = np.random.default_rng(1)
    many = rng.integers(0, len(packed.labels), 1200)  # more than two batches, so that two processes share them out
    images = packed.images[many] // 2 + rng.integers(0, 128, (1200, 12, 12, 3)).astype(np.uint8)
    write_packed_images(folder / "test.h5", PackedImages(images, packed.labels[many], packed.classes))
    run("init_network", folder, "start.pt", "--precision", "float32")
    return folder


def command(script: str, folder: Path, out: str, *more: object, training: dict | None = None) -> list[str]:
    words = ["--train", folder / "pictures.h5", "--test", folder / "test.h5", "--network", json.dumps(NETWORK)]
    words += ["--mean", 0.5, 0.5, 0.5, "--std", 0.25, 0.25, 0.25, "--replicate", 1, "--gpus", 0]
    words += ["--out", folder / out, "--metrics", (folder / out).with_suffix(".json")]
    words += ["--training", json.dumps(training), "--code", "as it is"] if training else []
    return [f"workflow_scripts.train.{script}", *(str(word) for word in (*words, *more))]


def run(script: str, folder: Path, out: str, *more: object, training: dict | None = None, processes: int = 1) -> str:
    torchrun = TORCHRUN if processes == 2 else []
    done = subprocess.run(
        [sys.executable, "-m", *torchrun, *command(script, folder, out, *more, training=training)],
        cwd=ROOT,
        env=os.environ | {"OMP_NUM_THREADS": "1"},
        capture_output=True,
        text=True,
        timeout=300,
    )
    assert done.returncode == 0, done.stderr
    return done.stderr


def dense(folder: Path, name: str) -> list:
    (folder / name).mkdir(exist_ok=True)
    return [f"{name}/network.pt", "--initial", folder / "start.pt", "--rewind", folder / name / "rewind.pt"]


def level(folder: Path, parent: str, name: str, epoch: int = 1) -> list:
    (folder / name).mkdir(exist_ok=True)
    chain = ["--parent", folder / parent / "network.pt", "--rewind", folder / parent / "rewind.pt"]
    arm = ["--mask", "global", "--fraction", 0.5, "--weights", "rewound", "--from-epoch", epoch]
    return [f"{name}/network.pt", *chain, *arm]


def outputs(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in sorted(folder.iterdir()) if path.is_file()}


def start(*words: str, **options: Any) -> subprocess.Popen:
    """Start `python -m` with a module and its arguments."""
    return subprocess.Popen(
        [sys.executable, "-m", *words],
        cwd=ROOT,
        env=os.environ | {"OMP_NUM_THREADS": "1"},
        stderr=subprocess.PIPE,
        text=True,
        **options,
    )


def read_until(running: subprocess.Popen, sign: str) -> str:
    """Return a command's output up to a line with `sign`, or all of it if it ends before."""
    assert running.stderr
    log = ""
    while sign not in log and running.poll() is None:
        log += running.stderr.readline()
    return log


def kill_at_random(arguments: list[str], times: int, seed: int) -> list[str]:
    """Start a training again and again and end it by SIGKILL or SIGTERM at random moments; return the logs.

    The moments are drawn over an attempt's whole way: starting up, training, saving.
    """
    draw = random.Random(seed)
    logs = []
    for number in range(times):
        attempt = start(*arguments)
        # Most while it trains, every fourth at any time from the start on.
        started = read_until(attempt, "epoch") if number % 4 else ""
        time.sleep(draw.uniform(0, 0.8) if number % 4 else draw.uniform(0, 4))
        attempt.send_signal(signal.SIGTERM if number % 2 else signal.SIGKILL)
        logs.append(started + attempt.communicate()[1])
        assert attempt.returncode != 0, "ended before it was killed: give it more epochs"
    return logs


@pytest.mark.rare
def test_killed_at_random_points_it_ends_with_the_same_bytes(folder):
    """Twenty kills, shared out between a dense training and a level; bfloat16, as in the default experiment."""
    training = TRAINING | {"epochs": 200, "precision": "bfloat16", "learning_rate": 0.01}
    more = ["--rewind-epoch", 30]
    run("train_dense", folder, *dense(folder, "whole"), *more, training=training)
    run("train_level", folder, *level(folder, "whole", "whole_level", 30), training=training)
    killed = command("train_dense", folder, *dense(folder, "killed"), *more, training=training)
    logs = kill_at_random(killed, KILLS // 2, seed=1)
    run("train_dense", folder, *dense(folder, "killed"), *more, training=training)
    assert outputs(folder / "killed") == outputs(folder / "whole")
    killed = command("train_level", folder, *level(folder, "killed", "killed_level", 30), training=training)
    logs += kill_at_random(killed, KILLS // 2, seed=2)
    run("train_level", folder, *level(folder, "killed", "killed_level", 30), training=training)
    assert outputs(folder / "killed_level") == outputs(folder / "whole_level")
    # The attempts did go on, from states in the middle of training, and some stopped in the middle of an epoch.
    resumed = [
        tuple(map(int, found)) for log in logs for found in re.findall(r"after (\d+) epochs and (\d+) steps", log)
    ]
    assert len({epochs for epochs, _ in resumed}) > KILLS // 3
    assert any("stopped as asked" in log for log in logs)


@pytest.fixture(scope="module")
def parent(folder) -> Path:
    """A folder with a dense network and its rewind point, of 40 epochs."""
    run("train_dense", folder, *dense(folder, "parent"), "--rewind-epoch", 2, training=FORTY)
    return folder / "parent"


@pytest.mark.rare
@pytest.mark.parametrize(
    "arm",
    [
        "--mask structured --fraction 0.5 --weights kept --from-epoch 2 --constant-rate 0.002",
        "--mask layerwise --fraction 0.3 --rounds 2 --weights fresh --seed 7 --from-epoch 0",
        "--mask all --weights rewound --from-epoch 2 --until-epoch 30 --order 1 --rewind rewind.pt",
    ],
    ids=["kept", "fresh", "early"],
)
def test_an_arm_that_the_system_kills_ends_with_the_same_bytes(folder, parent, tmp_path, arm):
    made = []
    for name in ("whole", "killed"):
        (tmp_path / name).mkdir()
        words = [parent / word if word == "rewind.pt" else word for word in arm.split()]
        arguments = [tmp_path / name / "network.pt", "--parent", parent / "network.pt", *words]
        if name == "killed":
            running = start(*command("train_level", folder, *arguments, training=FORTY))
            read_until(running, "epoch 9 of")
            running.kill()
            running.communicate()
            assert running.returncode == -signal.SIGKILL and not outputs(tmp_path / name)
        log = run("train_level", folder, *arguments, training=FORTY)
        assert bool(re.search(r"continuing after \d+ epochs", log)) == (name == "killed")
        made.append(outputs(tmp_path / name))
    assert made[0] == made[1] and len(made[0]) == 2


def test_a_finished_training_restores_its_deleted_outputs(folder):
    arguments = [*dense(folder, "again"), "--rewind-epoch", 1]
    run("train_dense", folder, *arguments, training=TRAINING)
    before = outputs(folder / "again")
    assert sorted(before) == ["network.json", "network.pt", "rewind.pt"]
    for name in before:
        (folder / "again" / name).unlink()
    for processes in (1, 1, 2):  # the second time the outputs are there
        assert "already trained" in run("train_dense", folder, *arguments, training=TRAINING, processes=processes)
        assert outputs(folder / "again") == before
    kept = folder / "again/network.pt.training/finished/network.pt"
    damaged = kept.read_bytes()[:1000]
    kept.unlink()
    kept.write_bytes(damaged)
    assert "is damaged: training anew" in run("train_dense", folder, *arguments, training=TRAINING)
    assert outputs(folder / "again") == before
    changed = run("train_dense", folder, *arguments, training=TRAINING | {"learning_rate": 0.01})
    assert "by another recipe" in changed
    assert outputs(folder / "again") != before
    assert "by another recipe" in run("train_dense", folder, *arguments, "--code", "edited", training=TRAINING)
    assert outputs(folder / "again") == before
    shutil.rmtree(kept.parents[1])
    (folder / "again/network.pt").unlink()
    assert "epoch 1 of" in run("train_dense", folder, *arguments, training=TRAINING)
    assert outputs(folder / "again") == before


def hold_up(number: signal.Signals) -> None:
    """Let a process ignore a signal from its start, as nohup does."""
    signal.signal(number, signal.SIG_IGN)


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT, signal.SIGHUP])
def test_a_training_saves_its_state_when_it_is_asked_to_end(folder, number):
    arguments = [*dense(folder, f"asked_{number.name}"), "--rewind-epoch", 1]
    heeding = {"preexec_fn": lambda: signal.signal(number, signal.SIG_DFL)}  # the tests may run in the background
    running = start(*command("train_dense", folder, *arguments, training=FORTY), **heeding)
    read_until(running, "epoch 3 of")
    running.send_signal(number)
    assert "error: stopped as asked after step" in running.communicate(timeout=60)[1]
    assert running.returncode == 1
    assert re.search(r"continuing after \d+ epochs", run("train_dense", folder, *arguments, training=FORTY))


def test_nohup_keeps_a_training_running(folder):
    arguments = command("train_dense", folder, *dense(folder, "nohup"), "--rewind-epoch", 1, training=FORTY)
    running = start(*arguments, preexec_fn=lambda: hold_up(signal.SIGHUP))
    log = read_until(running, "epoch 3 of")
    running.send_signal(signal.SIGHUP)
    log += running.communicate(timeout=120)[1]
    assert running.returncode == 0, log


def test_two_processes_train_as_one_does(folder):
    """The same global batch in four micro-batches, in one process and shared out between two."""
    training = TRAINING | {"micro_batch": 4, "epochs": 2, "learning_rate": 0.01}
    for name, processes in (("one", 1), ("two", 2)):
        more = ["--rewind-epoch", 1]
        run("train_dense", folder, *dense(folder, name), *more, training=training, processes=processes)
        run("train_level", folder, *level(folder, name, f"{name}_level"), training=training, processes=processes)
    log = (folder / "one" / "network.json").read_text()
    assert json.loads(log)["epochs"][1]["train_loss"] < json.loads(log)["epochs"][0]["train_loss"]
    for one, two in (("one", "two"), ("one_level", "two_level")):
        first, second = (json.loads((folder / name / "network.json").read_text()) for name in (one, two))
        for row, other in zip(first["epochs"], second["epochs"], strict=True):
            assert row["train_loss"] == pytest.approx(other["train_loss"], rel=1e-3)
            assert row["train_accuracy"] == pytest.approx(other["train_accuracy"], abs=0.011)
        # Four of 1,200 pictures: what rounding may change, and sharing them out wrongly would not.
        assert first["test_accuracy"] == pytest.approx(second["test_accuracy"], abs=0.0034)
        tensors, others = (load_tensors(folder / name / "network.pt")["model"] for name in (one, two))
        for name, tensor in tensors.items():
            torch.testing.assert_close(tensor, others[name], rtol=1e-2, atol=1e-3)


def test_processes_asked_to_stop_save_and_any_number_of_them_can_continue(folder):
    """SIGTERM reaches two processes at different moments; they stop after the same step."""
    training = TRAINING | {"micro_batch": 4, "epochs": 20, "learning_rate": 0.01}
    arguments = [*dense(folder, "stopped"), "--rewind-epoch", 1]
    running = start(*TORCHRUN, *command("train_dense", folder, *arguments, training=training))
    log = read_until(running, "epoch 3 of")
    running.terminate()
    log += running.communicate(timeout=60)[1]
    assert running.returncode != 0
    stops = re.findall(r"stopped as asked after step (\d+) of epoch (\d+)", log)
    assert len(stops) == 2 and stops[0] == stops[1]
    resumed = run("train_dense", folder, *arguments, training=training, processes=2)
    step, epoch = stops[0]
    assert f"continuing after {int(epoch) - 1} epochs and {step} steps" in resumed
    run("train_dense", folder, *dense(folder, "undisturbed"), "--rewind-epoch", 1, training=training)
    first, second = (json.loads((folder / name / "network.json").read_text()) for name in ("stopped", "undisturbed"))
    assert len(first["epochs"]) == len(second["epochs"]) == 20
    early = slice(0, int(epoch))  # the epoch in which they were stopped included
    for row, other in zip(first["epochs"][early], second["epochs"][early], strict=True):
        assert row["train_loss"] == pytest.approx(other["train_loss"], rel=1e-2)
        assert row["train_accuracy"] == pytest.approx(other["train_accuracy"], abs=0.03)


def test_processes_end_with_torchrun_even_if_it_is_killed(folder):
    training = TRAINING | {"micro_batch": 4, "epochs": 1000, "learning_rate": 0.01}
    arguments = command("train_dense", folder, *dense(folder, "orphans"), "--rewind-epoch", 1, training=training)
    torchrun = start(*TORCHRUN, *arguments)
    log = read_until(torchrun, "epoch 3 of")
    torchrun.kill()
    log += torchrun.communicate(timeout=60)[1]  # ends when the processes have closed it too
    # One may find the other gone before it has heard the signal itself.
    told = log.count("stopped as asked") + log.count("another process of this training has ended")
    assert told == 2 or "Connection" in log
    epochs = (folder / "orphans/network.pt.training/state").stat().st_mtime_ns
    time.sleep(0.5)
    assert (folder / "orphans/network.pt.training/state").stat().st_mtime_ns == epochs


def test_an_attempt_waits_for_one_that_was_left_running_and_continues_from_there(folder):
    training = TRAINING | {"epochs": 60, "learning_rate": 0.01}
    arguments = command("train_dense", folder, *dense(folder, "left"), "--rewind-epoch", 1, training=training)
    left = start(*arguments)
    read_until(left, "epoch 3 of")
    attempt = start(*arguments)
    log = read_until(attempt, "waiting for it to end")
    assert attempt.poll() is None, log
    left.kill()
    left.communicate()
    log += attempt.communicate(timeout=120)[1]
    assert attempt.returncode == 0, log
    assert re.search(r"continuing after \d+ epochs", log)
    assert sorted(outputs(folder / "left")) == ["network.json", "network.pt", "rewind.pt"]


LAUNCHED = """
import os, sys
import torch
from workflow_scripts.shared.files import UserError, run_command
from workflow_scripts.train.processes import joined_group, restart_with_torchrun

def main():
    if "RANK" not in os.environ:
        restart_with_torchrun(2)
    with joined_group(0) as group:
        print(f"rank {group.rank} of {group.size}, {group.total(torch.tensor(1 + group.rank))}", flush=True)
        if group.rank == 1 and sys.argv[1] == "fail":
            raise UserError("one process failed")

run_command(main)
"""


@pytest.mark.parametrize("outcome", ["end well", "fail"])
def test_a_script_starts_its_own_processes_and_ends_as_they_do(tmp_path, outcome):
    (tmp_path / "launched.py").write_text(LAUNCHED)
    run = subprocess.run(
        [sys.executable, "-m", "launched", outcome],
        env=os.environ | {"PYTHONPATH": f"{tmp_path}{os.pathsep}{ROOT}", "OMP_NUM_THREADS": "1"},
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert sorted(re.findall(r"rank (\d) of 2, 3", run.stdout)) == ["0", "1"]
    assert run.returncode == (outcome == "fail")
    assert ("error: one process failed" in run.stderr) == (outcome == "fail")
    assert "Traceback" not in run.stderr


def dropping(num_classes: int) -> nn.Module:
    """A constructor of a network with dropout."""
    return nn.Sequential(
        nn.Conv2d(3, 8, 3), nn.BatchNorm2d(8), nn.ReLU(), nn.Dropout2d(0.3),
        nn.AdaptiveAvgPool2d(3), nn.Flatten(), nn.Dropout(), nn.Linear(72, num_classes),
    )  # fmt: skip


DROPPING = {"constructor": f"{__name__}:dropping", "arguments": {}}


def network_and_masks(settings=NETWORK):
    network = build(settings, 4, seed=1)
    return network, full_masks(network, [])


def trained(pictures, kept: TrainingState | None, rewind_momentum: bool = True, settings=NETWORK) -> Trainer:
    network, masks = network_and_masks(settings)
    trainer = Trainer(network, masks, pictures, TRAINING, 1, kept=kept)
    train_dense(trainer, 1, rewind_momentum)
    return trainer


def same_network(first: Trainer, second: Trainer) -> bool:
    states = first.network.state_dict(), second.network.state_dict()
    return all(torch.equal(tensor, states[1][name]) for name, tensor in states[0].items())


class StopAt(TrainingState):
    """Is asked to stop at the n-th step."""

    def __init__(self, folder, recipe, step):
        self.left = step
        super().__init__(folder, recipe)

    @property
    def stop_asked(self):
        self.left -= 1
        return self.left < 0

    @stop_asked.setter
    def stop_asked(self, _): ...


@pytest.fixture(scope="module")
def in_files(packed, tmp_path_factory) -> FilePictures:
    """The same pictures, as PNG files in class folders."""
    folder = tmp_path_factory.mktemp("files")
    for number, (image, label) in enumerate(zip(packed.images, packed.labels, strict=True)):
        (folder / packed.classes[label]).mkdir(exist_ok=True)
        Image.fromarray(image).save(folder / packed.classes[label] / f"{number}.png")
    index_images(folder, folder, folder / "index.h5")
    index = read_image_index(folder / "index.h5")
    return FilePictures(index, folder, 10, 11, [0.5] * 3, [0.25] * 3, torch.device("cpu"), workers=2)


@pytest.mark.parametrize(("source", "momentum"), [("pictures", True), ("pictures", False), ("in_files", True)])
@pytest.mark.parametrize("step", range(6))
def test_stopped_at_any_step_it_continues_bit_for_bit(request, source, momentum, tmp_path, step):
    pictures = request.getfixturevalue(source)
    whole = trained(pictures, None, momentum)
    with pytest.raises(UserError, match="run again to continue"):
        trained(pictures, StopAt(tmp_path, "recipe", step), momentum)
    resumed = trained(pictures, TrainingState(tmp_path, "recipe"), momentum)
    assert same_network(whole, resumed)
    assert whole.history == resumed.history
    for kind in ("model", "momentum"):
        for name, tensor in whole.rewind_point[kind].items():
            assert torch.equal(tensor, resumed.rewind_point[kind][name])


@pytest.mark.parametrize("step", [1, 2, 5])
def test_what_dropout_draws_is_the_same_after_an_interruption(pictures, tmp_path, step):
    whole = trained(pictures, None, settings=DROPPING)
    torch.rand(3)  # whatever was drawn before does not count
    with pytest.raises(UserError, match="run again to continue"):
        trained(pictures, StopAt(tmp_path, "recipe", step), settings=DROPPING)
    resumed = trained(pictures, TrainingState(tmp_path, "recipe"), settings=DROPPING)
    assert same_network(whole, resumed) and whole.history == resumed.history
    without = Trainer(*network_and_masks(DROPPING), pictures, TRAINING, 1)
    for module in without.network.modules():
        if isinstance(module, nn.Dropout | nn.Dropout2d):
            module.p = 0.0
    train_dense(without, 1)
    assert not same_network(whole, without)


def test_a_level_draws_what_the_dense_network_drew(pictures):
    whole = trained(pictures, None, settings=DROPPING)
    level = Trainer(*network_and_masks(DROPPING), pictures, TRAINING, 1)
    level.rewind(whole.rewind_point)
    level.train_to(TRAINING["epochs"])
    assert same_network(whole, level)


def test_each_micro_batch_of_each_step_draws_anew(pictures):
    """As many different masks of dropout as there are micro-batches, however they are shared out."""
    drawn = []

    def ones(_module, inputs):
        return (inputs[0] * 0 + 1,)  # what is 0 behind the module was dropped, whatever the pictures are

    def keep(_module, _inputs, output):
        drawn.append((output == 0).numpy().tobytes())

    def train(replicate, epochs):
        network, masks = network_and_masks(DROPPING)
        network[6].register_forward_pre_hook(ones)
        network[6].register_forward_hook(keep)
        Trainer(network, masks, pictures, TRAINING | {"micro_batch": 4}, replicate).train_to(epochs)

    train(replicate=1, epochs=2)
    assert len(drawn) == len(set(drawn)) == 2 * 2 * 4  # epochs, steps, micro-batches
    train(replicate=2, epochs=1)
    assert len(set(drawn)) == 3 * 2 * 4


def test_damaged_states_are_recognised_and_the_one_before_is_used(pictures, tmp_path, caplog):
    whole = trained(pictures, TrainingState(tmp_path, "recipe"))
    state = (tmp_path / "state").read_bytes()
    assert TrainingState(tmp_path, "recipe").load()["epoch"] == 3
    for position in (0, 40, len(state) // 2, len(state) - 1):
        damaged = bytearray(state)
        damaged[position] ^= 1
        (tmp_path / "state").write_bytes(damaged)
        assert TrainingState(tmp_path, "recipe").load()["epoch"] == 2
        assert "is damaged" in caplog.text
    for length in (0, 10, len(state) // 2):
        (tmp_path / "state").write_bytes(state[:length])
        assert TrainingState(tmp_path, "recipe").load()["epoch"] == 2
    assert same_network(whole, trained(pictures, TrainingState(tmp_path, "recipe")))
    (tmp_path / "state").unlink()  # between the two renames of a save
    (tmp_path / "previous").write_bytes(state)
    assert TrainingState(tmp_path, "recipe").load()["epoch"] == 3
    (tmp_path / "previous").write_bytes(b"")
    assert TrainingState(tmp_path, "recipe").load() is None
    assert same_network(whole, trained(pictures, TrainingState(tmp_path, "recipe")))


def failing(monkeypatch, path: Path, number: int) -> None:
    """Let opening a file fail as if the system had given this errno."""
    opened = io.open

    def refuse(file, *arguments, **options):
        if Path(file) == path:
            raise OSError(number, os.strerror(number), str(file))
        return opened(file, *arguments, **options)

    monkeypatch.setattr(io, "open", refuse)
    monkeypatch.setattr("builtins.open", refuse)


SYSTEM_ERRORS = [errno.EACCES, errno.EMFILE, errno.ESTALE, errno.EIO, errno.ENOMEM]


@pytest.mark.parametrize("number", SYSTEM_ERRORS)
def test_a_state_that_cannot_be_read_stops_the_training_and_stays(pictures, tmp_path, monkeypatch, number):
    trained(pictures, TrainingState(tmp_path, "recipe"))
    before = outputs(tmp_path)
    with monkeypatch.context() as patch:
        failing(patch, tmp_path / "state", number)
        with pytest.raises(UserError, match=rf"state cannot be read \({os.strerror(number)}\)"):
            TrainingState(tmp_path, "recipe").load()
    assert outputs(tmp_path) == before
    assert TrainingState(tmp_path, "recipe").load()["epoch"] == 3


@pytest.fixture
def kept(tmp_path) -> TrainingState:
    """A finished training with two output files."""
    state = TrainingState(tmp_path / "network.pt.training", "recipe")
    with state.outputs(tmp_path / "network.pt", tmp_path / "metrics.json") as parts:
        for part in parts:
            part.write_text(f"contents of {part.name}")
    return state


@pytest.mark.parametrize("number", SYSTEM_ERRORS)
@pytest.mark.parametrize("name", ["record.json", "network.pt", "metrics.json"])
def test_an_unreadable_finished_training_is_not_discarded(kept, tmp_path, monkeypatch, number, name):
    paths = tmp_path / "network.pt", tmp_path / "metrics.json"
    finished = kept.folder / "finished"
    before = outputs(finished)
    with monkeypatch.context() as patch:
        failing(patch, finished / name, number)
        with pytest.raises(UserError, match=rf"finished cannot be read \({os.strerror(number)}\)"):
            kept.was_finished(*paths)
    assert outputs(finished) == before
    assert kept.was_finished(*paths)


@pytest.mark.parametrize(
    "record", ["[]", "7", "{}", '{"files": 3}', '{"recipe": "recipe", "files": {}}', "{", "\udcff"]
)
def test_a_record_of_another_form_counts_as_damaged(kept, tmp_path, caplog, record):
    (kept.folder / "finished" / "record.json").write_text(record, errors="surrogateescape")
    assert not kept.was_finished(tmp_path / "network.pt", tmp_path / "metrics.json")
    assert "is damaged: training anew" in caplog.text
    assert (tmp_path / "network.pt").read_text() == "contents of network.pt"


class Opens:
    """An object that opens a file for writing when it is unpickled."""

    def __init__(self, path: Path):
        self.path = path

    def __reduce__(self):
        """Make unpickling open the file."""
        return open, (str(self.path), "w")


@pytest.mark.parametrize("legacy", [False, True])
@pytest.mark.parametrize("state", ["code", "a list", "a dict without its recipe"])
def test_an_invalid_state_is_ignored_and_never_executed(tmp_path, caplog, legacy, state):
    contents = {"code": Opens(tmp_path / "ran"), "a list": [1], "a dict without its recipe": {"state": {}}}[state]
    buffer = io.BytesIO()
    torch.save(contents, buffer, _use_new_zipfile_serialization=not legacy)
    (tmp_path / "state").write_bytes(hashlib.sha256(buffer.getvalue()).digest() + buffer.getvalue())
    assert TrainingState(tmp_path, "recipe").load() is None
    assert "state is damaged: ignoring it" in caplog.text
    assert not (tmp_path / "ran").exists()


def test_a_state_that_does_not_fit_into_memory_is_not_called_damaged(pictures, tmp_path, monkeypatch):
    trained(pictures, TrainingState(tmp_path, "recipe"))
    words = "[enforce fail at alloc_cpu.cpp:117] DefaultCPUAllocator: can't allocate memory: you tried to allocate 9"

    def refuse(*_, **__):
        raise RuntimeError(words)

    monkeypatch.setattr(torch, "load", refuse)
    with pytest.raises(UserError, match=r"state cannot be read \(Cannot allocate memory\)"):
        TrainingState(tmp_path, "recipe").load()
    with pytest.raises(UserError, match=r"state cannot be read \(Cannot allocate memory\)"):
        load_tensors(tmp_path / "state")


@pytest.mark.parametrize("number", SYSTEM_ERRORS)
def test_an_unreadable_checkpoint_is_not_called_damaged(tmp_path, monkeypatch, number):
    save_tensors(tmp_path / "network.pt", {"model": {}})
    failing(monkeypatch, tmp_path / "network.pt", number)
    with pytest.raises(UserError, match=rf"network\.pt cannot be read \({os.strerror(number)}\): fix that"):
        load_tensors(tmp_path / "network.pt")


def test_training_does_not_continue_from_a_state_of_another_recipe(pictures, tmp_path, caplog):
    trained(pictures, TrainingState(tmp_path, "recipe"))
    assert TrainingState(tmp_path, "another").load() is None
    assert "starting over" in caplog.text


def test_micro_batches_have_their_own_statistics_and_the_gradients_of_all(pictures):
    """One step in two micro-batches against the mean of two losses, each over its own half of the batch."""
    settings = TRAINING | {"micro_batch": 8, "epochs": 2, "warmup_epochs": 0, "weight_decay": 0.0}
    network, masks = network_and_masks()
    trainer = Trainer(network, masks, pictures, settings, 1)
    order = pictures.draw_augmentation(settings, (1,), 0)
    halves = list(pictures.augmented([order.order[:8], order.order[8:16]], order))
    reference, _ = network_and_masks()
    reference.train()
    for number, (images, labels) in enumerate(halves):
        (torch.nn.functional.cross_entropy(reference(images), labels) / 2).backward()
        if number == 0:
            statistics = {name: tensor.clone() for name, tensor in reference.named_buffers() if "running" in name}
    trainer.network.train()
    for number, (images, labels) in enumerate(halves):
        trainer.add_gradients(images, labels, number, last=number == 1)
    for one, other in zip(network.parameters(), reference.parameters(), strict=True):
        torch.testing.assert_close(one.grad, other.grad)
    buffers = dict(network.named_buffers())
    for name, tensor in statistics.items():
        torch.testing.assert_close(buffers[name], tensor)
    assert all(module.momentum == 0.1 for module in trainer.norms)


def test_a_training_ends_well_when_its_terminal_has_gone(folder):
    main, end = pty.openpty()
    arguments = command("train_dense", folder, *dense(folder, "gone"), "--rewind-epoch", 1, training=TRAINING)
    running = start(*arguments, stdout=end, preexec_fn=lambda: hold_up(signal.SIGHUP))
    os.close(end)
    log = read_until(running, "epoch 1 of")
    os.close(main)
    log += running.communicate(timeout=120)[1]
    assert running.returncode == 0, log
