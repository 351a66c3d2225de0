"""A Blender material whose nodes are written as expressions. Needs bpy alone."""
# pyright: reportMissingImports=false, reportAttributeAccessIssue=false
# (the bpy package carries no types)

from __future__ import annotations

from typing import Any

import bpy

Colour = tuple[float, float, float]


class Graph:
    """A material whose nodes are written as expressions."""

    def __init__(self, name: str):
        self.material = bpy.data.materials.new(name)
        self.material.use_nodes = True
        self.tree = self.material.node_tree
        self.tree.nodes.clear()
        self.output = self.node("OutputMaterial")

    def node(self, kind: str, inputs: dict[Any, Any] | None = None, **settings: Any) -> Any:
        """A node with settings; an input takes a number, a colour, a vector or another node's output."""
        node = self.tree.nodes.new("ShaderNode" + kind)
        for key, value in settings.items():
            setattr(node, key, value)
        for key, value in (inputs or {}).items():
            self.plug(node.inputs[key], value)
        return node

    def plug(self, socket: Any, value: Any) -> None:
        """Link or set one input."""
        if isinstance(value, bpy.types.NodeSocket):
            self.tree.links.new(value, socket)
        elif socket.type == "RGBA" and len(value) == 3:
            socket.default_value = (*value, 1.0)
        else:
            socket.default_value = value

    def math(self, operation: str, a: Any, b: Any = 0.0) -> Any:
        """A number from two."""
        return self.node("Math", {0: a, 1: b}, operation=operation).outputs[0]

    def product(self, *factors: Any) -> Any:
        """The product of numbers."""
        result = factors[0]
        for factor in factors[1:]:
            result = self.math("MULTIPLY", result, factor)
        return result

    def mix(self, factor: Any, a: Any, b: Any, mode: str = "MIX") -> Any:
        """A colour between two."""
        return self.node("MixRGB", {0: factor, 1: a, 2: b}, blend_type=mode).outputs[0]

    def noise(self, place: Any, scale: float, detail: float = 3.0, roughness: float = 0.55) -> Any:
        """Fractal noise, about 0.3 to 0.7."""
        inputs = {"Vector": place, "Scale": scale, "Detail": detail, "Roughness": roughness}
        return self.node("TexNoise", inputs).outputs["Fac"]

    def ramp(self, value: Any, start: float, end: float) -> Any:
        """Smoothstep from 0 at start to 1 at end."""
        inputs = {"Value": value, "From Min": start, "From Max": end}
        return self.node("MapRange", inputs, interpolation_type="SMOOTHSTEP").outputs[0]

    def attribute(self, name: str, output: str = "Fac") -> Any:
        """A geometry attribute."""
        return self.node("Attribute", attribute_name=name).outputs[output]

    def shifted(self, place: Any, by: float) -> Any:
        """Places moved by the same number on each axis, so that seeds differ."""
        return self.node("VectorMath", {0: place, 1: (by, by, by)}, operation="ADD").outputs[0]

    def scaled(self, place: Any, by: Colour) -> Any:
        """Places scaled by axis."""
        return self.node("VectorMath", {0: place, 1: by}, operation="MULTIPLY").outputs[0]

    def finish(self, shader: Any) -> bpy.types.Material:
        """The material with this surface."""
        self.tree.links.new(shader, self.output.inputs[0])
        return self.material
