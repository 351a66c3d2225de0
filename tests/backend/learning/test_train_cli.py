"""headstitch train: from the command line to checkpoints, and what it says when something is missing."""

import json

import pytest
import torch
from headstitch.backend import cli
from headstitch.backend.errors import ModelError, OptionError, TrainingError
from headstitch.backend.learning.checkpoint import checkpoints, read_checkpoint
from headstitch.backend.learning.config import SHIPPED, load_config
from headstitch.backend.learning.identity import FaceNet
from headstitch.backend.models.bundle import load_bundle
from safetensors.torch import load_file

from .conftest import write_photos
from .test_judges import alex_state, heads_state


@pytest.fixture
def train(tiny_bundle, photo_folder, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)

    def train(*arguments, which="visible", folder=photo_folder):
        return cli.main(
            ["train", which, str(folder), "--model", str(tiny_bundle.folder), "--device", "cpu", *arguments]
        )

    return train


def test_both_encoders_train_from_the_command_line(train, tmp_path, capsys):
    assert train("--config", "tiny", "--steps", "1") == 0
    assert train("--config", "tiny", "--steps", "2") == 0
    told = capsys.readouterr().out.splitlines()
    assert told[-2].startswith(f"All steps are done; step 2 is in {tmp_path / 'training' / 'visible' / 'checkpoints'}")
    assert any(line == "Going on from step 1 (step-00000001.safetensors)." for line in told)
    assert train("--config", "tiny", "--steps", "3", "--out", "two", which="occluded") == 0
    header = read_checkpoint(checkpoints(tmp_path / "two")[-1])
    assert (header.step, header.config["training"]) == (3, "occluded")
    assert header.config["face_net"] is None


def test_two_trained_encoders_become_a_model(train, tiny_bundle, tmp_path, monkeypatch, capsys):
    monkeypatch.setenv("HEADSTITCH_MODELS", str(tmp_path / "models"))
    for which in ("visible", "occluded"):
        assert train("--config", "tiny", "--steps", "1", which=which) == 0
    runs = ("--visible", "training/visible", "--occluded", "training/occluded")
    assert cli.main(["train", "export", *runs, "--model", str(tiny_bundle.folder), "--name", "mine"]) == 0
    assert capsys.readouterr().out.splitlines()[-1] == f"The model mine is in {tmp_path / 'models' / 'mine'}"
    made = load_bundle("mine")
    made.verify()
    kept = load_file(checkpoints(tmp_path / "training" / "occluded")[-1])
    state = made.encoder("occluded").state_dict()
    assert all(torch.equal(value, kept[f"network/encoder/{name}"]) for name, value in state.items())
    assert [source.name for source in made.sources] == [
        f"{which}/step-00000001.safetensors" for which in ("visible", "occluded")
    ]
    swapped = ("--visible", "training/occluded", "--occluded", "training/visible")
    assert cli.main(["train", "export", *swapped, "--model", "mine", "--name", "other"]) == ModelError.exit_code
    assert "is of the training occluded, not visible" in capsys.readouterr().err
    assert cli.main(["train", "export", *runs, "--model", "mine", "--name", "other"]) == ModelError.exit_code
    assert "was trained with another model than mine" in capsys.readouterr().err
    empty = ("--visible", str(tmp_path), "--occluded", "training/occluded")
    assert cli.main(["train", "export", *empty, "--model", "mine", "--name", "other"]) == ModelError.exit_code
    assert "holds no checkpoint" in capsys.readouterr().err


def test_networks_out_of_files_are_taken_and_recorded(train, tmp_path):
    torch.save(alex_state() | heads_state(), "alex.pth")
    torch.manual_seed(0)
    torch.save(FaceNet((8, 16, 24, 32), (1, 1, 1, 1), 6, 7).state_dict(), "faces.pth")
    (tmp_path / "own.json").write_text(
        json.dumps(
            json.loads((SHIPPED / "tiny.json").read_text()) | {"perceptual": "lpips", "losses": {}, "image_size": 64}
        )
    )
    files = ("--lpips", "alex.pth", "--identity", "faces.pth")
    assert train("--config", "own.json", "--steps", "1", *files) == 0
    config = read_checkpoint(checkpoints(tmp_path / "training" / "visible")[-1]).config
    assert len(config["lpips"]) == 1
    assert len(config["lpips"][0]) == len(config["face_net"]) == 64
    logged = json.loads((tmp_path / "training" / "visible" / "log.jsonl").read_text())
    assert {"w_plus/l2", "w_plus/perceptual", "w_plus/identity"} <= set(logged)


def test_the_papers_configuration_asks_for_its_files(train, capsys):
    assert train() == OptionError.exit_code
    assert "compares pictures with LPIPS; give --lpips and the files of AlexNet" in capsys.readouterr().err
    assert train("--lpips", "alex.pth") == OptionError.exit_code
    assert "compares faces; give --identity and the file of IR-SE50, or --own-losses" in capsys.readouterr().err


def test_the_papers_configuration_does_not_fit_a_tiny_model(train, capsys):
    assert train("--own-losses", "--steps", "1") == ModelError.exit_code
    assert "The configuration does not go with the model's generator (plane_size is 32" in capsys.readouterr().err


def test_another_configuration_on_resuming_is_refused(train, capsys):
    assert train("--config", "tiny", "--steps", "1") == 0
    assert train("--config", "tiny", "--steps", "2", "--seed", "1") == TrainingError.exit_code
    assert "another configuration (schedule.seed is 1 and was 0)" in capsys.readouterr().err
    assert train("--config", "tiny", "--steps", "1", which="occluded") == 0
    assert train("--config", "tiny", "--steps", "2", "--out", "training/visible", which="occluded") == (
        TrainingError.exit_code
    )
    assert 'training is "occluded" and was "visible"' in capsys.readouterr().err


def test_photos_without_labels_are_told_of(train, tmp_path, capsys):
    folder = write_photos(tmp_path / "photos", 11)
    labels = json.loads((folder / "dataset.json").read_text())["labels"]
    (folder / "dataset.json").write_text(json.dumps({"labels": labels[:10]}))
    assert train("--config", "tiny", "--steps", "1", folder=folder) == 0
    assert "1 photos have no label and are left out, the first: " in capsys.readouterr().out


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (("--config", "nothing"), "There is no configuration nothing; give paper, tiny, or the path"),
        (("--config", "tiny", "--steps", "0"), "--steps is 0"),
        (("--config", "tiny", "--minutes", "-1"), "minutes is -1.0"),
        (("--config", "tiny", "--clip", "0"), "clip is 0.0"),
        (("--config", "tiny", "--keep", "0"), "keep is 0"),
    ],
)
def test_what_cannot_be_is_a_sentence(train, capsys, arguments, sentence):
    assert train(*arguments) == OptionError.exit_code
    assert sentence in capsys.readouterr().err


@pytest.mark.parametrize(
    ("content", "sentence"),
    [
        ("{", "cannot be used (Expecting"),
        ("[]", "the file holds no settings by name"),
        ('{"step": 3}', "there is no setting step"),
        ('{"losses": {"l1": 3}}', "there is no setting losses.l1"),
        ('{"losses": 3}', "losses holds no settings"),
        ('{"batch": 0}', "batch is 0"),
        ('{"batch": "3"}', "batch is 3; it must be a whole number"),
        ('{"synthetic": 2}', "synthetic is 2"),
        ('{"mask": "cells"}', "mask is 'cells'; it must be slices or planes"),
        ('{"w_alone": 10, "w_until": 3}', "no stage would learn"),
        ('{"learning_rate": null}', "cannot be used"),
        ('{"widths": 3}', "cannot be used"),
    ],
)
def test_a_configuration_that_cannot_be_is_a_sentence(tmp_path, content, sentence):
    path = tmp_path / "mine.json"
    path.write_text(content)
    with pytest.raises(OptionError) as caught:
        load_config(str(path))
    assert sentence in str(caught.value)


def test_the_shipped_configurations_leave_nothing_to_defaults_or_say_what_differs():
    paper = json.loads((SHIPPED / "paper.json").read_text())
    assert load_config("paper").to_dict() == paper
    assert load_config("tiny").losses.l2 == 1.0
