"""Bundles: written whole or not at all, loaded by name or path, and what a damaged one says."""

from __future__ import annotations

import errno
import hashlib
import json
import os
import shutil
import subprocess
import sys
import tempfile
import time
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from headstitch.backend.disk import STALE
from headstitch.backend.errors import ModelError
from headstitch.backend.models import bundle as module
from headstitch.backend.models import disk, shelf
from headstitch.backend.models.bundle import Bundle, Source, load_bundle, write_bundle
from headstitch.backend.models.safefile import write_tensors
from headstitch.backend.networks.config import OFFICIAL
from headstitch.backend.networks.encoder import Encoder
from safetensors.torch import load_file, save_file


@pytest.fixture(scope="session")
def parts(seeding, tiny_encoder, visible_arrays, occluded_arrays) -> dict:
    """The arguments of a tiny model."""

    def tensors(arrays):
        found = {name: torch.from_numpy(np.asarray(array)) for name, array in arrays.items()}
        return found | {"latent_avg": torch.linspace(-1, 1, 10 * 512).view(10, 512)}

    return {
        "name": "tiny",
        "generator": seeding.generator_state(seeding.TINY),
        "config": seeding.TINY,
        "encoders": {
            "visible": (tensors(visible_arrays), tiny_encoder),
            "occluded": (tensors(occluded_arrays), tiny_encoder),
        },
        "licence": "None at all.",
        "sources": [Source("G.pkl", "ab" * 32)],
    }


@pytest.fixture(scope="session")
def written(parts, tmp_path_factory) -> Path:
    """A bundle that nobody may change."""
    return write_bundle(tmp_path_factory.mktemp("models") / "tiny", **parts).folder


@pytest.fixture
def copied(written, tmp_path, monkeypatch) -> Path:
    monkeypatch.setenv("HEADSTITCH_MODELS", str(tmp_path))
    return Path(shutil.copytree(written, tmp_path / "tiny"))


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def test_networks_are_kept_only_where_that_is_asked_for(written):
    bundle = load_bundle(written)
    assert bundle.generator() is not bundle.generator()
    warm = replace(bundle, kept={})
    assert warm.generator() is warm.generator("cpu")
    assert warm.encoder("visible") is warm.encoder("visible")
    assert warm.encoder("visible") is not warm.encoder("occluded")
    assert warm.kept is not None
    assert len(warm.kept) == 3
    for name, value in bundle.generator().state_dict().items():
        assert torch.equal(warm.generator().state_dict()[name], value), name


def test_the_networks_come_back_as_they_were(written, parts):
    bundle = load_bundle(written)
    generator = bundle.generator("cpu")
    assert not generator.training
    for name, value in generator.state_dict().items():
        assert torch.equal(value, parts["generator"][name]), name
        assert value.dtype == torch.float32
        assert not value.requires_grad
    for which, (tensors, config) in parts["encoders"].items():
        encoder = bundle.encoder(which, "cpu")
        assert encoder.config == config
        assert not encoder.training
        for name, value in encoder.state_dict().items():
            assert torch.equal(value, tensors[name]), name


def test_a_network_is_loaded_anew_each_time(written):
    bundle = load_bundle(written)
    first, second = bundle.generator(), bundle.generator()
    first.torgb.bias.data.fill_(7)
    assert not torch.equal(first.torgb.bias, second.torgb.bias)
    assert torch.equal(second.torgb.bias, bundle.generator().torgb.bias)


def test_the_record_says_all_that_it_should(written, parts, tiny_encoder):
    record = json.loads((written / "model.json").read_text())
    assert record["format"] == 1
    assert record["name"] == "tiny"
    assert record["architecture"] == "panohead"
    assert record["level"] == 10.0
    assert record["licence"] == "None at all."
    assert record["sources"] == [{"name": "G.pkl", "sha256": "ab" * 32}]
    assert record["made_by"].startswith("headstitch ")
    assert set(record["files"]) == {path for path in names(written) if path != "model.json"}
    for name, told in record["files"].items():
        assert told["bytes"] == (written / name).stat().st_size
        assert told["sha256"] == disk.sha256_of(written / name)
    bundle = load_bundle(written)
    assert bundle.config == parts["config"]
    assert bundle.encoders == {"visible": tiny_encoder, "occluded": tiny_encoder}
    assert (bundle.name, bundle.folder, bundle.architecture) == ("tiny", written, "panohead")
    assert bundle.sources == (Source("G.pkl", "ab" * 32),)


def test_the_hash_is_of_what_the_model_is_and_of_nothing_else(parts, written, tmp_path):
    same = write_bundle(tmp_path / "other", **{**parts, "name": "other", "licence": "?", "sources": ()})
    assert same.sha256 == load_bundle(written).sha256
    brighter = {**parts["generator"], "torgb.bias": parts["generator"]["torgb.bias"] + 1e-6}
    assert write_bundle(tmp_path / "b", **{**parts, "generator": brighter}).sha256 != same.sha256
    wider = replace(parts["config"], ray_end=3.4)
    assert write_bundle(tmp_path / "c", **{**parts, "config": wider}).sha256 != same.sha256


def test_the_same_model_is_the_same_bytes(parts, written, tmp_path):
    again = write_bundle(tmp_path / "tiny", **parts).folder
    for name in names(written):
        assert (again / name).read_bytes() == (written / name).read_bytes(), name


def test_half_precision_is_half_the_size_and_float32_in_memory(parts, written, tmp_path):
    bundle = write_bundle(tmp_path / "tiny", **parts, half=True)
    size, whole = (sum(path.stat().st_size for path in folder.iterdir()) for folder in (bundle.folder, written))
    assert size < 0.6 * whole
    stored = load_file(bundle.folder / "generator.safetensors")
    assert stored["decoder.net.0.weight"].dtype == torch.float16
    assert stored["decoder.net.0.bias"].dtype == torch.float32
    state = bundle.generator().state_dict()
    for name, value in parts["generator"].items():
        assert state[name].dtype == torch.float32
        torch.testing.assert_close(state[name], value, rtol=5e-4, atol=1e-7)
    mean = bundle.encoder("visible").latent_avg
    assert torch.equal(mean, parts["encoders"]["visible"][0]["latent_avg"])
    assert bundle.parameters_bytes == load_bundle(written).parameters_bytes
    bundle.verify()


def test_the_bytes_of_parameters_are_those_of_the_generator_and_one_encoder(written, parts):
    counts = [sum(value.numel() for value in tensors.values()) for tensors, _ in parts["encoders"].values()]
    assert load_bundle(written).parameters_bytes == 4 * (
        sum(value.numel() for value in parts["generator"].values()) + max(counts)
    )


def test_counters_may_be_missing(parts, tmp_path, tiny_encoder):
    lean = {
        name: value
        for name, value in parts["encoders"]["visible"][0].items()
        if not name.endswith("num_batches_tracked")
    }
    bundle = write_bundle(
        tmp_path / "tiny", **{**parts, "encoders": {**parts["encoders"], "visible": (lean, tiny_encoder)}}
    )
    assert bundle.encoder("visible").state_dict().keys() == Encoder(tiny_encoder).state_dict().keys()


# --- what cannot be written ------------------------------------------------------------------------------------------


def _generator(**changed):
    return lambda parts: {"generator": {**parts["generator"], **changed}}


def _without(parts):
    return {"generator": {name: value for name, value in parts["generator"].items() if name != "torgb.bias"}}


@pytest.mark.parametrize(
    ("change", "fragment"),
    [
        (_without, "The generator has tensors that do not fit (missing: torgb.bias (3))"),
        (_generator(evil=torch.zeros(1)), "unexpected: evil"),
        (_generator(**{"torgb.bias": torch.zeros(4)}), "of other shapes: torgb.bias is (4) instead of (3)"),
        (
            _generator(**{"torgb.bias": torch.tensor([0, float("nan"), 0])}),
            "The generator holds numbers that are none (NaN or infinity) in torgb.bias",
        ),
        (_generator(**{"torgb.bias": torch.tensor([0, -float("inf"), 0])}), "(NaN or infinity) in torgb.bias"),
        (_generator(**{"torgb.bias": torch.zeros(3, dtype=torch.int64)}), "has whole numbers in torgb.bias"),
        (lambda parts: {"config": OFFICIAL}, "The encoder does not fit the generator: rows of w+ 10 instead of 14"),
        (
            lambda parts: {"config": replace(parts["config"], render_size=-1)},
            "No generator can be built (render_size is -1, not a number from 8 to 1024)",
        ),
        (
            lambda parts: {"encoders": {"visible": parts["encoders"]["visible"]}},
            "A model has the encoders visible and occluded, not visible",
        ),
        (
            lambda parts: {
                "half": True,
                "generator": {**parts["generator"], "torgb.weight": torch.full((3, 32, 1, 1), 1e5)},
            },
            "In half precision the generator holds numbers that are none (NaN or infinity) in torgb.weight; import it "
            "without --half",
        ),
    ],
)
def test_what_does_not_fit_is_not_written(change, fragment, parts, tmp_path):
    with pytest.raises(ModelError) as error:
        write_bundle(tmp_path / "models" / "tiny", **{**parts, **change(parts)})
    assert fragment in str(error.value)
    assert names(tmp_path) == []


@pytest.mark.parametrize("step", [0, 2])
def test_a_disk_that_fills_leaves_nothing(step, parts, tmp_path, monkeypatch):
    count = []

    def write(path, *arguments):
        count.append(path)
        if len(count) > step:
            Path(path).write_bytes(b"half of it")
            raise OSError(errno.ENOSPC, "No space left on device")
        write_tensors(path, *arguments)

    monkeypatch.setattr(module, "write_tensors", write)
    with pytest.raises(ModelError, match="The disk is full"):
        write_bundle(tmp_path / "models" / "tiny", **parts)
    assert names(tmp_path) == []


@pytest.mark.parametrize("half", [False, True])
def test_files_are_to_the_byte_what_the_library_writes(half, parts, tmp_path):
    folder = write_bundle(tmp_path / "tiny", **parts, half=half).folder
    for path in folder.glob("*.safetensors"):
        save_file(load_file(path), tmp_path / "library")
        assert path.read_bytes() == (tmp_path / "library").read_bytes()


def test_too_little_space_is_said_before_anything_is_written(parts, tmp_path, monkeypatch):
    monkeypatch.setattr(disk.shutil, "disk_usage", lambda path: shutil._ntuple_diskusage(1, 1, 5 << 20))
    with pytest.raises(
        ModelError, match=r"Only 5 MB are free where .*tiny shall go, and the model takes \d\d MB; free"
    ):
        write_bundle(tmp_path / "models" / "tiny", **parts)
    assert names(tmp_path) == []


@pytest.mark.skipif(os.name == "nt" or os.geteuid() != 0, reason="needs root, to become somebody without rights")
def test_a_folder_that_may_not_be_written_says_so(parts):
    with tempfile.TemporaryDirectory() as place:
        Path(place).chmod(0o755)
        os.seteuid(65534)
        try:
            with pytest.raises(ModelError, match=r"tiny cannot be written, for lack of permission; change that, or"):
                write_bundle(Path(place) / "tiny", **parts)
        finally:
            os.seteuid(0)
        assert names(Path(place)) == []


def test_a_stop_in_the_middle_leaves_nothing(parts, tmp_path, monkeypatch):
    monkeypatch.setattr(disk, "sha256_of", lambda path: (_ for _ in ()).throw(KeyboardInterrupt))
    with pytest.raises(KeyboardInterrupt):
        write_bundle(tmp_path / "models" / "tiny", **parts)
    assert names(tmp_path) == []


def test_what_is_there_is_replaced_only_when_told_and_a_persons_files_stay(parts, copied):
    before = (copied / "model.json").read_bytes()
    (copied / "notes.txt").write_text("mine")
    with pytest.raises(ModelError, match=r"There is already a model tiny in .*; give another --name, or --replace"):
        write_bundle(copied, **parts)
    assert (copied / "model.json").read_bytes() == before
    write_bundle(copied, **{**parts, "licence": "another"}, replace=True)
    assert load_bundle(copied).licence == "another"
    assert (copied / "notes.txt").read_text() == "mine"
    assert names(copied.parent) == ["tiny"]


def test_something_else_is_never_replaced(parts, tmp_path):
    folder = tmp_path / "tiny"
    folder.mkdir()
    (folder / "thesis.doc").write_text("years of work")
    for place in (folder, folder / "thesis.doc"):
        with pytest.raises(ModelError, match="is something else than a model of Headstitch, and is left alone"):
            write_bundle(place, **parts, replace=True)
    assert names(folder) == ["thesis.doc"]


def test_a_failed_replacement_leaves_the_older_model(parts, copied, monkeypatch):
    before = {name: (copied / name).read_bytes() for name in names(copied)}
    rename = Path.rename

    def fail(self, target):
        if ".partial-" in self.name:
            raise OSError(errno.EIO, "a bad cable")
        return rename(self, target)

    monkeypatch.setattr(Path, "rename", fail)
    with pytest.raises(ModelError, match="a bad cable"):
        write_bundle(copied, **parts, replace=True)
    monkeypatch.undo()
    assert {name: (copied / name).read_bytes() for name in names(copied)} == before
    assert names(copied.parent) == ["tiny"]


# --- what a kill leaves ----------------------------------------------------------------------------------------------


def test_an_older_model_comes_back_after_a_kill_between_two_renames(copied):
    copied.rename(copied.with_name(".tiny.old-0011aabb"))
    partial = copied.with_name(".tiny.partial-0011aabb")
    partial.mkdir()
    (partial / "generator.safetensors").write_bytes(b"half")
    assert [model.name for model in shelf.list_models()] == ["tiny"]
    assert load_bundle("tiny").name == "tiny"
    assert names(copied.parent) == [".tiny.partial-0011aabb", "tiny"]  # somebody may still write there
    old = time.time() - 2 * STALE
    for path in (partial / "generator.safetensors", partial):
        os.utime(path, (old, old))
    shelf.list_models()
    assert names(copied.parent) == ["tiny"]


def test_a_finished_replacement_is_tidied(copied, written):
    old = copied.with_name(".tiny.old-0011aabb")
    shutil.copytree(written, old)
    (old / "notes.txt").write_text("mine")
    load_bundle("tiny")
    assert names(copied.parent) == ["tiny"]
    assert (copied / "notes.txt").read_text() == "mine"


def test_hidden_folders_of_others_are_left_alone(copied):
    stranger = copied.with_name(".tiny.partial-0011aabb")
    stranger.mkdir()
    (stranger / "mine.txt").write_text("x")
    os.utime(stranger / "mine.txt", (0, 0))
    os.utime(stranger, (0, 0))
    shelf.list_models()
    assert (stranger / "mine.txt").exists()


# --- what is damaged -------------------------------------------------------------------------------------------------


def _record(**changes):
    def change(folder):
        path = folder / "model.json"
        record = json.loads(path.read_text())
        for key, value in changes.items():
            if value is None:
                del record[key]
            else:
                record[key] = value
        path.write_text(json.dumps(record))

    return change


def _text(content):
    return lambda folder: (folder / "model.json").write_text(content)


def _inside(key, **values):
    def change(folder):
        path = folder / "model.json"
        record = json.loads(path.read_text())
        record[key].update(values)
        path.write_text(json.dumps(record))

    return change


@pytest.mark.parametrize(
    ("change", "fragment"),
    [
        (_text(""), "model.json is damaged; import the model again"),
        (_text("[" * 100_000), "model.json is damaged; import"),
        (_text(" " * (2 << 20)), "model.json is damaged; import"),
        (_text("[1]"), "does not describe a model of Headstitch"),
        (_text("{}"), "does not describe a model of Headstitch"),
        (_record(format=2), "was written by a newer Headstitch (format 2, and this one reads 1); update Headstitch"),
        (_record(format="1"), "model.json is damaged"),
        (_record(format=0), "model.json is damaged"),
        (_record(architecture="starter\n"), "has the architecture starter?, and this Headstitch knows panohead"),
        (_record(generator=None), "model.json is damaged"),
        (_record(generator=[1]), "model.json is damaged"),
        (_record(encoders={"visible": {}}), "model.json is damaged"),
        (_record(files={}), "model.json is damaged"),
        (_record(level=9.0), "model.json is damaged"),
        (_record(licence=5), "model.json is damaged"),
        (_record(sources=[{}]), "model.json is damaged"),
        (_record(sha256="0" * 64), "model.json is damaged"),
        (_inside("generator", ray_start=2.0), "model.json is damaged"),
        (_inside("generator", trigrid_size="64"), "model.json is damaged"),
        (_inside("generator", surprise=1), "model.json is damaged"),
        (lambda folder: (folder / "generator.safetensors").unlink(), "lacks generator.safetensors; import it again"),
        (
            lambda folder: (folder / "generator.safetensors").write_bytes(b"x"),
            "generator.safetensors has 1 bytes instead of",
        ),
        (lambda folder: (folder / "model.json").unlink(), "holds no model (model.json is missing)"),
    ],
)
def test_a_damaged_bundle_says_what_to_do(change, fragment, copied):
    change(copied)
    with pytest.raises(ModelError) as error:
        load_bundle(copied)
    assert fragment in str(error.value)
    assert "\n" not in str(error.value)


def test_a_bit_that_turned_is_found_by_verify(copied):
    path = copied / "encoder_occluded.safetensors"
    data = bytearray(path.read_bytes())
    data[-100] ^= 1
    path.write_bytes(data)
    bundle = load_bundle(copied)
    with pytest.raises(ModelError, match=r"encoder_occluded\.safetensors is not what was written there; import"):
        bundle.verify()


def _resealed(folder: Path, change) -> None:
    """Change the generator's tensors and put everything into the record as if it had been so."""
    path = folder / "generator.safetensors"
    tensors = load_file(path)
    change(tensors)
    save_file(tensors, path)
    bundle = load_record(folder)
    bundle["files"][path.name] = {"sha256": disk.sha256_of(path), "bytes": path.stat().st_size}
    from headstitch.backend.networks.config import EncoderConfig, GeneratorConfig

    bundle["sha256"] = module._sha256_of_model(
        GeneratorConfig.from_dict(bundle["generator"]),
        {which: EncoderConfig.from_dict(config) for which, config in bundle["encoders"].items()},
        {name: (told["sha256"], told["bytes"]) for name, told in bundle["files"].items()},
    )
    (folder / "model.json").write_text(json.dumps(bundle))


def load_record(folder: Path) -> dict:
    return json.loads((folder / "model.json").read_text())


def test_a_bundle_by_others_is_checked_like_ours(copied):
    def spoil(tensors):
        tensors["torgb.bias"][1] = float("nan")

    _resealed(copied, spoil)
    with pytest.raises(ModelError, match=r"holds numbers that are none .* in torgb\.bias; import it again"):
        load_bundle(copied).verify()


def _reconfigured(folder: Path, **sizes) -> None:
    """Say other sizes of the visible encoder, and put everything into the record as if it had been so."""
    record = load_record(folder)
    record["encoders"]["visible"].update(sizes)
    parts = {"generator": record["generator"], "encoders": record["encoders"]}
    parts["files"] = {name: told["sha256"] for name, told in record["files"].items()}
    record["sha256"] = hashlib.sha256(json.dumps(parts, sort_keys=True).encode()).hexdigest()
    (folder / "model.json").write_text(json.dumps(record))


def test_the_record_of_others_may_say_what_fits(copied):
    _reconfigured(copied)
    load_bundle(copied).verify()


@pytest.mark.parametrize(
    "sizes",
    [
        {"blocks": [200_000, 1, 1, 1]},
        {"widths": [8_000_000_000_000] * 4},
        {"style_width": 1 << 40},
        {"hidden": 1 << 15},
    ],
    ids=str,
)
def test_sizes_that_no_encoder_has_are_refused_before_anything_is_built(copied, sizes):
    _reconfigured(copied, **sizes)
    start = time.perf_counter()
    with pytest.raises(ModelError, match=r"model\.json is damaged; import the model again\.$"):
        load_bundle(copied)
    assert time.perf_counter() - start < 5


@pytest.mark.parametrize("kind", [torch.int64, torch.float64, torch.bool])
def test_numbers_of_another_kind_are_refused_when_loaded_and_verified(copied, kind):
    def spoil(tensors):
        tensors["torgb.bias"] = torch.ones(3, dtype=kind)

    _resealed(copied, spoil)
    for check in (Bundle.generator, Bundle.verify):
        with pytest.raises(
            ModelError, match=r"generator\.safetensors holds \w+ in torgb\.bias; import the model again"
        ):
            check(load_bundle(copied))


def test_tensors_of_another_generator_are_refused_when_loaded(copied):
    def spoil(tensors):
        tensors["torgb.bias"] = torch.zeros(4)
        tensors["evil"] = torch.zeros(1)

    _resealed(copied, spoil)
    with pytest.raises(ModelError, match=r"torgb\.bias is \(4\) instead of \(3\); unexpected: evil"):
        load_bundle(copied).generator()


def test_a_file_that_is_no_safetensors_is_refused_when_loaded(copied):
    path = copied / "generator.safetensors"
    path.write_bytes(b"\xff" * path.stat().st_size)
    bundle = load_bundle(copied)
    for use in (bundle.generator, lambda: bundle.parameters_bytes):
        with pytest.raises(ModelError, match=r"generator\.safetensors is damaged; import the model again"):
            use()


# --- names -----------------------------------------------------------------------------------------------------------


def test_a_model_is_found_by_name_and_by_path(copied, monkeypatch):
    assert load_bundle("tiny").folder == copied
    assert load_bundle(copied).folder == copied
    assert load_bundle(str(copied)).folder == copied
    monkeypatch.chdir(copied.parent)
    monkeypatch.setenv("HEADSTITCH_MODELS", str(copied.parent / "elsewhere"))
    assert load_bundle("tiny").folder == copied


@pytest.mark.parametrize("name", ["none", "", "../tiny", "a b", "template", "\x1b[2J"])
def test_a_model_that_is_not_there_is_one_sentence(name, copied):
    with pytest.raises(ModelError, match=r"There is no model .*headstitch models list shows what is there") as error:
        load_bundle(name)
    assert all(character.isprintable() for character in str(error.value))


def test_the_models_folder_is_the_users_unless_named(monkeypatch, tmp_path):
    from headstitch.backend.models.store import models_folder

    monkeypatch.setenv("HEADSTITCH_MODELS", str(tmp_path))
    assert models_folder() == tmp_path
    monkeypatch.setenv("HEADSTITCH_MODELS", "")
    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path / "data"))
    assert models_folder().name == "models"
    assert "headstitch" in models_folder().parts


def test_loading_a_model_imports_no_compiler(written):
    """On the meta device, where networks are made, some arithmetic loads all of torch._dynamo: a second or two."""
    code = (
        "import sys; from headstitch.backend.models.bundle import load_bundle; "
        f"bundle = load_bundle({str(written)!r}); bundle.generator(); bundle.encoder('visible'); "
        "sys.exit('torch._dynamo' in sys.modules)"
    )
    assert subprocess.run([sys.executable, "-c", code], check=False, timeout=120).returncode == 0
