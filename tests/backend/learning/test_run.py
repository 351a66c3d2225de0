"""The loop: exact resuming, what is kept, and every way in which a run ends."""

import json
import os
import signal
import socket
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch
from headstitch.backend import stop
from headstitch.backend.errors import ModelError, OptionError, ResultsError, TrainingError
from headstitch.backend.learning import checkpoint as files
from headstitch.backend.learning import journal
from headstitch.backend.learning.checkpoint import checkpoints, load_network, read_checkpoint
from headstitch.backend.learning.journal import read_log
from headstitch.backend.learning.run import Schedule, run
from headstitch.backend.learning.task import Turn
from headstitch.backend.learning.workers import Workers
from safetensors.torch import load_file

from .toys import DATA, SCHEDULE, Toy

TOYS = Path(__file__).with_name("toys.py")
CONFIG = {"toy": 1}


def train(folder, toy=None, config=CONFIG, **changes):
    toy = toy or Toy()
    return run(toy, config, folder, replace(SCHEDULE, **changes))


def start(folder, environment=None, **how):
    return subprocess.Popen(
        [sys.executable, str(TOYS), str(folder), json.dumps(how)],
        env={**os.environ, **(environment or {})},
        stderr=subprocess.PIPE,
        text=True,
    )


@pytest.fixture(scope="module", autouse=True)
def _one_thread():
    """As the processes of their own have: sums over two threads round otherwise."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.fixture(scope="module")
def straight(tmp_path_factory):
    """Twelve steps in one go."""
    folder = tmp_path_factory.mktemp("straight")
    train(folder)
    return folder


def test_a_killed_run_goes_on_to_the_same_bits(straight, tmp_path):
    died = start(tmp_path, die_at=8)
    died.communicate(timeout=120)
    assert died.returncode == -signal.SIGKILL
    assert checkpoints(tmp_path)[-1].name == "step-00000006.safetensors"
    toy = Toy()
    outcome = train(tmp_path, toy)
    assert (outcome.step, outcome.why, toy.count) == (12, "done", 12)
    for name in ("step-00000009.safetensors", "step-00000012.safetensors"):
        assert (tmp_path / "checkpoints" / name).read_bytes() == (straight / "checkpoints" / name).read_bytes()
    figures = [{k: v for k, v in line.items() if "second" not in k} for line in read_log(tmp_path)]
    assert figures == [{k: v for k, v in line.items() if "second" not in k} for line in read_log(straight)]


def test_any_number_of_stops_changes_no_bit(straight, tmp_path):
    for steps in (1, 2, 5, 12):
        train(tmp_path, steps=steps)
    last = checkpoints(tmp_path)[-1]
    assert last.read_bytes() == (straight / "checkpoints" / last.name).read_bytes()


def test_other_seeds_give_other_weights(straight, tmp_path):
    train(tmp_path, seed=5)
    mine, other = (load_file(checkpoints(folder)[-1]) for folder in (tmp_path, straight))
    assert not torch.equal(mine["network/net/0.weight"], other["network/net/0.weight"])


def test_the_last_few_and_the_best_are_kept(tmp_path):
    class Getting(Toy):
        def score(self):
            return [5.0, 1.0, 3.0, 2.0, 1.0, 4.0][self.count // 2 - 1]

    outcome = train(tmp_path, Getting(), checkpoint_every=2, keep=2)
    assert [path.name[5:13] for path in checkpoints(tmp_path)] == ["00000004", "00000010", "00000012"]
    assert outcome.best == tmp_path.resolve() / "checkpoints" / "step-00000004.safetensors"
    assert read_checkpoint(outcome.best).score == 1.0


def test_the_log_tells_of_every_loss_and_the_sheets_are_pictures(straight):
    lines = read_log(straight)
    assert [line["step"] for line in lines] == [2, 4, 6, 8, 10, 12]
    names = {"step", "seconds", "fit", "size", "gradient/ranger", "other", "gradient/adam", "count", "steps_per_second"}
    assert all(set(line) == names for line in lines)
    sheets = sorted((straight / "sheets").iterdir())
    assert [path.name for path in sheets] == ["00000005.png", "00000010.png", "00000012.png"]
    assert (cv2.imread(str(sheets[0])) == 100).all()
    assert json.loads((straight / "config.json").read_text())["schedule"]["seed"] == 4


def test_lines_of_lost_steps_leave_the_log(tmp_path):
    train(tmp_path, steps=6)
    with (tmp_path / "log.jsonl").open("a") as file:
        file.write('{"step": 8, "fit": 1}\n{"step": 10, "fi')
    train(tmp_path)
    assert [line["step"] for line in read_log(tmp_path)] == [2, 4, 6, 8, 10, 12]


def test_another_configuration_is_refused_by_the_names_of_its_keys(tmp_path):
    train(tmp_path, config={"a": {"b": 1, "c": [1, 2]}, "d": 1}, steps=1)
    with pytest.raises(
        TrainingError, match=r"a\.c is \[1, 3\] and was \[1, 2\]; d is missing and was 1; schedule\.seed"
    ):
        train(tmp_path, config={"a": {"b": 1, "c": (1, 3)}}, steps=2, seed=9)
    with pytest.raises(TrainingError, match=r"a\.b is true and was 1"):
        train(tmp_path, config={"a": {"b": True, "c": [1, 2]}, "d": 1})
    assert [path.name[5:13] for path in checkpoints(tmp_path)] == ["00000001"]


def test_how_long_and_how_often_may_change(tmp_path):
    train(tmp_path, steps=3)
    assert train(tmp_path, steps=5, checkpoint_every=2, keep=9, log_every=1, sheet_every=0).step == 5


def test_a_score_that_is_no_number_is_not_kept(tmp_path):
    class Lost(Toy):
        def score(self):
            return float("inf") if self.count > 4 else 1.0

    with pytest.raises(TrainingError, match="Step 6: the score is inf, no finite number"):
        train(tmp_path, Lost())
    assert [path.name[5:13] for path in checkpoints(tmp_path)] == ["00000003"]


def test_a_figure_of_the_task_that_is_no_number_is_null_in_the_log(tmp_path):
    class Odd(Toy):
        def step(self, turn):
            return {**super().step(turn), "odd": float("nan")}

    train(tmp_path, Odd(), steps=2)
    assert read_log(tmp_path)[0]["odd"] is None


def test_what_a_kill_in_the_middle_of_a_checkpoint_leaves_is_cleared_away(tmp_path):
    train(tmp_path, steps=2)
    leftover = tmp_path / "checkpoints" / ".step-00000003.safetensors.partial-0123abcd"
    leftover.write_bytes(b"half")
    (tmp_path / "checkpoints" / "notes.txt").write_text("a person's own")
    assert train(tmp_path, steps=3).step == 3
    assert not leftover.exists()
    assert (tmp_path / "checkpoints" / "notes.txt").exists()


def test_two_runs_in_one_folder_are_refused(tmp_path):
    class Second(Toy):
        def step(self, turn):
            with pytest.raises(ResultsError, match="Another process is writing to"):
                train(tmp_path)
            return super().step(turn)

    assert train(tmp_path, Second(), steps=1).step == 1


def test_a_folder_that_cannot_be_made_is_a_sentence(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(ResultsError, match="file/run cannot be written"):
        train(tmp_path / "file" / "run")


def test_tensorboard_gets_every_figure_and_sheet_where_it_is_installed(tmp_path, monkeypatch):
    given = []

    class Writer:
        def __init__(self, folder, purge_step):
            given.append(("open", folder, purge_step))

        def add_scalar(self, name, value, step):
            given.append((name, step))

        def add_image(self, name, picture, step, dataformats):
            given.append((name, step, picture.shape, dataformats))

        def close(self):
            given.append("close")

    monkeypatch.setattr(journal.importlib.util, "find_spec", lambda name: name)
    monkeypatch.setitem(sys.modules, "torch.utils.tensorboard", type("Module", (), {"SummaryWriter": Writer}))
    train(tmp_path, steps=5)
    assert given[0] == ("open", str(tmp_path.resolve() / "tensorboard"), 1)
    assert {("fit", 2), ("fit", 4), ("fit", 5), ("gradient/ranger", 5)} <= set(given)
    assert ("sheet", 5, (4, 6, 3), "HWC") in given
    assert given[-1] == "close"


def test_a_loss_that_is_no_number_ends_the_run_and_changes_nothing(tmp_path):
    with pytest.raises(TrainingError, match=r"Step 8: fit is nan, no finite number; the last checkpoint is kept"):
        train(tmp_path, Toy(spoil=7))
    assert checkpoints(tmp_path)[-1].name == "step-00000006.safetensors"


def test_a_gradient_that_is_no_number_ends_the_run_before_a_weight_changes():
    weight = torch.nn.Parameter(torch.zeros(1))
    turn = Turn(4, 0, torch.device("cpu"), optimizers={"one": torch.optim.SGD([weight], 1.0)})
    with pytest.raises(TrainingError, match="Step 5: gradient/one is inf"):
        turn.minimize("one", {"root": weight.sqrt().sum()})
    assert weight.item() == 0


def test_gradients_are_clipped_and_none_is_carried_over():
    weight = torch.nn.Parameter(torch.zeros(2))
    turn = Turn(0, 0, torch.device("cpu"), clip=1.0, optimizers={"one": torch.optim.SGD([weight], 1.0)})
    for _ in range(2):
        turn.minimize("one", {"far": (weight * torch.tensor([30.0, 40.0])).sum()}, {"far": 2.0})
    torch.testing.assert_close(weight.detach(), torch.tensor([-1.2, -1.6]))
    assert turn.figures["gradient/one"] == pytest.approx(100)


def test_the_time_budget_ends_with_a_checkpoint(tmp_path):
    outcome = train(tmp_path, minutes=1e-9)
    assert (outcome.step, outcome.why) == (1, "minutes")
    assert read_checkpoint(outcome.checkpoint).step == 1


def test_ctrl_c_ends_after_the_step_with_a_checkpoint(straight, tmp_path):
    class Interrupted(Toy):
        def step(self, turn):
            if turn.number == 4:
                os.kill(os.getpid(), signal.SIGINT)
            return super().step(turn)

    said = []
    with pytest.raises(KeyboardInterrupt), stop.polite_stop():
        run(Interrupted(), CONFIG, tmp_path, SCHEDULE, tell=said.append)
    assert read_checkpoint(checkpoints(tmp_path)[-1]).step == 5
    assert said[-1] == "Stopped after step 5; the same command goes on from there."
    train(tmp_path)
    last = checkpoints(tmp_path)[-1]
    assert last.read_bytes() == (straight / "checkpoints" / last.name).read_bytes()


def test_a_listener_hears_of_steps_and_may_stop(tmp_path):
    heard = []

    def listen(progress):
        heard.append(progress)
        if len(heard) == 2:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        run(Toy(), CONFIG, tmp_path, SCHEDULE, progress=listen)
    assert heard[1].stage.startswith("training, step 2 of 12, ")
    assert heard[1].fraction == pytest.approx(2 / 12)
    assert read_checkpoint(checkpoints(tmp_path)[-1]).step == 2


@pytest.mark.parametrize("number", [28, 122])
def test_a_full_disk_is_a_sentence_and_the_last_checkpoint_stays(tmp_path, monkeypatch, number):
    train(tmp_path, steps=3)
    before = checkpoints(tmp_path)[-1].read_bytes()

    def full(tensors, path, metadata):
        Path(path).write_bytes(b"half")
        raise OSError(number, os.strerror(number))

    with monkeypatch.context() as patch:
        patch.setattr(files, "save_file", full)
        with pytest.raises(ResultsError, match=r"The disk is full, so the checkpoint .* was not written"):
            train(tmp_path)
    assert [path.name for path in (tmp_path / "checkpoints").iterdir()] == ["step-00000003.safetensors"]
    assert checkpoints(tmp_path)[-1].read_bytes() == before
    assert train(tmp_path).step == 12


def test_too_little_room_is_seen_before_writing(tmp_path, monkeypatch):
    monkeypatch.setattr(files.shutil, "disk_usage", lambda path: type("Usage", (), {"free": 1000}))
    with pytest.raises(ResultsError, match="takes 1 MB and only 0 MB are free"):
        train(tmp_path)


def test_what_the_system_says_of_a_limit_reaches_the_person(tmp_path):
    """A limit on the size of files, met in the middle of writing, in the words of safetensors."""
    resource = pytest.importorskip("resource")
    train(tmp_path, steps=3)
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (2000, hard))
    try:
        with pytest.raises(ResultsError, match=r"checkpoint .* cannot be written \(.*os error 27"):
            train(tmp_path)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    assert [path.name for path in (tmp_path / "checkpoints").iterdir()] == ["step-00000003.safetensors"]


def test_a_damaged_checkpoint_is_named(tmp_path):
    train(tmp_path, steps=6)
    last = checkpoints(tmp_path)[-1]
    last.write_bytes(last.read_bytes()[:-9])
    with pytest.raises(ModelError, match=r"step-00000006\.safetensors is damaged; remove it, and the run goes on"):
        train(tmp_path)
    last.unlink()
    assert train(tmp_path).step == 12


def test_one_network_of_a_checkpoint_is_loaded_alone(straight):
    toy = Toy()
    before = toy.other.weight.clone()
    assert load_network(checkpoints(straight)[-1], "average", toy.net).step == 12
    assert torch.equal(toy.other.weight, before)
    assert torch.equal(toy.net[0].weight, load_file(checkpoints(straight)[-1])["network/average/0.weight"])
    with pytest.raises(ModelError, match="holds no network nobody"):
        load_network(checkpoints(straight)[-1], "nobody", toy.net)
    with pytest.raises(ModelError, match=r"not those of this training \(0\.bias"):
        load_network(checkpoints(straight)[-1], "average", toy.other)


@pytest.mark.parametrize(
    ("values", "sentence"),
    [({"steps": 0}, "steps is 0"), ({"clip": -1.0}, "clip is -1.0"), ({"seed": -1}, "cannot be negative")],
)
def test_a_schedule_that_cannot_be_is_refused(values, sentence):
    with pytest.raises(OptionError, match=sentence):
        Schedule(**values)


def test_two_processes_learn_what_one_learns_with_the_whole_batch(tmp_path):
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = str(free.getsockname()[1])
    world = {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": port, "WORLD_SIZE": "2"}
    both = [start(tmp_path / "two", {**world, "RANK": rank, "LOCAL_RANK": rank}, norm=False) for rank in "01"]
    for process in both:
        _, said = process.communicate(timeout=120)
        assert process.returncode == 0, said
    run(Toy(norm=False), CONFIG, tmp_path / "one", SCHEDULE)
    two, one = (load_file(checkpoints(tmp_path / which)[-1]) for which in ("two", "one"))
    assert two.keys() == one.keys()
    for name in one:
        torch.testing.assert_close(two[name], one[name], rtol=1e-4, atol=1e-6)
    losses = [[line["fit"] for line in read_log(tmp_path / which)] for which in ("two", "one")]
    np.testing.assert_allclose(*losses, rtol=1e-4)


def test_a_batch_that_cannot_be_split_is_refused():
    turn = Turn(0, 0, torch.device("cpu"), workers=Workers(0, 2))
    with pytest.raises(TrainingError, match="A batch of 3 cannot be split among 2 processes"):
        turn.share(3)
    assert list(turn.share(len(DATA))) == [0, 1, 2, 3, 4]
