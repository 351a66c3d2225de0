import json
import shutil
from dataclasses import replace
from functools import partial
from pathlib import Path

import numpy as np
import pytest
from headstitch.backend import cli
from headstitch.backend.errors import ModelError, OptionError, PhotoError, ResultsError
from headstitch.backend.inversion.color import make_painter
from headstitch.backend.options import Inversion, Options
from headstitch.backend.reconstruct import reconstruct
from headstitch.backend.remesh import options_of, remesh
from headstitch.backend.render import render_head
from headstitch.backend.results.folder import HEAD_FILES
from headstitch.backend.results.head import Head, changed_files
from PIL import Image
from safetensors import numpy as safetensors

PHOTO = Path(__file__).parents[2] / "examples" / "astronaut.png"
PLAIN = Options(resolution=64, faces=1000, texture_size=256, quality=False)
BALLS = Options(model="balls", resolution=40, faces=1000, texture_size=256, quality=False)

SIDES = ((0, 0), (90, 0), (180, 0), (-90, 0))  # yaw and pitch in degrees


@pytest.fixture(scope="module")
def template(tmp_path_factory):
    return reconstruct(PHOTO, tmp_path_factory.mktemp("template") / "head", options=PLAIN)


@pytest.fixture(scope="module")
def use_balls(balls):
    """The model of balls in the place of every bundle."""
    with pytest.MonkeyPatch.context() as patch:
        for module in ("reconstruct", "inversion.latent"):
            patch.setattr(f"headstitch.backend.{module}.load_bundle", lambda _: balls.BallBundle())
        # A ball needs no more views than these, and each takes its time.
        patch.setattr("headstitch.backend.inversion.latent.make_painter", partial(make_painter, views=SIDES))
        yield balls


@pytest.fixture(scope="module")
def ball(use_balls, tmp_path_factory):
    return reconstruct(PHOTO, tmp_path_factory.mktemp("ball") / "head", options=BALLS)


@pytest.fixture(scope="module")
def template_again(template, tmp_path_factory):
    """The same head without its photo, with nothing said."""
    return remesh(template.folder, tmp_path_factory.mktemp("again") / "head")


@pytest.fixture(scope="module")
def ball_again(ball, tmp_path_factory):
    return remesh(ball.folder, tmp_path_factory.mktemp("again") / "head")


@pytest.fixture(scope="module", params=["template", "ball"])
def head(request):
    return request.getfixturevalue(request.param)


@pytest.fixture
def again(head, template, template_again, request):
    return template_again if head is template else request.getfixturevalue("ball_again")


def mesh_of(folder):
    with np.load(folder / "head.npz") as arrays:
        return {name: arrays[name].tobytes() for name in ("vertices", "faces", "corner_uvs")}


def test_the_same_options_give_the_same_mesh_to_the_bit(head, again):
    assert mesh_of(again.folder) == mesh_of(head.folder)
    assert (again.folder / "latent.safetensors").read_bytes() == (head.folder / "latent.safetensors").read_bytes()
    assert again.surface == head.surface


def test_the_new_head_is_whole_and_tells_where_it_came_from(head, again):
    assert sorted(path.name for path in again.folder.iterdir()) == sorted([*HEAD_FILES, "photo.png"])
    np.testing.assert_array_equal(again.photo, head.photo)
    assert changed_files(again.folder) == ()
    for key in ("photo", "crop", "pose", "model", "options", "warnings"):
        assert again.record[key] == head.record[key]
    assert again.record["remeshed"] == {"photo": False}
    assert next(iter(again.record["run"]["stages"])) == "reading the head"
    assert again.preview.shape == (512, 768, 3)  # without the photo


def test_without_the_photo_nothing_of_it_is_in_the_texture(ball_again):
    """The ball's front has the plain red of its encoder, and no face."""
    bare, mesh = ball_again, ball_again.mesh.mesh
    front = mesh.vertices @ bare.camera.position / np.linalg.norm(bare.camera.position) > 0.24
    uvs = np.zeros((len(mesh.vertices), 2))
    uvs[mesh.faces] = bare.mesh.corner_uvs
    texels = (np.stack([uvs[front, 0], 1 - uvs[front, 1]], axis=1) * 256).astype(int).clip(0, 255)
    colors = bare.mesh.albedo[texels[:, 1], texels[:, 0]].astype(int)
    assert colors.std(axis=0).max() < 12
    assert colors[:, 0].min() > 180


def test_with_the_photo_every_byte_is_the_same_but_for_the_record(head, tmp_path):
    baked = remesh(head.folder, tmp_path / "head", photo=PHOTO)
    for name in HEAD_FILES[:-1]:
        assert (baked.folder / name).read_bytes() == (head.folder / name).read_bytes(), name
    assert baked.record["remeshed"] == {"photo": True}


def test_other_options_give_another_mesh(use_balls, ball, tmp_path):
    options = Options(**{**BALLS.__dict__, "resolution": 56, "faces": 0, "quality": True})
    finer = remesh(ball.folder, None, options=options)
    assert finer.folder is None
    assert len(finer.mesh.mesh.faces) > 1.5 * len(ball.mesh.mesh.faces)
    np.testing.assert_allclose(np.linalg.norm(finer.mesh.mesh.vertices, axis=1), use_balls.RADIUS, atol=0.01)
    assert finer.record["options"]["resolution"] == 56
    assert finer.quality is not None
    assert {each.name for each in finer.quality.unmeasured} >= {"landmark_error", "silhouette_iou", "photo_border"}
    assert list(tmp_path.iterdir()) == []


def test_it_may_take_the_place_of_the_head_that_it_is_made_from(template, tmp_path):
    shutil.copytree(template.folder, tmp_path / "head")
    (tmp_path / "head" / "notes.txt").write_text("mine")
    told = []
    remesh(tmp_path / "head", tmp_path / "head", progress=told.append)
    assert mesh_of(tmp_path / "head") == mesh_of(template.folder)
    assert (tmp_path / "head" / "notes.txt").read_text() == "mine"
    assert [path.name for path in tmp_path.iterdir()] == ["head"]
    assert told[-1].fraction == 1
    assert (np.diff([each.fraction for each in told]) >= 0).all()


def test_debug_images_stay_with_the_head(template, tmp_path):
    shown = Head(**{**template.__dict__, "debug": np.full((8, 8, 3), 9, np.uint8), "folder": None})
    shown.save(tmp_path / "shown")
    again = remesh(tmp_path / "shown", tmp_path / "again")
    np.testing.assert_array_equal(Head.load(again.folder).debug, shown.debug)


# --- from nothing but latent.safetensors ------------------------------------------------------------------------------


@pytest.fixture
def alone(head, tmp_path):
    """The head's latent, moved away from everything else."""
    (tmp_path / "kept").mkdir()
    return Path(shutil.copy(head.folder / "latent.safetensors", tmp_path / "kept" / "mine.safetensors"))


def test_its_latent_alone_makes_the_same_head_again(head, again, alone, tmp_path):
    made = remesh(alone, tmp_path / "out")
    assert mesh_of(made.folder) == mesh_of(head.folder)
    for name in ("latent.safetensors", "albedo.png"):
        assert (made.folder / name).read_bytes() == (again.folder / name).read_bytes(), name
    assert changed_files(made.folder) == ()
    for key in ("photo", "crop", "pose", "model", "options", "warnings", "generated_content"):
        assert made.record[key] == head.record[key]
    np.testing.assert_allclose(made.camera.label, head.camera.label, rtol=0, atol=1e-6)
    assert options_of(alone) == options_of(head.folder)


def test_with_the_photo_too(head, alone, tmp_path):
    baked = remesh(alone, tmp_path / "out", photo=PHOTO)
    assert mesh_of(baked.folder) == mesh_of(head.folder)
    difference = np.asarray(baked.mesh.albedo, int) - head.mesh.albedo
    assert np.abs(difference).max() <= 2  # the camera is kept in single precision there


def test_its_latent_alone_shows_the_field(use_balls, ball, tmp_path):
    kept = Path(shutil.copy(ball.folder / "latent.safetensors", tmp_path / "kept.safetensors"))
    whole = render_head(ball.folder, tmp_path / "whole", [0, 120], source="field")
    alone = render_head(kept, tmp_path / "alone", [0, 120], source="field")
    assert [path.read_bytes() for path in alone] == [path.read_bytes() for path in whole]
    with pytest.raises(OptionError, match=r"kept\.safetensors holds no mesh; .*--from field\.$"):
        render_head(kept, tmp_path / "mesh", [0])


def test_the_command_line_puts_its_pictures_beside_it(use_balls, ball, tmp_path):
    kept = Path(shutil.copy(ball.folder / "latent.safetensors", tmp_path / "kept.safetensors"))
    assert cli.main(["render", str(kept), "--from", "field", "--yaw", "0"]) == 0
    assert (tmp_path / "views" / "yaw_+000.png").is_file()


@pytest.mark.parametrize(
    ("spoil", "said"),
    [
        (lambda _: b"", r"cannot be read as a head's latent\.safetensors"),
        (lambda data: data[:-9], r"cannot be read as a head's latent\.safetensors"),
        (lambda data: safetensors.save(without(data, "record")), r"does not tell what head it is of \('record'\)"),
        (lambda data: safetensors.save(without(data, "camera")), r"does not tell what head it is of \('camera'\)"),
        (lambda data: safetensors.save(without(data) | {"record": np.zeros(3, np.uint8)}), "does not tell what head"),
        (lambda data: safetensors.save(without(data) | {"record": text("[]")}), "holds no head of Headstitch"),
        (lambda data: safetensors.save(without(data) | {"record": text("{}")}), "holds no head of Headstitch"),
        (lambda data: safetensors.save(without(data) | {"record": text("[" * 200_000)}), "does not tell what head"),
        (lambda data: changed(data, "model", None), "does not tell the head's model; make the head anew"),
        (lambda data: changed(data, "model", {"name": "template", "sha256": 7}), "does not tell the head's model"),
        (lambda data: changed(data, "photo", []), "does not tell the head's photo"),
        (
            lambda data: safetensors.save(without(data) | {"record": text('{"product": "headstitch", "schema": 9}')}),
            "has format 9, and this version reads 1",
        ),
    ],
)
def test_a_latent_that_is_none_is_refused_with_a_sentence(template, tmp_path, spoil, said):
    bad = tmp_path / "bad.safetensors"
    bad.write_bytes(spoil((template.folder / "latent.safetensors").read_bytes()))
    with pytest.raises(ResultsError, match=rf"{said}.*\.$"):
        remesh(bad, tmp_path / "out")
    assert not (tmp_path / "out").exists()


def without(data, name=None):
    return {key: array for key, array in safetensors.load(data).items() if key != name}


def changed(data, key, value):
    """The latent with another value in its record."""
    arrays = safetensors.load(data)
    record = json.loads(arrays["record"].tobytes())
    return safetensors.save(arrays | {"record": text(json.dumps({**record, key: value}))})


def text(words):
    return np.frombuffer(words.encode(), np.uint8)


# --- what cannot work ------------------------------------------------------------------------------------------------


def spoil(head, folder, change):
    """A copy of the head whose record was changed by ``change``."""
    shutil.copytree(head.folder, folder)
    record = json.loads((folder / "head.json").read_text())
    change(record)
    (folder / "head.json").write_text(json.dumps(record))
    return folder


def test_another_photo_is_refused(template, tmp_path):
    other = tmp_path / "other.png"
    Image.open(PHOTO).convert("RGB").save(other, compress_level=1)
    with pytest.raises(PhotoError, match=r"is not the photo that the head in .*leave --photo out\.$"):
        remesh(template.folder, tmp_path / "head", photo=other)
    assert not (tmp_path / "head").exists()


def test_a_folder_without_a_head_is_refused(tmp_path):
    with pytest.raises(ResultsError, match="holds no head"):
        remesh(tmp_path, tmp_path / "out")


def test_a_template_of_another_version_is_refused(template, tmp_path):
    folder = spoil(template, tmp_path / "old", lambda record: record["model"].update(sha256="0" * 64))
    with pytest.raises(ResultsError, match=r"another version of the template \(000000000000.*make it anew"):
        remesh(folder, tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_options_that_nobody_knows_are_refused(template, tmp_path):
    folder = spoil(template, tmp_path / "new", lambda record: record["options"].update(sparkle=3))
    with pytest.raises(ResultsError, match=r"another version's .*sparkle.*make the head anew\.$"):
        remesh(folder, tmp_path / "out")


def test_a_head_from_before_there_were_models_has_its_options(template, tmp_path):
    def age(record):
        for name in ("model", "inversion", "debug_images"):
            del record["options"][name]
        del record["model"]["licence"]

    old = spoil(template, tmp_path / "old", age)
    assert options_of(old) == PLAIN
    assert mesh_of(remesh(old, tmp_path / "new").folder) == mesh_of(template.folder)


def test_a_head_whose_model_is_gone_or_another_is_refused(balls, ball, tmp_path, monkeypatch):
    changed = balls.BallBundle()
    changed.sha256 = "cd" * 32
    monkeypatch.setattr("headstitch.backend.inversion.latent.load_bundle", lambda _: changed)
    with pytest.raises(ModelError, match=r"made with the model balls of hash abababababab"):
        remesh(ball.folder, tmp_path / "out")
    with pytest.raises(ModelError, match=r"made with the model balls of hash abababababab"):
        render_head(ball.folder, tmp_path / "out", [0], source="field")
    assert not (tmp_path / "out").exists()


# --- pictures of the field -------------------------------------------------------------------------------------------


def test_pictures_of_the_field_are_what_the_model_shows(use_balls, ball, tmp_path):
    yaw = round(np.degrees(ball.camera.angles[0]))
    written = render_head(ball.folder, tmp_path, [yaw, yaw + 180], size=96, source="field")
    front, back = (np.asarray(Image.open(path))[48, 48].astype(int) for path in written)
    assert front[0] > 2 * front[1]  # the visible encoder's red
    assert back[1] > 2 * back[0]  # the occluded one's green
    assert np.asarray(Image.open(written[0])).shape == (96, 96, 3)
    assert np.asarray(Image.open(written[0]))[1, 1].min() > 240  # before the photo's background


def test_the_template_has_no_pictures_of_its_own(template, tmp_path):
    with pytest.raises(OptionError, match=r"the template's, which makes no pictures itself; .*\.$"):
        render_head(template.folder, tmp_path / "out", [0], source="field")
    assert not (tmp_path / "out").exists()


# --- the command line ------------------------------------------------------------------------------------------------


@pytest.fixture
def asked(monkeypatch, template):
    """What the command line asks of ``remesh``, which does nothing."""
    calls = []

    def take(head, out, **rest):
        calls.append({"head": head, "out": out, **rest})
        return template

    monkeypatch.setattr("headstitch.backend.remesh.remesh", take)
    return calls


def test_what_is_not_given_stays_as_the_head_was_made(asked, template, tmp_path, capsys):
    assert cli.main(["remesh", str(template.folder), "-o", str(tmp_path / "out")]) == 0
    assert asked[0]["options"] == PLAIN
    assert (asked[0]["head"], asked[0]["out"]) == (template.folder, tmp_path / "out")
    assert asked[0]["photo"] is asked[0]["model"] is None
    assert "The head is in" in capsys.readouterr().out


def test_what_is_given_changes(asked, template, tmp_path):
    line = ["remesh", str(template.folder), "-o", str(tmp_path), "--resolution", "96", "--neck", "open", "--no-quality"]
    line += ["--photo", "a.png", "--model", "elsewhere", "--inversion.crop", "official", "--faces", "0"]
    assert cli.main(line) == 0
    changed = {**PLAIN.__dict__, "resolution": 96, "neck": "open", "faces": 0, "quality": False}
    assert asked[0]["options"] == Options(**{**changed, "inversion": Inversion(crop="official")})
    assert (asked[0]["photo"], asked[0]["model"]) == (Path("a.png"), "elsewhere")


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"model": "another"}, "--model"),
        ({"face": 2}, "--face"),
        ({"angles": (0.0, 0.0, 0.0)}, "--angles"),
        ({"crop": (200.0, 200.0, 300.0, 0.0)}, "--crop"),
        ({"inversion": Inversion(mask="planes")}, r"--inversion\.mask"),
        ({"inversion": Inversion(mask_softness=3)}, r"--inversion\.mask-softness"),
        ({"inversion": Inversion(appearance="occluded")}, r"--inversion\.appearance"),
        ({"inversion": Inversion(background_over="features")}, r"--inversion\.background-over"),
        ({"debug_images": True}, "--debug-images"),
    ],
)
def test_what_made_the_trigrid_can_no_more_be_changed(use_balls, ball, tmp_path, change, said):
    with pytest.raises(OptionError, match=rf"^{said} is not what this head was made with, .*\.$"):
        remesh(ball.folder, tmp_path / "out", options=replace(options_of(ball.folder), **change))
    assert not (tmp_path / "out").exists()


def test_the_background_of_the_pictures_that_colour_it_may_change(use_balls, ball, tmp_path):
    options = replace(options_of(ball.folder), inversion=Inversion(background="black", crop="official"))
    again = remesh(ball.folder, tmp_path / "out", options=options)
    assert options_of(again.folder).inversion == Inversion(background="black", crop="official")


def test_a_line_that_cannot_work_is_said(template, tmp_path, capsys):
    assert cli.main(["remesh", str(template.folder), "-o", str(tmp_path / "out"), "--resolution", "3"]) == 2
    assert "--resolution is 3" in capsys.readouterr().err
    assert cli.main(["remesh", str(tmp_path / "gone"), "-o", str(tmp_path / "out")]) == 5
    assert not (tmp_path / "out").exists()
