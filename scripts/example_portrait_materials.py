"""Materials of the example portrait as Blender shader graphs: skin, eyes, hair, cloth."""

from __future__ import annotations

import bpy
import numpy as np
from example_portrait_person import IRIS_RADIUS, MASK_WINDOW, skin_masks
from headstitch.addon.cycles_heads.graph import Colour, Graph

SKIN: Colour = (0.57, 0.350, 0.250)  # linear reflectance
HAIR: Colour = (0.034, 0.017, 0.009)


def _times(colour: Colour, factors: Colour) -> Colour:
    r, g, b = np.multiply(colour, factors).tolist()
    return r, g, b


def _image(name: str, pixels: np.ndarray) -> bpy.types.Image:
    image = bpy.data.images.new(name, pixels.shape[1], pixels.shape[0], alpha=True, float_buffer=True)
    image.colorspace_settings.name = "Non-Color"
    image.alpha_mode = "CHANNEL_PACKED"
    image.pixels.foreach_set(np.ascontiguousarray(pixels, np.float32).ravel())
    return image


def skin(seed: int) -> bpy.types.Material:
    """Skin: subsurface scattering, blush, lips, shaved beard, moles, uneven shine and a fine relief."""
    g = Graph("skin")
    rest = g.attribute("rest", "Vector")
    place = g.shifted(rest, float(seed % 97))
    x, y, z = g.node("SeparateXYZ", {0: rest}).outputs
    u = g.math("MULTIPLY", g.math("SUBTRACT", x, MASK_WINDOW[0]), 1 / MASK_WINDOW[2])
    v = g.math("MULTIPLY", g.math("SUBTRACT", y, MASK_WINDOW[1]), 1 / MASK_WINDOW[3])
    window = g.node("CombineXYZ", {0: u, 1: v}).outputs[0]
    front = g.ramp(z, 0.25, 0.55)
    channels = []
    for name, pixels in zip(("masks", "more masks"), skin_masks(), strict=True):
        texture = g.node("TexImage", {0: window}, image=_image(name, pixels), extension="CLIP")
        channels += [*g.node("SeparateColor", {0: texture.outputs[0]}).outputs, texture.outputs[1]]
    lips, brow, beard, blush, rims, under, shine, seam = (g.product(c, front) for c in channels)

    broad, middle = g.noise(place, 2.5), g.noise(place, 11.0, 4)
    fine, grain = g.noise(place, 45.0, 3), g.noise(place, 110.0, 2)
    colour = g.mix(g.ramp(broad, 0.35, 0.68), SKIN, _times(SKIN, (0.94, 0.90, 0.87)))
    colour = g.mix(g.product(g.ramp(middle, 0.46, 0.70), 0.42), colour, _times(SKIN, (0.92, 0.76, 0.72)))
    colour = g.mix(g.product(g.ramp(fine, 0.48, 0.72), 0.30), colour, _times(SKIN, (0.86, 0.74, 0.68)))
    ears = g.product(g.ramp(g.math("ABSOLUTE", x), 0.72, 0.80), g.ramp(y, 6.5, 6.7))
    flush = g.math("MAXIMUM", blush, g.product(ears, 0.9))
    flush = g.product(flush, g.math("ADD", g.product(middle, 0.7), 0.30))
    colour = g.mix(flush, colour, _times(SKIN, (1.0, 0.66, 0.63)))
    shade = g.product(beard, g.math("ADD", g.product(fine, 0.9), 0.05))
    colour = g.mix(g.product(shade, 0.95), colour, _times(SKIN, (0.58, 0.62, 0.68)))
    colour = g.mix(g.product(under, 0.34), colour, _times(SKIN, (0.78, 0.64, 0.70)))
    colour = g.mix(g.product(rims, 0.62), colour, _times(SKIN, (0.80, 0.52, 0.50)))
    colour = g.mix(g.product(brow, 0.42), colour, _times(SKIN, (0.56, 0.52, 0.50)))
    spots = g.node("TexVoronoi", {"Vector": place, "Scale": 5.5}).outputs["Distance"]
    colour = g.mix(g.product(g.ramp(spots, 0.075, 0.045), g.ramp(broad, 0.50, 0.58), 0.75), colour, (0.13, 0.06, 0.04))
    lip = g.mix(g.ramp(fine, 0.35, 0.7), _times(SKIN, (0.76, 0.45, 0.44)), _times(SKIN, (0.62, 0.33, 0.33)))
    colour = g.mix(g.product(lips, 0.75), colour, lip)
    colour = g.mix(g.product(seam, 0.55), colour, _times(SKIN, (0.42, 0.17, 0.16)))
    scalp = g.attribute("scalp")
    colour = g.mix(
        g.product(scalp, g.math("ADD", g.product(fine, 1.1), -0.05)), colour, _times(SKIN, (0.26, 0.24, 0.24))
    )

    pores = g.node("TexVoronoi", {"Vector": place, "Scale": 34.0}).outputs["Distance"]
    creases = g.noise(g.scaled(place, (2.5, 13.0, 2.5)), 1.6, 4)
    furrows = g.product(g.noise(g.scaled(place, (34.0, 4.0, 4.0)), 1.0), lips)
    height = g.math("ADD", g.product(pores, 0.28), g.product(grain, 0.30))
    height = g.math("ADD", height, g.math("ADD", g.product(middle, 0.55), g.product(fine, 0.35)))
    height = g.math("ADD", height, g.math("ADD", g.product(creases, 0.18), g.product(furrows, 1.1)))
    bump = g.node("Bump", {"Strength": 0.42, "Distance": 0.02, "Height": height}).outputs[0]
    rough = g.math("ADD", 0.36, g.product(g.noise(place, 26.0, 4), 0.34))
    rough = g.math("SUBTRACT", rough, g.math("ADD", g.product(shine, 0.10), g.product(lips, 0.14)))
    return g.finish(
        g.node(
            "BsdfPrincipled",
            {
                "Base Color": colour,
                "Roughness": rough,
                "Normal": bump,
                "Specular IOR Level": 0.42,
                "IOR": 1.4,
                "Subsurface Weight": 0.9,
                "Subsurface Radius": (1.0, 0.36, 0.19),
                "Subsurface Scale": 0.024,
                "Sheen Weight": 0.06,
                "Sheen Roughness": 0.35,
            },
        ).outputs[0]
    )


def eyeball(seed: int) -> bpy.types.Material:
    """Sclera with veins, limbus and a hazel iris with fibres; attributes "rest" (local place) and "radius"."""
    g = Graph("eye")
    local = g.attribute("rest", "Vector")
    radius = g.product(g.attribute("radius"), 1 / IRIS_RADIUS)
    x, y, _ = g.node("SeparateXYZ", {0: local}).outputs
    angle = g.math("ARCTAN2", y, x)
    around = g.node("CombineXYZ", {0: g.math("COSINE", angle), 1: g.math("SINE", angle), 2: float(seed % 89)}).outputs[
        0
    ]
    fibres = g.noise(g.scaled(around, (9.0, 9.0, 1.0)), 1.3, 4)
    outer = g.mix(g.ramp(fibres, 0.3, 0.7), (0.045, 0.035, 0.015), (0.21, 0.17, 0.085))
    inner = g.mix(g.ramp(fibres, 0.3, 0.7), (0.07, 0.030, 0.010), (0.24, 0.115, 0.035))
    iris = g.mix(g.ramp(radius, 0.40, 0.72), inner, outer)
    iris = g.mix(g.ramp(radius, 0.80, 1.0), iris, (0.016, 0.014, 0.012))
    iris = g.mix(g.ramp(radius, 0.37, 0.33), iris, (0.002, 0.002, 0.002))
    veins = g.ramp(g.noise(g.scaled(local, (4.5, 9.0, 4.5)), 1.0, 6, 0.7), 0.54, 0.72)
    white = g.mix(g.product(veins, 0.30), (0.68, 0.62, 0.575), (0.52, 0.25, 0.21))
    white = g.mix(g.product(g.ramp(radius, 1.45, 2.3), 0.75), white, (0.50, 0.30, 0.26))
    colour = g.mix(g.ramp(radius, 0.95, 1.10), iris, white)
    return g.finish(
        g.node(
            "BsdfPrincipled",
            {
                "Base Color": colour,
                "Roughness": 0.55,
                "Specular IOR Level": 0.1,
                "Subsurface Weight": g.product(g.ramp(radius, 1.0, 1.15), 0.5),
                "Subsurface Radius": (1.0, 0.5, 0.35),
                "Subsurface Scale": 0.012,
            },
        ).outputs[0]
    )


def cornea() -> bpy.types.Material:
    """A clear wet film: it reflects the lights and lets everything else through."""
    g = Graph("cornea")
    fresnel = g.node("Fresnel", {"IOR": 1.55}).outputs[0]
    gloss = g.node("BsdfGlossy", {"Roughness": 0.035}).outputs[0]
    clear = g.node("BsdfTransparent").outputs[0]
    return g.finish(g.node("MixShader", {0: fresnel, 1: clear, 2: gloss}).outputs[0])


def hair(name: str, brightness: float = 1.0, roughness: float = 0.30) -> bpy.types.Material:
    """Strands, no two of quite the same brown, a little lighter at the tips."""
    g = Graph(name)
    info = g.node("HairInfo")
    base = _times(HAIR, (brightness, brightness, brightness))
    colour = g.mix(info.outputs["Random"], _times(base, (0.62, 0.60, 0.58)), _times(base, (1.45, 1.38, 1.30)))
    colour = g.mix(g.product(info.outputs["Intercept"], 0.35), colour, _times(base, (1.75, 1.6, 1.45)))
    shader = g.node(
        "BsdfHairPrincipled",
        {"Color": colour, "Roughness": roughness, "Radial Roughness": roughness + 0.12, "Coat": 0.0},
        model="CHIANG",
        parametrization="COLOR",
    )
    shader.inputs["Random Roughness"].default_value = 0.25
    return g.finish(shader.outputs[0])


def cloth(colour: Colour) -> bpy.types.Material:
    """Knitted cotton, folded a little."""
    g = Graph("cloth")
    rest = g.attribute("rest", "Vector")
    weave = g.noise(g.scaled(rest, (1.0, 0.6, 1.0)), 70.0, 2)
    folds = g.noise(g.scaled(rest, (1.0, 0.8, 1.0)), 2.0, 3)
    tint = g.mix(weave, _times(colour, (0.75, 0.75, 0.75)), _times(colour, (1.2, 1.2, 1.2)))
    height = g.math("ADD", g.product(weave, 0.10), g.product(folds, 1.6))
    bump = g.node("Bump", {"Strength": 0.5, "Distance": 0.06, "Height": height}).outputs[0]
    inputs = {"Base Color": tint, "Roughness": 0.85, "Specular IOR Level": 0.2, "Sheen Weight": 0.25, "Normal": bump}
    return g.finish(g.node("BsdfPrincipled", inputs).outputs[0])
