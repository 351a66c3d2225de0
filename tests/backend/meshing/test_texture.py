import numpy as np
import pytest
from headstitch.backend.camera import Camera
from headstitch.backend.meshing.surface import extract_surface
from headstitch.backend.meshing.texture import _REACH, bake_texture
from headstitch.backend.options import Options
from headstitch.backend.portrait.portrait import SIZE, Crop, Portrait

RADIUS = 0.25
TEXTURE = 512
STEP = 1 / 255  # of a stored colour
CAMERA = Camera.from_angles()
BALL = [((0, 0, 0), RADIUS, 1)]


def covered_by(parts, camera, size=SIZE, scale=4):
    """(size, size) float32: how much of each pixel the balls cover."""
    rays = camera.rays(size * scale).astype(np.float64)
    origin, direction = rays[0, 0, :3], rays[..., 3:]
    hit = np.zeros(rays.shape[:2], bool)
    for centre, radius, _ in parts:
        along = direction @ (np.array(centre) - origin)
        hit |= np.linalg.norm(centre - origin) ** 2 - along**2 < radius**2
    return hit.reshape(size, scale, size, scale).mean(axis=(1, 3)).astype(np.float32)


def photograph(picture, matte, camera=CAMERA):
    """A portrait without landmarks, whose crop is the whole photo: picture (512, 512, 3) in [0, 1]."""
    image = np.round(np.asarray(picture) * 255).astype(np.uint8)
    return Portrait(
        photo=image,
        crop=Crop(SIZE / 2, SIZE / 2, SIZE, 0.0),
        image=image,
        matte=matte,
        landmarks=np.full((478, 3), np.nan, np.float32),
        camera=camera,
        sha256="0" * 64,
    )


def flat(*color):
    return np.broadcast_to(np.float64(color), (SIZE, SIZE, 3))


def shaded(where):
    """A colour that changes over the picture: (N, 3) at places (N, 2) in image widths."""
    return np.stack([0.3 + 0.4 * where[:, 0], 0.3 + 0.4 * where[:, 1], np.full(len(where), 0.5)], axis=1)


def gradient():
    at = (np.arange(SIZE) + 0.5) / SIZE
    return shaded(np.stack(np.meshgrid(at, at), axis=-1).reshape(-1, 2)).reshape(SIZE, SIZE, 3)


def two_discs(mesh):
    """Corner UVs (F, 3, 2): the front of a ball about the origin in one disc and its back in another, equidistant."""
    corners = mesh.vertices[mesh.faces].astype(np.float64)
    front = corners.mean(axis=1)[:, 2] > 0
    side = np.where(front, 1.0, -1.0)[:, None]
    direction = corners / np.linalg.norm(corners, axis=2, keepdims=True)
    polar = np.arccos(np.clip(direction[..., 2] * side, -1, 1))
    turn = np.arctan2(direction[..., 1], direction[..., 0] * side)
    disc = 0.22 * polar / (np.pi / 2)
    middle = np.where(front, 0.25, 0.75)[:, None]
    return np.stack([middle + disc * np.cos(turn), 0.5 + disc * np.sin(turn)], axis=2).astype(np.float32)


@pytest.fixture(scope="module")
def ball(balls):
    mesh, _ = extract_surface(balls(BALL), Options(resolution=64, faces=6000))
    return mesh


@pytest.fixture(scope="module")
def bake(ball, balls):
    """Function of a portrait and the field's colour: the baked ball."""

    def make(portrait, paint):
        return bake_texture(ball, two_discs(ball), balls(BALL, paint=paint), portrait, TEXTURE)

    return make


def constant(*color):
    return lambda points: np.broadcast_to(np.float32(color), (len(points), 3)).copy()


def at_faces(baked):
    """Each face's middle in the world (F, 3), and the albedo there (F, 3) in [0, 1]."""
    textured = baked.textured
    uv = textured.corner_uvs.mean(axis=1) * TEXTURE
    row, column = (TEXTURE - uv[:, 1]).astype(int), uv[:, 0].astype(int)
    return textured.mesh.vertices[textured.mesh.faces].mean(axis=1), textured.albedo[row, column] / 255


def cosines(points, camera=CAMERA, centre=(0, 0, 0)):
    """(N,) cosine between a ball's normal and the way to the camera."""
    normal = points - np.array(centre)
    way = camera.position - points
    return (normal * way).sum(axis=1) / np.linalg.norm(normal, axis=1) / np.linalg.norm(way, axis=1)


@pytest.fixture(scope="module")
def gradient_on_ball(bake):
    portrait = photograph(gradient(), covered_by(BALL, CAMERA))
    return portrait, bake(portrait, lambda points: 0.45 + 0.3 * points.numpy())


def test_what_the_photo_sees_face_on_has_the_photos_color(gradient_on_ball):
    """To a step for rounding in photo and texture, and for the texel's centre being up to a texel (0.0035 units, a
    gradient of 0.002 in colour) from the face's."""
    _, baked = gradient_on_ball
    points, color = at_faces(baked)
    sure = (baked.photo_weight == 1).all(axis=1)
    assert (cosines(points)[sure] > 0.4).all()
    assert sure.sum() > 0.15 * len(points)
    np.testing.assert_allclose(color[sure], shaded(CAMERA.project(points[sure])[:, :2]), rtol=0, atol=STEP + 0.003)


def test_the_back_has_the_fields_color(gradient_on_ball):
    """The correction decays like exp(-way / reach) behind the border of what the photo sees."""
    _, baked = gradient_on_ball
    points, color = at_faces(baked)
    behind = np.arccos(np.clip(cosines(points), -1, 1))
    border = behind[(baked.photo_weight > 0).any(axis=1)].max()
    back = behind > border + 1.0
    assert back.sum() > 0.1 * len(points)
    expected = 0.45 + 0.3 * points
    largest = np.abs(shaded(CAMERA.project(points)[:, :2]) - expected).max()
    bound = largest * np.exp(-RADIUS * (behind - border) / _REACH)
    assert (np.abs(color - expected)[back] <= bound[back, None] + 2 * STEP + 0.3 * 0.0035).all()


def test_weights_are_shares_and_nothing_at_grazing_angles(gradient_on_ball):
    _, baked = gradient_on_ball
    mesh, weight = baked.textured.mesh, baked.photo_weight
    assert weight.shape == mesh.faces.shape
    assert weight.dtype == np.float32
    assert weight.min() == 0
    assert weight.max() == 1
    cosine = cosines(mesh.vertices)[mesh.faces]
    assert (weight[cosine < 0.05] == 0).all()
    assert weight[cosine < 0.3].max() < 0.2


def test_a_vertex_has_one_weight_in_all_its_faces(gradient_on_ball):
    _, baked = gradient_on_ball
    faces = baked.textured.mesh.faces
    low, high = np.full(faces.max() + 1, np.inf), np.full(faces.max() + 1, -np.inf)
    np.minimum.at(low, faces, baked.photo_weight)
    np.maximum.at(high, faces, baked.photo_weight)
    np.testing.assert_array_equal(low, high)


def test_the_same_bake_comes_out_twice(gradient_on_ball, bake):
    portrait, first = gradient_on_ball
    again = bake(portrait, lambda points: 0.45 + 0.3 * points.numpy())
    np.testing.assert_array_equal(again.textured.albedo, first.textured.albedo)
    np.testing.assert_array_equal(again.photo_weight, first.photo_weight)


def test_result_is_a_texture_of_the_wanted_size(gradient_on_ball, ball):
    _, baked = gradient_on_ball
    assert baked.textured.albedo.shape == (TEXTURE, TEXTURE, 3)
    assert baked.textured.albedo.dtype == np.uint8
    assert baked.textured.mesh is ball


@pytest.mark.parametrize("half", [False, True], ids=["before a wall", "half hidden by it"])
def test_nothing_of_the_background_gets_onto_the_head(bake, half):
    """A red ball, a green wall, a grey field: neither has more green than red, so no mix without the wall has."""
    matte = covered_by(BALL, CAMERA)
    if half:
        matte = matte * (np.arange(SIZE) > 0.45 * SIZE)
    picture = matte[..., None] * flat(0.8, 0.3, 0.2) + (1 - matte[..., None]) * flat(0, 1, 0)
    baked = bake(photograph(picture, matte), constant(0.5, 0.5, 0.5))
    albedo = baked.textured.albedo.astype(int)
    assert (albedo[..., 1] - albedo[..., 0]).max() <= 1
    assert (baked.photo_weight == 1).any()  # the photo itself is on the head
    _, color = at_faces(baked)
    seen = (baked.photo_weight == 1).all(axis=1)
    np.testing.assert_allclose(color[seen], np.tile([0.8, 0.3, 0.2], (seen.sum(), 1)), atol=STEP)


def test_a_photo_without_a_person_leaves_the_fields_color(bake):
    baked = bake(photograph(flat(0, 1, 0), np.zeros((SIZE, SIZE), np.float32)), constant(0.7, 0.5, 0.3))
    assert baked.photo_weight.max() == 0
    np.testing.assert_allclose(baked.textured.albedo / 255, np.broadcast_to([0.7, 0.5, 0.3], (512, 512, 3)), atol=STEP)


def test_without_a_portrait_the_albedo_is_the_fields_color_alone(bake):
    """To a step for rounding and for the texel's centre being up to a texel (0.0035 units) from the face's."""
    baked = bake(None, lambda points: 0.45 + 0.3 * points.numpy())
    points, color = at_faces(baked)
    np.testing.assert_allclose(color, 0.45 + 0.3 * points, rtol=0, atol=STEP + 0.3 * 0.0035)
    assert baked.photo_weight.shape == baked.textured.mesh.faces.shape
    assert baked.photo_weight.dtype == np.float32
    assert not baked.photo_weight.any()


def test_what_something_hides_gets_nothing_of_the_photo(balls):
    """A small ball before a large one: what lies in its shadow as seen from the camera has weight 0."""
    front, rear = ((0.06, 0.05, 0.3), 0.07, 1), ((0, 0, -0.05), 0.25, 1)
    field = balls([front, rear])
    mesh, report = extract_surface(field, Options(resolution=80, faces=6000))
    assert report.components == 2
    portrait = photograph(flat(0.5, 0.4, 0.3), covered_by([front, rear], CAMERA))
    uvs = np.zeros((len(mesh.faces), 3, 2), np.float32)
    weight = np.zeros(len(mesh.vertices))
    weight[mesh.faces] = bake_texture(mesh, uvs, field, portrait, 256).photo_weight

    centre, radius = np.array(front[0]), front[1]
    way = CAMERA.position - mesh.vertices
    way /= np.linalg.norm(way, axis=1, keepdims=True)
    along = ((centre - mesh.vertices) * way).sum(axis=1)
    aside = np.linalg.norm(centre - mesh.vertices - along[:, None] * way, axis=1)
    on_rear = np.abs(np.linalg.norm(mesh.vertices - np.array(rear[0]), axis=1) - rear[1]) < 0.01
    hidden = on_rear & (aside < 0.97 * radius) & (mesh.vertices[:, 2] < 0.21)
    lit = on_rear & (aside > 2.2 * radius) & (cosines(mesh.vertices, centre=rear[0]) > 0.7)
    assert hidden.sum() > 50
    assert (weight[hidden] == 0).all()
    assert lit.sum() > 10
    assert weight[lit].max() > 0.9


@pytest.fixture(scope="module")
def brighter(bake):
    """The photo is lighter than the field by 0.1 all over."""
    portrait = photograph(flat(0.6, 0.6, 0.6), np.ones((SIZE, SIZE), np.float32))
    return bake(portrait, constant(0.5, 0.5, 0.5))


def test_a_constant_difference_is_carried_over_without_a_step(brighter):
    """Along the surface the colour changes far less steeply than the photo's weight, and never beyond either colour."""
    mesh = brighter.textured.mesh
    points, color = at_faces(brighter)
    assert color.min() >= 0.5 - STEP
    assert color.max() <= 0.6 + STEP
    edges = np.sort(np.concatenate([mesh.faces[:, [0, 1]], mesh.faces[:, [1, 2]], mesh.faces[:, [2, 0]]]), axis=1)
    order = np.lexsort((edges[:, 1], edges[:, 0])).reshape(-1, 2) % len(mesh.faces)  # closed: twins stand together
    one, two = order.T
    apart = np.linalg.norm(points[one] - points[two], axis=1)
    change = np.abs(color[one] - color[two]).max(axis=1)
    weight = brighter.photo_weight.mean(axis=1)
    cross_fade = 0.1 * np.abs(weight[one] - weight[two])  # what a bare mix of the two would change by
    steepest = (cross_fade / apart).max()
    assert (change <= 0.6 * steepest * apart + 2 * STEP).all()
    assert change.max() < 0.03


def test_just_behind_the_border_the_photos_tone_goes_on(brighter):
    points, color = at_faces(brighter)
    unseen = (brighter.photo_weight == 0).all(axis=1)
    angle = np.arccos(np.clip(cosines(points), -1, 1))
    upper = points[:, 1] > 0  # below, the photo fades out above the cut of the neck
    just_behind = unseen & upper & (angle < np.radians(80))
    far_behind = unseen & upper & (angle > np.radians(165))
    assert just_behind.sum() > 20
    assert color[just_behind].mean() > 0.55
    assert color[far_behind].mean() < 0.51


def test_a_turned_camera_paints_the_side_that_it_sees(bake):
    camera = Camera.from_angles(np.radians(40), np.radians(10))
    portrait = photograph(flat(0.9, 0.2, 0.2), covered_by(BALL, camera), camera)
    baked = bake(portrait, constant(0.2, 0.2, 0.2))
    points, color = at_faces(baked)
    cosine = cosines(points, camera)
    high = points[:, 1] > -0.1
    np.testing.assert_allclose(
        color[high & (cosine > 0.8)], np.tile([0.9, 0.2, 0.2], ((high & (cosine > 0.8)).sum(), 1)), atol=STEP
    )
    assert (color[cosine < -0.8] < 0.25).all()


def test_a_crop_that_lies_turned_in_a_larger_photo_is_found(ball, balls):
    """The same gradient, hung into a photo of 900 x 700 by a crop that is shifted, turned and smaller than 512."""
    from headstitch.backend.portrait.crop import to_crop, warp

    crop = Crop(430.0, 360.0, 400.0, 0.3)
    column, row = np.meshgrid(np.arange(900) + 0.5, np.arange(700) + 0.5)
    where = to_crop(np.stack([column, row], axis=-1).reshape(-1, 2), crop)
    photo = np.round(shaded(where).clip(0, 1) * 255).astype(np.uint8).reshape(700, 900, 3)
    plain = photograph(gradient(), covered_by(BALL, CAMERA))
    portrait = Portrait(photo, crop, warp(photo, crop, SIZE), plain.matte, plain.landmarks, plain.camera, plain.sha256)
    baked = bake_texture(ball, two_discs(ball), balls(BALL), portrait, TEXTURE)
    points, color = at_faces(baked)
    sure = (baked.photo_weight == 1).all(axis=1)
    np.testing.assert_allclose(color[sure], shaded(CAMERA.project(points[sure])[:, :2]), rtol=0, atol=STEP + 0.004)
