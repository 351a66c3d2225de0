import numpy as np
import pytest
import torch
from headstitch.backend.camera import Camera
from headstitch.backend.errors import ResultsError
from headstitch.backend.portrait.portrait import SIZE, Crop, Portrait
from headstitch.backend.template.fit import TemplateFit
from headstitch.backend.template.make import make_template, remake_template, template_sha256


@pytest.fixture(scope="module")
def made(model, known):
    """The template made for a grey picture in which the known head's landmarks were found."""
    camera = Camera.from_angles(0.1)
    landmarks = camera.project(model.landmarks(known.vertices(model)))
    image = np.full((SIZE, SIZE, 3), 128, np.uint8)
    portrait = Portrait(
        photo=image,
        crop=Crop(SIZE / 2, SIZE / 2, SIZE, 0.0),
        image=image,
        matte=np.ones((SIZE, SIZE), np.float32),
        landmarks=landmarks.astype(np.float32),
        camera=camera,
        sha256="0" * 64,
    )
    return portrait, *make_template(portrait, torch.device("cpu"))


def test_latent_holds_all_that_the_field_was_made_from(made, model):
    portrait, _, latent = made
    shapes = {name: array.shape for name, array in latent.items()}
    assert shapes == {
        "template.coefficients": (len(model.components),),
        "template.rotation": (3,),
        "template.shift": (3,),
        "template.log_scale": (1,),
        "template.hair": (2,),
        "palette.skin": (3,),
        "palette.hair": (3,),
        "palette.hair_unevenness": (1,),
        "camera": (25,),
    }
    assert all(array.dtype == np.float32 for array in latent.values())
    np.testing.assert_array_equal(latent["camera"], portrait.camera.label)
    np.testing.assert_allclose(latent["palette.skin"], 128 / 255, atol=1e-6)


def test_the_latents_head_is_the_fields_surface(made, model):
    """The body's vertices, placed by the latent: on the surface but for the subdivision, which moves them inwards by
    some tenths of a millimetre where the mesh is curved, and millimetres at the sharpest rims."""
    _, field, latent = made
    fit = TemplateFit(
        *(latent[f"template.{name}"].astype(np.float64) for name in ("coefficients", "rotation", "shift")),
        float(latent["template.log_scale"][0]),
        0.0,
    )
    landmarks = model.landmarks(fit.vertices(model))[model.landmark_used]
    distance = field._grid.sample_distance(torch.tensor(landmarks, dtype=torch.float32)).abs()
    assert distance.median() < 0.002
    assert distance.max() < 0.02


def test_the_made_head_meets_the_photos_landmarks(made, model):
    portrait, _, latent = made
    fit = TemplateFit(
        *(latent[f"template.{name}"].astype(np.float64) for name in ("coefficients", "rotation", "shift")),
        float(latent["template.log_scale"][0]),
        0.0,
    )
    seen = portrait.camera.project(model.landmarks(fit.vertices(model)))[:, :2]
    assert np.linalg.norm(seen - portrait.landmarks[:, :2], axis=1)[model.landmark_used].mean() < 0.002  # one pixel


def test_the_latent_alone_gives_the_same_field_to_the_bit(made):
    _, field, latent = made
    again = remake_template(latent, torch.device("cpu"))
    assert again.box == field.box
    assert torch.equal(again._grid.distance, field._grid.distance)
    points = torch.rand(2000, 3, generator=torch.Generator().manual_seed(0)) * 0.6 - 0.3
    assert torch.equal(again.color(points), field.color(points))


def test_a_latent_that_is_not_whole_is_refused_with_a_sentence(made):
    _, _, latent = made
    for spoilt in (
        {name: array for name, array in latent.items() if name != "palette.hair"},
        {**latent, "template.coefficients": np.zeros(3, np.float32)},
        {**latent, "template.log_scale": np.zeros(2, np.float32)},
        {**latent, "template.hair": np.zeros(3, np.float32)},
    ):
        with pytest.raises(ResultsError, match=r"not whole .*make the head anew\.$"):
            remake_template(spoilt, torch.device("cpu"))


def test_a_head_of_an_earlier_version_has_no_thickness_of_hair(made):
    _, field, latent = made
    assert latent["template.hair"].max() > 0
    old = remake_template({name: array for name, array in latent.items() if name != "template.hair"}, field.device)
    bald = remake_template({**latent, "template.hair": np.zeros(2, np.float32)}, field.device)
    assert torch.equal(old._grid.distance, bald._grid.distance)
    assert field.box.high[1] > old.box.high[1] + 0.01


def test_template_is_known_by_one_hash():
    assert len(template_sha256()) == 64
    assert int(template_sha256(), 16) >= 0
    assert template_sha256() == template_sha256()
