"""The import as a whole: official files in, a bundle out, or one sentence and nothing."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import textwrap
from dataclasses import replace

import numpy as np
import pytest
import torch
from headstitch.backend.errors import ModelError
from headstitch.backend.models import disk
from headstitch.backend.models.bundle import load_bundle
from headstitch.backend.models.importer import LICENCE, Files
from safetensors.numpy import save_file


def test_official_files_become_a_bundle(
    shelf, generator_arrays, visible_arrays, occluded_arrays, tiny_encoder, seeding
):
    bundle = shelf.import_()
    assert bundle.folder == shelf.models / "tiny"
    assert bundle.config == seeding.TINY
    for name, value in bundle.generator().state_dict().items():
        np.testing.assert_array_equal(value, generator_arrays[name], err_msg=name)
    for which, arrays in (("visible", visible_arrays), ("occluded", occluded_arrays)):
        encoder = bundle.encoder(which)
        assert encoder.config == tiny_encoder
        for name, value in encoder.state_dict().items():
            expected = np.tile(np.load(shelf.files.latent_avg), (10, 1)) if name == "latent_avg" else arrays[name]
            np.testing.assert_array_equal(value, expected, err_msg=name)
    assert [source.name for source in bundle.sources] == ["G.pkl", "visible.pt", "occluded.pt", "latent_avg.npy"]
    assert [source.sha256 for source in bundle.sources] == [disk.sha256_of(path) for path in shelf.files.all()]
    bundle.verify()


def test_the_person_is_told_what_was_read_and_of_the_licence(shelf):
    bundle = shelf.import_()
    files = shelf.files
    assert shelf.told == [
        f"{files.generator}: PanoHead, 239 tensors, tri-grid 3 x 96 x 64 x 64, 64 rays a side, 128 pixels",
        f"visible encoder: W+ stage from {files.visible[0]}, under state_dict.psp_encoder",
        f"visible encoder: F stage from {files.visible[0]}, under state_dict.triplanenet_encoder",
        "visible encoder: 64 pixels, 10 rows of w+, planes of 288 channels, variant upsample, 8 channels in the head",
        f"occluded encoder: W+ stage from {files.occluded[0]}, under state_dict.psp_encoder",
        f"occluded encoder: F stage from {files.occluded[0]}, under state_dict.triplanenet_encoder",
        "occluded encoder: 64 pixels, 10 rows of w+, planes of 288 channels, variant upsample, 8 channels in the head",
        f"Licence: {LICENCE}",
    ]
    assert "non-commercial" in bundle.licence
    assert "CC BY-NC" in bundle.licence
    assert "NVIDIA" in bundle.licence


def test_settings_that_nobody_knows_are_a_warning(shelf, o, official, generator_arrays):
    file = official.PanoHeadFile(o, official.params(), generator_arrays)
    file.rendering["cull"] = 0.5
    shelf.files.generator.write_bytes(file.write())
    shelf.import_()
    assert shelf.told[1] == (
        f"Warning: nothing here knows the settings cull of {shelf.files.generator}; "
        "if they change what the model makes, its heads come out wrong."
    )


def test_a_licence_of_ones_own_is_kept(shelf):
    assert shelf.import_(licence="Ours, CC0.").licence == "Ours, CC0."


def test_the_pixel_shuffle_variant_and_safetensors(shelf, arrays_of, under, tiny_encoder):
    config = replace(tiny_encoder, variant="pixelshuffle")
    path = shelf.folder / "P.safetensors"
    save_file(under(arrays_of(config), "encoder.", "f_encoder."), path)
    bundle = shelf.import_(occluded=[path])
    assert bundle.encoders["visible"].variant == "upsample"
    assert bundle.encoders["occluded"] == config
    bundle.encoder("occluded").trigrid(torch.zeros(1, 9, 64, 64), torch.zeros(1, 288, 64, 64))


def test_both_networks_of_an_imported_model_work(shelf):
    bundle = shelf.import_(half=True)
    image = torch.zeros(1, 3, 512, 512)
    with torch.inference_mode():
        w_plus = bundle.encoder("visible").encode_w(image)
        trigrid = bundle.generator().trigrid(w_plus)
        assert trigrid.shape == (1, 3, 96, 64, 64)
        refined = bundle.encoder("occluded").refine(trigrid, image, image, image)
    assert torch.isfinite(refined).all()


# --- the mean w+ -----------------------------------------------------------------------------------------------------


def mean_of(bundle, which):
    return bundle.encoder(which).latent_avg.numpy()


def test_the_mean_is_searched_in_the_files_and_at_last_in_the_generator(
    shelf, checkpoint, visible_arrays, under, generator_arrays
):
    bundle = shelf.import_(latent_avg=None)
    warnings = [line for line in shelf.told if line.startswith("Warning")]
    assert len(warnings) == 2
    assert "no mean w+ for the visible encoder, so the generator's own is taken" in warnings[0]
    for which in ("visible", "occluded"):
        np.testing.assert_array_equal(
            mean_of(bundle, which), np.tile(generator_arrays["backbone.mapping.w_avg"], (10, 1))
        )
    mean = np.arange(5120, dtype=np.float32).reshape(10, 512)
    with_mean = checkpoint(
        "M.pt",
        under(visible_arrays, "a.", "b."),
        around=lambda tensors, file: {"state_dict": tensors, "latent_avg": file.tensor(mean)},
    )
    shelf.told.clear()
    bundle = shelf.import_("second", latent_avg=None, visible=[with_mean])
    assert not [line for line in shelf.told if line.startswith("Warning")]
    np.testing.assert_array_equal(mean_of(bundle, "visible"), mean)
    np.testing.assert_array_equal(mean_of(bundle, "occluded"), mean)  # of the other encoder's file
    bundle = shelf.import_("third", visible=[with_mean])  # what is given wins
    np.testing.assert_array_equal(mean_of(bundle, "visible")[3], np.load(shelf.files.latent_avg))


def test_one_file_for_both_encoders_is_taken_with_a_warning(shelf):
    shelf.import_(occluded=shelf.files.visible)
    assert shelf.told[-2].startswith("Warning: both encoders are the same file")


# --- what fails ------------------------------------------------------------------------------------------------------


def test_weights_that_are_no_numbers_are_refused_by_name(
    shelf, o, official, generator_arrays, checkpoint, under, visible_arrays
):
    for value in (np.nan, np.inf):
        arrays = {**generator_arrays, "torgb.weight": generator_arrays["torgb.weight"].copy()}
        arrays["torgb.weight"][1, 2] = value
        path = shelf.folder / "nan.pkl"
        path.write_bytes(official.PanoHeadFile(o, official.params(), arrays).write())
        with pytest.raises(ModelError, match=r"The generator holds numbers that are none .* in torgb\.weight; take"):
            shelf.import_(generator=path)
    spoiled = {**visible_arrays, "w_plus.latlayer1.bias": np.full(32, np.nan, np.float32)}
    path = checkpoint("nan.pt", under(spoiled, "a.", "b."))
    with pytest.raises(ModelError, match=r"The occluded encoder holds numbers .* in w_plus\.latlayer1\.bias; take"):
        shelf.import_(occluded=[path])
    assert not shelf.models.exists()


def test_a_part_of_an_archive_that_is_damaged_is_noticed(shelf, visible_arrays):
    path = shelf.files.visible[0]
    numbers = visible_arrays["w_plus.latlayer1.weight"].tobytes()
    data = path.read_bytes()
    assert data.count(numbers) == 1
    path.write_bytes(data.replace(numbers, numbers[::-1]))
    with pytest.raises(
        ModelError, match=r"visible\.pt is damaged \(the check sum of a part differs\); take the file from"
    ):
        shelf.import_()
    assert not shelf.models.exists()


@pytest.mark.parametrize("part", ["generator", "visible", "occluded", "latent_avg"])
def test_a_file_that_is_not_there_is_one_sentence(part, shelf):
    gone = shelf.folder / "gone.pt"
    with pytest.raises(ModelError, match=r"gone\.pt is not there; check the path"):
        shelf.import_(**{part: gone if part in ("generator", "latent_avg") else [gone]})
    assert not shelf.models.exists()


def test_files_in_each_others_place_are_refused(shelf):
    with pytest.raises(ModelError, match=r"visible\.pt is no pickle of PanoHead, which --generator takes; take"):
        shelf.import_(generator=shelf.files.visible[0])
    with pytest.raises(ModelError, match=r"G\.pkl is neither a file of torch\.save nor safetensors; take"):
        shelf.import_(visible=[shelf.files.generator])


def test_a_name_that_is_taken_or_cannot_be_is_refused_before_anything_is_read(shelf):
    nothing = replace(shelf.files, generator=shelf.folder / "gone.pkl")
    for name in ("", "a/b", "..", ".hidden", "name.", "x" * 65, "template", "Starter"):
        with pytest.raises(ModelError, match=r"cannot be named|is taken by what comes with Headstitch"):
            shelf.import_(name, generator=nothing.generator)
    bundle = shelf.import_()
    before = (bundle.folder / "model.json").read_bytes()
    with pytest.raises(ModelError, match="There is already a model tiny"):
        shelf.import_(generator=nothing.generator)
    with pytest.raises(ModelError, match=r"gone\.pkl is not there"):
        shelf.import_(generator=nothing.generator, replace=True)
    assert (bundle.folder / "model.json").read_bytes() == before
    shelf.import_(replace=True, licence="new")
    assert load_bundle("tiny").licence == "new"
    assert sorted(path.name for path in shelf.models.iterdir()) == ["tiny"]


@pytest.mark.skipif(os.name == "nt", reason="needs SIGKILL")
@pytest.mark.parametrize("replaces", [False, True])
def test_a_kill_in_the_middle_leaves_nothing_half_imported(replaces, shelf):
    if replaces:
        shelf.import_(licence="older")
    files = shelf.files
    code = f"""
        import os, signal
        from pathlib import Path
        from headstitch.backend.models import bundle
        from headstitch.backend.models.importer import Files, import_model
        real, count = bundle.write_tensors, []
        def write(path, *arguments):
            count.append(path)
            if len(count) == 3:
                Path(path).write_bytes(b"half of it")
                os.kill(os.getpid(), signal.SIGKILL)
            real(path, *arguments)
        bundle.write_tensors = write
        files = Files(*({str(files.generator)!r}, [{str(files.visible[0])!r}], [{str(files.occluded[0])!r}]))
        files = Files(Path(files.generator), [Path(files.visible[0])], [Path(files.occluded[0])])
        import_model(files, "tiny", replace=True)
    """
    done = subprocess.run([sys.executable, "-c", textwrap.dedent(code)], capture_output=True, text=True, check=False)
    assert done.returncode == -signal.SIGKILL, done.stderr
    left = [path.name for path in shelf.models.iterdir()]
    assert len([name for name in left if name.startswith(".tiny.partial-")]) == 1
    if replaces:
        assert load_bundle("tiny").licence == "older"
        load_bundle("tiny").verify()
    else:
        with pytest.raises(ModelError, match="There is no model"):
            load_bundle("tiny")
    for path in shelf.models.rglob("*"):
        os.utime(path, (0, 0))
    for partial in shelf.models.glob(".tiny.partial-*"):
        os.utime(partial, (0, 0))
    assert shelf.import_(replace=True, licence="newer").licence == "newer"
    assert [path.name for path in shelf.models.iterdir()] == ["tiny"]


def test_the_record_names_no_place_on_this_machine(shelf):
    record = json.dumps(json.loads((shelf.import_().folder / "model.json").read_text()))
    assert str(shelf.folder) not in record


def test_every_file_is_hashed_once(shelf):
    files = Files(shelf.files.generator, shelf.files.visible, shelf.files.visible)
    assert files.all() == [shelf.files.generator, *shelf.files.visible]
