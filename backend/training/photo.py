"""What cameras and the ways of pictures do to photos: blur, noise, white balance, exposure, contrast, JPEG."""

from __future__ import annotations

from dataclasses import asdict, dataclass

import cv2
import numpy as np

from .draw import encoded


@dataclass(frozen=True)
class Damage:
    """What is done to one photo; the defaults do nothing. Lengths in pixels of a picture 256 wide."""

    exposure: float = 0.0  # stops
    red: float = 1.0  # gains of a wrong white balance
    blue: float = 1.0
    contrast: float = 1.0  # about middle grey, encoded
    gamma: float = 1.0
    saturation: float = 1.0
    vignette: float = 0.0  # share of light that the corners lose
    defocus: float = 0.0  # radius of the blur's disc
    motion: float = 0.0  # length of the blur's line
    angle: float = 0.0  # its direction, radians
    shot: float = 0.0  # noise of middle grey that grows with the root of light
    read: float = 0.0  # noise of black
    blotch: float = 1.0  # grain of the noise in pixels: reduced resolution and cleaning make it coarse
    smaller: float = 1.0  # factor by which the picture once was smaller
    sharpen: float = 0.0  # strength of the halo
    jpeg: int = 0  # quality; 0: never compressed

    @property
    def amount(self) -> float:
        """How badly it was treated, about 0 .. 5: blur, noise and compression in the units of their usual worst."""
        blur = self.defocus / 2.5 + self.motion / 5 + (self.smaller - 1) / 1.5
        return float(blur + (self.shot + self.read) / 0.05 + (max(0, 60 - self.jpeg) / 40 if self.jpeg else 0))


def draw_damage(random: np.random.Generator) -> Damage:
    """Damage by lot. Two of three photos are treated mildly: each range is a third as wide then.

    Chances and ranges at their full width: exposure always, deviation 0.35 stops; white balance always, 10 %; contrast
    and gamma always, 12 %; saturation always, 15 %; vignette 0.35, to 0.4; defocus 0.35, to 2.5 px; motion 0.12,
    to 5 px; noise 0.8, to 0.05; once smaller 0.25, to 2.5 times; sharpened 0.3, to 1.2; JPEG 4:2:0 0.85, quality 30
    to 97.
    """
    hard = 1.0 if random.random() < 1 / 3 else 1 / 3

    def chance(share: float, value: float) -> float:
        return value if random.random() < share else 0.0

    noise = chance(0.8, hard * random.beta(1.2, 2.5) * 0.05)
    return Damage(
        exposure=float(np.clip(random.normal(0, 0.35 if hard == 1 else 0.2), -1, 0.8)),
        red=float(np.exp(random.normal(0, 0.10 * hard))),
        blue=float(np.exp(random.normal(0, 0.12 * hard))),
        contrast=float(np.exp(random.normal(0.03, 0.12 * max(hard, 0.6)))),
        gamma=float(np.exp(random.normal(0, 0.12 * max(hard, 0.6)))),
        saturation=float(np.exp(random.normal(0.0, 0.15))),
        vignette=chance(0.35, random.uniform(0.05, 0.4 * max(hard, 0.5))),
        defocus=chance(0.35, random.uniform(0.3, 0.3 + 2.2 * hard)),
        motion=chance(0.12, random.uniform(1.0, 1.0 + 4.0 * hard)),
        angle=float(random.uniform(0, np.pi)),
        shot=noise,
        read=0.35 * noise * random.uniform(0, 1),
        blotch=float(random.choice([1.0, 1.0, 1.4, 2.0])),
        smaller=1 + chance(0.25, random.uniform(0.1, 0.1 + 1.4 * hard)),
        sharpen=chance(0.3, random.uniform(0.1, 1.2 * max(hard, 0.5))),
        jpeg=int(chance(0.85, random.uniform(30 if hard == 1 else 72, 97))),
    )


def develop(scene: np.ndarray, damage: Damage, random: np.random.Generator) -> np.ndarray:
    """(S, S, 3) uint8 sRGB of a linear scene (S, S, 3) float32, after what its camera and its way did to it."""
    size = len(scene)
    scale = size / 256
    light = scene * np.float32(2.0**damage.exposure)
    if damage.vignette:
        at = (np.arange(size, dtype=np.float32) + 0.5) / size * 2 - 1
        light = light * (1 - damage.vignette * 0.5 * (at**2 + at[:, None] ** 2))[..., None].astype(np.float32)
    if damage.defocus * scale > 0.3:
        light = cv2.filter2D(light, -1, _disc(damage.defocus * scale))
    if damage.motion * scale > 1:
        light = cv2.filter2D(light, -1, _line(damage.motion * scale, damage.angle))
    light = light * np.array([damage.red, 1.0, damage.blue], np.float32)
    if damage.shot or damage.read:
        light = light + _noise(light, damage, random)
    picture = encoded(np.maximum(light, 0)).astype(np.float32)
    gray = picture @ np.array([0.299, 0.587, 0.114], np.float32)
    picture = gray[..., None] + damage.saturation * (picture - gray[..., None])
    picture = np.clip(0.45 + damage.contrast * (picture - 0.45), 0, 1) ** np.float32(damage.gamma)
    if damage.smaller > 1.02:
        small = max(int(size / damage.smaller), 8)
        picture = cv2.resize(picture, (small, small), interpolation=cv2.INTER_AREA)
        picture = cv2.resize(picture, (size, size), interpolation=cv2.INTER_CUBIC)
    if damage.sharpen:
        picture = picture + damage.sharpen * (picture - cv2.GaussianBlur(picture, (0, 0), 1.2 * scale))
    image = np.rint(255 * np.clip(picture, 0, 1)).astype(np.uint8)
    return _compressed(image, damage.jpeg) if damage.jpeg else image


def told(damage: Damage) -> dict[str, float | str]:
    """What a view's attributes say of it: every number that does something."""
    plain = asdict(Damage())
    shown = {f"photo_{key}": round(float(value), 4) for key, value in asdict(damage).items() if value != plain[key]}
    return {"damage": round(damage.amount, 3), **shown}


def _disc(radius: float) -> np.ndarray:
    reach = int(np.ceil(radius + 0.5))
    at = np.arange(-reach, reach + 1)
    disc = np.clip(radius + 0.5 - np.hypot(at, at[:, None]), 0, 1)
    return (disc / disc.sum()).astype(np.float32)


def _line(length: float, angle: float) -> np.ndarray:
    reach = int(np.ceil(length / 2))
    kernel = np.zeros((2 * reach + 1,) * 2, np.float32)
    step = 0.5 * length * np.array([np.cos(angle), np.sin(angle)])
    start, end = (tuple(np.round((reach + way * step) * 256).astype(int).tolist()) for way in (-1, 1))
    cv2.line(kernel, start, end, (1.0,), 1, cv2.LINE_AA, 8)
    if not kernel.sum():
        kernel[reach, reach] = 1
    return kernel / kernel.sum()


def _noise(light: np.ndarray, damage: Damage, random: np.random.Generator) -> np.ndarray:
    """Shot noise of deviation shot x sqrt(light / 0.18) x 0.18 and read noise, most of it shared by the channels."""
    size = len(light)
    small = max(int(size / damage.blotch), 8)
    grain = random.standard_normal((small, small, 4), np.float32)
    grain = grain[..., :3] * np.float32(0.75) + grain[..., 3:] * np.float32(0.66)
    if small != size:
        grain = cv2.resize(grain, (size, size), interpolation=cv2.INTER_CUBIC) * np.float32(1.2)
    deviation = np.sqrt(damage.shot**2 * np.maximum(light, 0) * 0.5 + (0.2 * damage.read) ** 2)
    return (grain * deviation).astype(np.float32)


def _compressed(image: np.ndarray, quality: int) -> np.ndarray:
    settings = [cv2.IMWRITE_JPEG_QUALITY, quality]
    settings += [cv2.IMWRITE_JPEG_SAMPLING_FACTOR, cv2.IMWRITE_JPEG_SAMPLING_FACTOR_420]
    done, data = cv2.imencode(".jpg", np.ascontiguousarray(image[..., ::-1]), settings)
    if not done:
        raise ValueError(f"a picture of {image.shape} cannot be compressed")
    return np.ascontiguousarray(cv2.imdecode(data, cv2.IMREAD_COLOR)[..., ::-1])
