"""What the parts of a synthetic head are made of, as Blender's shader graphs. Colours come with the geometry.

Meshes bring the attributes "tint" (linear colour) and "rest" (the place on the mean head, world units), strands "tint":
an attribute named "color" would be the object's for Cycles.
"""

from __future__ import annotations

from typing import Any

from .graph import Graph

_DECIMETRE = 0.2366  # world units; scales of noise below are told by the decimetre
_DECIMETRES = (1 / _DECIMETRE, 1 / _DECIMETRE, 1 / _DECIMETRE)


def skin(years: float, gloss: float) -> Any:
    """Skin: light scatters below it; fine mottling, pores and creases, deeper with ``years``; ``gloss`` 0 .. 1."""
    g = Graph("skin")
    place = g.scaled(g.attribute("rest", "Vector"), _DECIMETRES)
    lips = g.attribute("lips")
    middle, fine, grain = g.noise(place, 11.0, 4), g.noise(place, 45.0, 3), g.noise(place, 110.0, 2)
    colour = g.attribute("tint", "Vector")
    colour = g.mix(g.product(g.ramp(middle, 0.46, 0.70), 0.30), colour, (0.93, 0.80, 0.77), "MULTIPLY")
    colour = g.mix(g.product(g.ramp(fine, 0.48, 0.72), 0.22), colour, (0.88, 0.78, 0.73), "MULTIPLY")
    pores = g.node("TexVoronoi", {"Vector": place, "Scale": 34.0}).outputs["Distance"]
    creases = g.noise(g.scaled(place, (2.5, 13.0, 2.5)), 1.6, 4)
    furrows = g.product(g.noise(g.scaled(place, (34.0, 4.0, 4.0)), 1.0), lips)
    height = g.math("ADD", g.product(pores, 0.28), g.product(grain, 0.30))
    height = g.math("ADD", height, g.math("ADD", g.product(middle, 0.55), g.product(fine, 0.35)))
    old = min(max((years - 25.0) / 50.0, 0.0), 1.0)
    height = g.math("ADD", height, g.math("ADD", g.product(creases, 0.15 + 0.6 * old), g.product(furrows, 1.1)))
    rough = g.math("ADD", 0.40 - 0.16 * gloss, g.product(g.noise(place, 26.0, 4), 0.26))
    rough = g.math("SUBTRACT", rough, g.product(lips, 0.14))
    return g.finish(
        g.node(
            "BsdfPrincipled",
            {
                "Base Color": colour,
                "Roughness": rough,
                "Normal": _bump(g, height, 0.30 + 0.20 * old, 0.02 * _DECIMETRE),
                "Specular IOR Level": 0.5,
                "IOR": 1.4,
                "Subsurface Weight": 0.9,
                "Subsurface Radius": (1.0, 0.36, 0.19),
                "Subsurface Scale": 0.024 * _DECIMETRE,
            },
        ).outputs[0]
    )


def cloth() -> Any:
    """Knitted cotton."""
    g = Graph("cloth")
    place = g.scaled(g.attribute("rest", "Vector"), _DECIMETRES)
    weave = g.noise(g.scaled(place, (1.0, 0.6, 1.0)), 70.0, 2)
    folds = g.noise(g.scaled(place, (1.0, 0.8, 1.0)), 2.0, 3)
    colour = g.mix(g.product(weave, 0.5), g.attribute("tint", "Vector"), (0.62, 0.62, 0.62), "MULTIPLY")
    height = g.math("ADD", g.product(weave, 0.10), g.product(folds, 1.6))
    inputs = {"Base Color": colour, "Roughness": 0.85, "Specular IOR Level": 0.2, "Sheen Weight": 0.25}
    return g.finish(g.node("BsdfPrincipled", {**inputs, "Normal": _bump(g, height, 0.5, 0.06 * _DECIMETRE)}).outputs[0])


def eye() -> Any:
    """The painted eyeball under a clear wet film that follows its cornea."""
    g = Graph("eye")
    colour = g.mix(1.0, g.attribute("tint", "Vector"), (0.80, 0.74, 0.71), "MULTIPLY")  # the lids' and lashes' shade
    inputs = {"Base Color": colour, "Roughness": 0.5, "Specular IOR Level": 0.1}
    film = {"Coat Weight": 1.0, "Coat Roughness": 0.03, "Coat IOR": 1.45}
    return g.finish(g.node("BsdfPrincipled", {**inputs, **film}).outputs[0])


def mouth() -> Any:
    """Teeth and tongue, wet."""
    g = Graph("mouth")
    inputs = {"Base Color": g.attribute("tint", "Vector"), "Roughness": 0.35, "Coat Weight": 0.5}
    return g.finish(g.node("BsdfPrincipled", {**inputs, "Coat Roughness": 0.12}).outputs[0])


def solid(roughness: float = 0.25) -> Any:
    """Something smooth, such as the frame of glasses."""
    g = Graph("solid")
    inputs = {"Base Color": g.attribute("tint", "Vector"), "Roughness": roughness}
    return g.finish(g.node("BsdfPrincipled", inputs).outputs[0])


def lens(tint: tuple[float, float, float], middle: tuple[float, float, float]) -> Any:
    """A thin pane: it mirrors a little, as if it bulged about ``middle``, tints a little, and bends nothing."""
    g = Graph("lens")
    place = g.node("NewGeometry").outputs["Position"]
    bulge = g.node("VectorMath", {0: place, 1: middle}, operation="SUBTRACT").outputs[0]
    normal = g.node("VectorMath", {0: bulge}, operation="NORMALIZE").outputs[0]
    fresnel = g.node("Fresnel", {"IOR": 1.4, "Normal": normal}).outputs[0]
    gloss = g.node("BsdfGlossy", {"Roughness": 0.02, "Normal": normal}).outputs[0]
    clear = g.node("BsdfTransparent", {"Color": tint}).outputs[0]
    return g.finish(g.node("MixShader", {0: fresnel, 1: clear, 2: gloss}).outputs[0])


def hair(roughness: float) -> Any:
    """Strands that scatter light as hairs do (Chiang et al. 2016), in colours of their own."""
    g = Graph("hair")
    inputs = {"Roughness": roughness, "Radial Roughness": roughness + 0.12, "Random Roughness": 0.25, "Coat": 0.0}
    shader = g.node(
        "BsdfHairPrincipled",
        {"Color": g.attribute("tint", "Vector"), **inputs},
        model="CHIANG",
        parametrization="COLOR",
    )
    return g.finish(shader.outputs[0])


def make_plain(material: Any) -> None:
    """Leave of a material only that it is there: without relief, so that normals are the surface's own; panes go."""
    tree = material.node_tree
    output = next(node for node in tree.nodes if node.type == "OUTPUT_MATERIAL")
    clear = any(node.type == "BSDF_TRANSPARENT" for node in tree.nodes)
    shader = tree.nodes.new("ShaderNodeBsdfTransparent" if clear else "ShaderNodeBsdfDiffuse")
    tree.links.new(shader.outputs[0], output.inputs[0])


def _bump(g: Graph, height: Any, strength: float, distance: float) -> Any:
    return g.node("Bump", {"Strength": strength, "Distance": distance, "Height": height}).outputs[0]
