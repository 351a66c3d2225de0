"""The way into the portrait floor: any photo to a Portrait."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from ..camera import Camera
from ..errors import FaceError, OptionError
from ..options import Options
from .crop import coverage, to_crop, to_photo, warp
from .faces import Face, central_mesh, find_faces, unsteadiness
from .image import Photo, load_photo
from .matte import make_matte
from .portrait import SIZE, Crop, Portrait
from .pose import fit_camera, fit_crop, fit_similarity

SMALL_FACE = 64  # pixels of the photo; a narrower face has too little detail for a texture
# The fitted yaw falls short of the true one by 5 degrees at 63, stalls at about 60 for a true 75, and shrinks again
# beyond: a profile shows itself only in landmarks that will not stay in place.
MAX_YAW = np.radians(70)
DOUBTFUL_YAW = np.radians(50)
MAX_UNSTEADINESS = 0.5  # cm
MAX_RESIDUAL = 1.5  # cm on the rigid points; 0.25 to 0.6 as a rule, 1.1 for a hearty laugh
MAX_DISAGREEMENT = np.radians(
    35
)  # between angles given by hand and the landmarks; beyond, the landmarks are not this face's
TURNED = np.radians(30)
CUT_FACE = 0.03  # share of the landmarks that may lie outside the photo
LARGEST_CROP = 4.0  # longest sides of the photo

_BY_HAND = "give --angles YAW PITCH ROLL in degrees and --crop COLUMN ROW SIDE ANGLE by hand"


def make_portrait(photo: str | Path | np.ndarray, options: Options) -> Portrait:
    """Find the face in a photo and align it.

    A camera given as ``options.angles`` replaces the fitted one, a crop given as ``options.crop`` the fitted crop. With
    both, a photo without landmarks (a profile, the back of a head) still gives a portrait: see ``Portrait.landmarks``.

    Args:
        photo: a file, or a uint8 array; see ``image.load_photo``.
        options: only ``face``, ``angles`` and ``crop`` are used.

    Raises:
        PhotoError: the photo cannot be read.
        FaceError: no usable face in it.
        OptionError: ``options`` ask for something that this photo does not have.
    """
    loaded = load_photo(photo)
    name = "the photo" if isinstance(photo, np.ndarray) else Path(photo).name
    notes = list(loaded.warnings)
    if options.crop is None:
        face = _choose(find_faces(loaded.pixels), options, name, notes)
        crop, landmarks = _align(loaded.pixels, face)
    else:
        crop = _crop_by_hand(options.crop, loaded)
        landmarks = _landmarks_in(loaded.pixels, crop)
        if options.face is not None:
            notes.append(f"--face {options.face} is not used, because --crop says where the face is.")
    image = warp(loaded.pixels, crop, SIZE)
    camera, landmarks = _camera(loaded.pixels, crop, landmarks, options, name, notes)
    inside = coverage(loaded.pixels.shape, crop, SIZE)
    _warn_of_crop(loaded.pixels, crop, landmarks, inside, notes)
    if loaded.alpha is not None:
        inside = inside * (warp(loaded.alpha, crop, SIZE).astype(np.float32) / 255)
    return Portrait(
        photo=loaded.pixels,
        crop=crop,
        image=image,
        matte=make_matte(image, landmarks, inside),
        landmarks=landmarks.astype(np.float32),
        camera=camera,
        sha256=loaded.sha256,
        warnings=tuple(notes),
        scale=loaded.scale,
    )


def _choose(faces: list[Face], options: Options, name: str, notes: list[str]) -> Face:
    count = len(faces)
    if not faces:
        raise FaceError(
            f"No face was found in {name}; use a photo in which a face looks roughly at the camera, or {_BY_HAND}."
        )
    if options.face is None:
        if count > 1:
            others = "--face 2" if count == 2 else f"--face 2 to --face {count}"
            notes.append(
                f"{count} faces were found and the largest is taken; {others} takes another, in order of size."
            )
        return faces[0]
    if options.face > count:
        found = "only one face was" if count == 1 else f"only {count} faces were"
        raise OptionError(f"--face is {options.face}, but {found} found in {name}; give a number from 1 to {count}.")
    return faces[options.face - 1]


def _align(pixels: np.ndarray, face: Face) -> tuple[Crop, np.ndarray]:
    """The crop, corrected once on what FaceMesh sees in it, and the landmarks (478, 3) seen in the corrected one."""
    landmarks = face.landmarks
    crop = fit_crop(landmarks)
    seen = central_mesh(warp(pixels, crop, SIZE))
    if seen is not None:
        landmarks = to_photo(seen, crop)
        crop = fit_crop(landmarks)
        seen = central_mesh(warp(pixels, crop, SIZE))
    return crop, to_crop(landmarks, crop) if seen is None else seen


def _crop_by_hand(given: tuple[float, float, float, float], loaded: Photo) -> Crop:
    column, row, side = (value * loaded.scale for value in given[:3])
    height, width = loaded.pixels.shape[:2]
    reach = side / 2
    touches = -reach < column < width + reach and -reach < row < height + reach
    if not (touches and side <= LARGEST_CROP * max(height, width)):
        size = f"{width / loaded.scale:.0f}x{height / loaded.scale:.0f}"
        raise OptionError(
            f"--crop {' '.join(f'{value:g}' for value in given)} lies outside the photo or is far larger than it; "
            f"give centre and side in pixels of the upright photo, which has {size}."
        )
    return Crop(column, row, side, float(np.radians(given[3])))


def _landmarks_in(pixels: np.ndarray, crop: Crop) -> np.ndarray:
    """(478, 3) in crop widths, NaN where no face is found in a crop that was given by hand."""
    size = 2 * SIZE
    image = warp(pixels, crop, size)
    seen = central_mesh(image)
    if seen is None:
        faces = find_faces(image)
        if not faces:
            return np.full((478, 3), np.nan)
        seen = min((face.landmarks / size for face in faces), key=lambda points: _off_centre(points))
    return seen


def _off_centre(landmarks: np.ndarray) -> float:
    return float(np.linalg.norm(landmarks[:, :2].mean(axis=0) - 0.5))


def _camera(
    pixels: np.ndarray, crop: Crop, landmarks: np.ndarray, options: Options, name: str, notes: list[str]
) -> tuple[Camera, np.ndarray]:
    """The camera, given or fitted; and the landmarks, NaN when they cannot be this face's."""
    found = bool(np.isfinite(landmarks).all())
    fitted = fit_camera(landmarks) if found else None
    lost = fitted is not None and _is_lost(pixels, crop, landmarks, abs(fitted.angles[0]))
    if options.angles is None:
        if fitted is None:
            raise FaceError(f"No face was found inside --crop in {name}; move the crop, or give --angles as well.")
        if lost:
            raise FaceError(
                f"The head in {name} is turned too far for its pose to be measured; "
                f"use a photo that is turned by less than 70 degrees, or {_BY_HAND}."
            )
        yaw = abs(fitted.angles[0])
        if yaw > DOUBTFUL_YAW:
            notes.append(
                f"The head is turned by {np.degrees(yaw):.0f} degrees or more, where its pose is uncertain; "
                "--angles and --crop correct it."
            )
        return fitted, landmarks
    camera = Camera.from_angles(*np.radians(options.angles))
    if fitted is None:
        why = "No landmarks were found"
    elif lost:
        why = "The landmarks are no more than a guess on a head that is turned so far"
        why += "" if options.crop else ", and so is the crop (--crop corrects it)"
    elif (apart := _angle_between(camera, fitted)) > MAX_DISAGREEMENT:
        why = f"The landmarks say {np.degrees(apart):.0f} degrees other than --angles and are not used"
    else:
        return camera, landmarks
    notes.append(f"{why}: the template keeps its average shape.")
    return camera, np.full((478, 3), np.nan)


def _is_lost(pixels: np.ndarray, crop: Crop, landmarks: np.ndarray, yaw: float) -> bool:
    """Whether the landmarks are a guess: they fit no face, or a turned one and do not stay in place."""
    if yaw > MAX_YAW or fit_similarity(landmarks).residual > MAX_RESIDUAL:
        return True
    return yaw > DOUBTFUL_YAW and unsteadiness(pixels, crop, landmarks) > MAX_UNSTEADINESS


def _angle_between(a: Camera, b: Camera) -> float:
    """The angle of the rotation from one camera to the other, radians."""
    turn = a.cam2world[:3, :3].T @ b.cam2world[:3, :3]
    return float(np.arccos(np.clip((np.trace(turn) - 1) / 2, -1, 1)))


def _warn_of_crop(pixels: np.ndarray, crop: Crop, landmarks: np.ndarray, inside: np.ndarray, notes: list[str]) -> None:
    points = to_photo(landmarks, crop)[:, :2]  # comparisons with NaN are false: no landmarks, no warning
    cut = float(((points < 0) | (points > [pixels.shape[1], pixels.shape[0]])).any(axis=1).mean())
    if cut > CUT_FACE:
        notes.append(
            "The photo's border cuts through the face: what is missing is made up; use a photo that shows it all."
        )
    width = float(np.linalg.norm(points[454] - points[234]))
    if width < SMALL_FACE:
        notes.append(
            f"The face is only {width:.0f} pixels wide: expect a blurred texture, "
            f"or use a photo whose face has {SMALL_FACE} or more."
        )
    if abs(crop.angle) > TURNED:
        notes.append(
            f"The head lies {np.degrees(abs(crop.angle)):.0f} degrees off upright in the photo and was turned; "
            "check the result, or turn the photo first."
        )
    if inside.mean() < 0.7:
        notes.append(
            f"{1 - inside.mean():.0%} of the crop lie outside the photo; "
            "a photo with more room around the head does better."
        )
