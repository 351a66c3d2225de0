from __future__ import annotations

import cv2
import numpy as np
import pytest
from headstitch.backend import cli
from headstitch.backend.camera import Camera
from headstitch.backend.errors import OptionError, ResourceError, ResultsError
from headstitch.backend.meshing.mesh import Mesh, SurfaceReport, TexturedMesh
from headstitch.backend.render import FRAMES, name_of, render_head
from headstitch.backend.results.head import Head
from headstitch.backend.results.record import SCHEMA
from PIL import Image

# The sides of a die by the yaw that looks at them, in the order of the texture's columns.
COLORS = {0: (220, 40, 40), 90: (40, 200, 40), 180: (40, 40, 220), -90: (210, 210, 40), None: (128, 128, 128)}


@pytest.fixture(scope="module")
def die(tmp_path_factory):
    """A saved head in the form of a die, each upright side of its own colour."""
    corners = np.array([[x, y, z] for x in (-1, 1) for y in (-1, 1) for z in (-1, 1)], np.float32) * 0.2
    quads = [
        (1, 5, 7, 3),
        (5, 4, 6, 7),
        (4, 0, 2, 6),
        (0, 1, 3, 2),
        (3, 7, 6, 2),
        (0, 4, 5, 1),
    ]  # front, right, back...
    faces = np.array([t for a, b, c, d in quads for t in ((a, b, c), (a, c, d))], np.int32)
    column = np.minimum(np.repeat(np.arange(6), 2), 4)
    uvs = np.repeat(((column + 0.5) / 5)[:, None, None], 3, axis=1)
    uvs = np.concatenate([uvs, np.full_like(uvs, 0.5)], axis=2).astype(np.float32)
    albedo = np.repeat(np.array([list(COLORS.values())], np.uint8), 32, axis=1).repeat(64, axis=0)
    head = Head(
        mesh=TexturedMesh(Mesh(corners, faces), uvs, albedo),
        camera=Camera.from_angles(),
        surface=SurfaceReport(8, 12, 1, 0, True, 0, 2),
        latent={"w": np.zeros(3, np.float32)},
        record={"schema": SCHEMA, "product": "headstitch", "version": "0", "photo": {}, "model": {}},
        preview=np.zeros((8, 8, 3), np.uint8),
    )
    return head.save(tmp_path_factory.mktemp("die") / "die").folder


def read(path) -> np.ndarray:
    return cv2.cvtColor(cv2.imread(str(path), cv2.IMREAD_COLOR), cv2.COLOR_BGR2RGB)


@pytest.mark.parametrize("yaw", [0, 90, 180, -90])
def test_each_yaw_sees_its_own_side(die, tmp_path, yaw):
    (path,) = render_head(die, tmp_path, [yaw], size=64)
    assert path == tmp_path / f"yaw_{yaw:+04d}.png"
    picture = read(path)
    assert picture.shape == (64, 64, 3)
    middle = picture[28:36, 28:36].reshape(-1, 3).astype(float)
    wanted = np.array(COLORS[yaw], float)
    np.testing.assert_allclose(
        middle / middle.max(1, keepdims=True), np.tile(wanted / wanted.max(), (64, 1)), atol=0.06
    )


def test_pitch_looks_from_above(die, tmp_path):
    (path,) = render_head(die, tmp_path, [0], pitch=90, size=64)
    middle = read(path)[32, 32].astype(int)
    assert np.ptp(middle) <= 2  # the grey lid


@pytest.mark.parametrize(
    ("yaw", "name"),
    [
        (0, "yaw_+000.png"),
        (-0.0, "yaw_+000.png"),
        (360, "yaw_+000.png"),
        (180, "yaw_+180.png"),
        (-180, "yaw_+180.png"),
        (315, "yaw_-045.png"),
        (22.5, "yaw_+022.5.png"),
        (-157.5, "yaw_-157.5.png"),
        (119.99999, "yaw_+120.png"),
        (-179.99, "yaw_+180.png"),
    ],
)
def test_one_side_has_one_name(yaw, name):
    assert name_of(yaw) == name


def test_the_turntable_turns_once_and_carries_the_mark(die, tmp_path):
    told = []
    (path,) = render_head(die, tmp_path, [], size=64, with_turntable=True, progress=told.append)
    with Image.open(path) as film:
        assert getattr(film, "n_frames") == FRAMES  # noqa: B009 - only animations have it
        quarter = []
        for side in range(4):
            film.seek(side * FRAMES // 4)
            quarter.append(np.asarray(film.convert("RGB"))[32, 32].argmax())
        assert b"compositeSynthetic" in film.info["xmp"]
    assert quarter[:3] == [0, 1, 2]  # red, green, blue
    assert told[-1].stage == "done"
    assert [progress.fraction for progress in told] == sorted(progress.fraction for progress in told)


def test_nothing_to_render_and_no_head_are_said(die, tmp_path):
    with pytest.raises(OptionError, match="--turntable"):
        render_head(die, tmp_path / "out", [])
    with pytest.raises(ResultsError, match="no head"):
        render_head(tmp_path, tmp_path / "out", [0])
    assert not (tmp_path / "out").exists()


def test_an_unwritable_place_is_said(die, tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(ResultsError, match="choose another place with -o"):
        render_head(die, tmp_path / "file" / "out", [0], size=64)


@pytest.mark.parametrize(
    ("arguments", "names"),
    [
        ([], [name_of(45 * step) for step in range(8)]),
        (["--views", "3"], ["yaw_+000.png", "yaw_+120.png", "yaw_-120.png"]),
        (["--yaw", "-30", "30"], ["yaw_-030.png", "yaw_+030.png"]),
        (["--yaw", "10", "--views", "2"], ["yaw_+010.png", "yaw_+000.png", "yaw_+180.png"]),
        (["--turntable", "--yaw", "0"], ["yaw_+000.png", "turntable.webp"]),
    ],
    ids=" ".join,
)
def test_the_command_line_writes_what_it_is_asked_for(die, tmp_path, capsys, arguments, names):
    assert cli.main(["render", str(die), "-o", str(tmp_path / "out"), "--size", "64", *arguments]) == 0
    assert capsys.readouterr().out.splitlines() == [str(tmp_path / "out" / name) for name in names]
    assert sorted(path.name for path in (tmp_path / "out").iterdir()) == sorted(names)


def test_pictures_go_to_the_heads_folder_by_default_and_the_head_stays_a_head(die, capsys):
    assert cli.main(["render", str(die), "--views", "1", "--size", "64"]) == 0
    assert (die / "views" / "yaw_+000.png").is_file()
    Head.load(die)


@pytest.mark.parametrize(
    "arguments",
    [
        ["--size", "10"],
        ["--size", "5000"],
        ["--views", "0"],
        ["--views", "361"],
        ["--pitch", "91"],
        ["--pitch", "nan"],
        ["--yaw", "361"],
        ["--yaw", "nan"],
    ],
    ids=" ".join,
)
def test_an_option_that_cannot_work_is_one_sentence(die, arguments, capsys):
    assert cli.main(["render", str(die), *arguments]) == OptionError.exit_code
    told = capsys.readouterr().err
    assert told.startswith(arguments[0])
    assert told.count("\n") == 1


def test_a_turntable_too_large_for_the_memory_is_refused_before_the_work(die, tmp_path, monkeypatch):
    monkeypatch.setattr("headstitch.backend.system.available_memory", lambda: (4 << 30, "this machine"))
    with pytest.raises(ResourceError, match=r"about 1\d\.\d GiB of memory.*a smaller --size\.$"):
        render_head(die, tmp_path / "out", [], size=4096, with_turntable=True)
    assert not (tmp_path / "out").exists()
    monkeypatch.setattr("headstitch.backend.system.available_memory", lambda: (1 << 30, "this machine"))
    assert len(render_head(die, tmp_path / "out", [0], size=2048)) == 1
