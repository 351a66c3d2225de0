import numpy as np
from headstitch.backend.portrait import matte as module
from headstitch.backend.portrait.matte import FACE_OVAL, make_matte

IMAGE = np.zeros((128, 128, 3), np.uint8)
INSIDE = np.ones((128, 128), np.float32)


def oval(column=0.5, row=0.5, radius=0.15):
    """Landmarks whose face is a disc."""
    points = np.full((478, 3), 0.5)
    turn = np.linspace(0, 2 * np.pi, len(FACE_OVAL), endpoint=False)
    points[list(FACE_OVAL), 0] = column + radius * np.cos(turn)
    points[list(FACE_OVAL), 1] = row + radius * np.sin(turn)
    return points


def disc(column, row, radius, size=128):
    rows, columns = (np.mgrid[:size, :size] + 0.5) / size
    return (np.hypot(columns - column, rows - row) < radius).astype(np.float32)


def answering(monkeypatch, mask):
    monkeypatch.setattr(module, "segment_person", lambda image: mask)


def test_the_astronauts_hair_and_face_are_in_and_the_wall_is_out(portrait):
    matte = portrait.matte
    assert matte.shape == (512, 512)
    assert matte.dtype == np.float32
    assert matte.min() >= 0
    assert matte.max() == 1
    assert matte[100:450, 180:330].min() > 0.95  # forehead to chin
    assert matte[30, 256] > 0.9  # the hair
    assert matte[:60, :60].max() < 0.1
    assert matte[:60, -60:].max() < 0.1
    soft = ((matte > 0.02) & (matte < 0.98)).mean()
    assert 0.002 < soft < 0.06


def test_another_person_beside_is_left_out(monkeypatch):
    answering(monkeypatch, np.maximum(disc(0.5, 0.5, 0.25), disc(0.88, 0.5, 0.1)))
    matte = make_matte(IMAGE, oval(), INSIDE)
    assert matte[64, 64] == 1
    assert matte[:, 100:].max() == 0
    assert matte[64, 90] > 0.9  # the first disc is whole


def test_a_hole_in_the_face_is_filled(monkeypatch):
    answering(monkeypatch, disc(0.5, 0.5, 0.3) * (1 - disc(0.5, 0.45, 0.05)))
    assert make_matte(IMAGE, oval(), INSIDE)[54:62, 60:68].min() == 1


def test_a_face_that_is_not_segmented_at_all_is_its_oval(monkeypatch):
    answering(monkeypatch, np.zeros((128, 128), np.float32))
    matte = make_matte(IMAGE, oval(), INSIDE)
    np.testing.assert_allclose(matte.mean(), np.pi * 0.15**2, rtol=0.1)


def test_outside_of_the_photo_it_is_zero(monkeypatch):
    answering(monkeypatch, np.ones((128, 128), np.float32))
    inside = INSIDE.copy()
    inside[:, :40] = 0
    matte = make_matte(IMAGE, oval(), inside)
    np.testing.assert_array_equal(matte, inside)


def test_a_border_between_two_parts_separates_them(monkeypatch):
    # what lies beyond the photo's edge must not connect the face with what is on the other side of it
    answering(monkeypatch, np.ones((128, 128), np.float32))
    inside = INSIDE.copy()
    inside[:, 90:110] = 0
    assert make_matte(IMAGE, oval(), inside)[:, 115:].max() == 0


def test_without_landmarks_the_centre_stands_for_the_face(monkeypatch):
    answering(monkeypatch, np.maximum(disc(0.5, 0.5, 0.25), disc(0.9, 0.9, 0.08)))
    matte = make_matte(IMAGE, np.full((478, 3), np.nan), INSIDE)
    assert matte[64, 64] == 1
    assert matte[100:, 100:].max() == 0


def test_a_doubtful_haze_is_removed_and_a_likely_one_kept(monkeypatch):
    mask = disc(0.5, 0.5, 0.3)
    mask[:, :64] *= 0.8
    mask[:, 110:] = 0.25
    answering(monkeypatch, mask)
    matte = make_matte(IMAGE, oval(), INSIDE)
    assert matte[64, 30] == 1
    assert matte[:, 114:].max() == 0
