"""Files in the layout of the official ones, with name-seeded or random weights; written with ``opcodes`` alone."""

from __future__ import annotations

import json
import struct
from pathlib import Path
from typing import Any

import numpy as np

DATA = Path(__file__).parents[2] / "data"
SOURCE = "import pathlib\npathlib.Path({sentinel!r}).touch()\n"

OLD_HOOKS = (  # what nn.Module of torch 1.11 keeps beside its tensors
    *("_backward_hooks", "_forward_hooks", "_forward_pre_hooks", "_state_dict_hooks"),
    "_load_state_dict_pre_hooks",
)
NEW_HOOKS = (
    *(*OLD_HOOKS, "_backward_pre_hooks", "_forward_hooks_with_kwargs", "_forward_hooks_always_called"),
    *("_forward_pre_hooks_with_kwargs", "_state_dict_pre_hooks", "_load_state_dict_post_hooks"),
)
CLASSES = {
    "": "TriPlaneGenerator",
    "backbone": "Generator",
    "backbone.mapping": "MappingNetwork",
    "t_mapping": "MappingNetwork",
    "backbone.synthesis": "SynthesisNetwork",
    "bcg_synthesis": "SynthesisNetwork",
    "superresolution": "SuperresolutionHybrid",
    "decoder": "OSGDecoder",
    "torgb": "ToRGBLayer",
}


class PanoHeadFile:
    """A pickle as the official training writes one.

    Args:
        o: the module ``opcodes``.
        params: tests/data/panohead_params_*.json, for the kinds of the tensors and the configuration.
        arrays: the tensors of G_ema.
        torch: "1.11" or "2", which keep other attributes.
        numpy: 1 or 2, which spell a module differently.
        protocol: of the pickle; the official one has 4.
        sentinel: a file that would be made if the source text inside were run.
    """

    def __init__(
        self,
        o: Any,
        params: dict,
        arrays: dict[str, np.ndarray],
        *,
        torch: str = "1.11",
        numpy: int = 1,
        protocol: int = 4,
        sentinel: Path = Path("never"),
    ) -> None:
        self.o, self.params, self.torch, self.protocol = o, params, torch, protocol
        self.arrays = dict(arrays)
        self.core = "numpy.core.multiarray" if numpy == 1 else "numpy._core.multiarray"
        self.sources = [
            SOURCE.format(sentinel=str(sentinel)),
            "# long\n" * 2000 + SOURCE.format(sentinel=str(sentinel)),
        ]
        self.kinds = {tensor["name"]: tensor["kind"] for tensor in params["tensors"]}
        self.arguments = json.loads(json.dumps(params["config"]))
        self.rendering = dict(self.arguments["rendering_kwargs"], density_noise=0.0)
        self.attributes: dict[str, Any] = {"neural_rendering_resolution": 64, "z_dim": 512}
        self.meta: dict[str, Any] = {}

    def write(self) -> bytes:
        return self.o.pickled(self.top(), self.protocol)

    def top(self) -> dict:
        small = self.module("D", {"_parameters": {"b": self.o.inner_tensor(np.zeros(3, np.float32), parameter=True)}})
        return {
            "training_set_kwargs": {
                "class_name": "training.dataset.MaskLabeledDataset",
                "max_size": None,
                "xflip": True,
            },
            "G": small,
            "D": small,
            "G_ema": self.generator(),
            "augment_pipe": None,
        }

    def generator(self) -> Any:
        tree: dict = {}
        for name, array in [*self.arrays.items(), ("dataset_label_std", np.ones(25, np.float32))]:
            *way, last = name.split(".")
            node = tree
            for step in way:
                node = node.setdefault(step, {})
            node[last] = (array, self.kinds.get(name, "buffer") == "parameter")
        return self.built(tree, "")

    def built(self, tree: dict, path: str) -> Any:
        o = self.o
        tensors = {name: value for name, value in tree.items() if isinstance(value, tuple)}
        state: dict[str, Any] = {
            "_parameters": {
                name: o.inner_tensor(value[0], parameter=True) for name, value in tensors.items() if value[1]
            },
            "_buffers": {name: o.inner_tensor(value[0]) for name, value in tensors.items() if not value[1]},
            "_modules": {
                name: self.built(below, f"{path}.{name}".strip("."))
                for name, below in tree.items()
                if isinstance(below, dict)
            },
        }
        if path == "decoder.net":
            softplus = self.plain("torch.nn.modules.activation", "Softplus", {"beta": 1, "threshold": 20})
            state["_modules"] = dict(sorted({**state["_modules"], "1": softplus}.items()))
            return self.plain("torch.nn.modules.container", "Sequential", state)
        if path == "":
            state["_modules"]["renderer"] = self.module(
                "ImportanceRenderer",
                {
                    "_modules": {"ray_marcher": self.module("MipRayMarcher2", {})},
                    "plane_axes": o.inner_tensor(np.eye(3, dtype=np.float32)),
                },
            )
            state["_modules"]["ray_sampler"] = self.plain("training.volumetric_rendering.ray_sampler", "RaySampler", {})
            state |= self.attributes
            state["rendering_kwargs"] = self.easy(self.rendering)
            state["_init_args"] = ()
            state["_init_kwargs"] = self.easy(self.arguments)
            state["_last_planes"] = None
        else:
            state |= {
                "weight_gain": self.scalar(0.0441941738),
                "act_gain": self.scalar(1.4142135),
                "activation": "lrelu",
            }
        return self.module(CLASSES.get(path, "SynthesisLayer"), state)

    def attributes_of(self, state: dict[str, Any]) -> dict[str, Any]:
        """What every nn.Module keeps, in the manner of that version of torch."""
        old, o = self.torch == "1.11", self.o
        full: dict[str, Any] = {"training": False}
        for key in ("_parameters", "_buffers", "_modules"):
            full[key] = o.ordered(state.get(key, {})) if old else state.get(key, {})
        full["_parameters"] = full["_parameters"] if full["_parameters"] != {} else {"bias": None}
        full["_non_persistent_buffers_set"] = {"ghost"} if "_init_kwargs" in state else set()
        full |= {hook: o.ordered({}) for hook in (OLD_HOOKS if old else NEW_HOOKS)} | {"_is_full_backward_hook": None}
        return full | {key: value for key, value in state.items() if key not in full}

    def module(self, name: str, state: dict[str, Any]) -> Any:
        meta = {
            "type": "class",
            "version": 6,
            "module_src": self.sources[len(name) % 2],
            "class_name": name,
            "state": self.attributes_of(state),
        } | self.meta
        return self.o.Call(self.o.Global("torch_utils.persistence", "_reconstruct_persistent_obj"), (meta,))

    def plain(self, module: str, name: str, state: dict[str, Any]) -> Any:
        return self.o.New(self.o.Global(module, name), state=self.attributes_of(state))

    def easy(self, values: dict[str, Any]) -> Any:
        items = {key: self.easy(value) if isinstance(value, dict) else value for key, value in values.items()}
        return self.o.New(self.o.Global("dnnlib.util", "EasyDict"), items=items)

    def scalar(self, value: float) -> Any:
        o = self.o
        kind = o.Built(o.Call(o.Global("numpy", "dtype"), ("f8", False, True)), (3, "<", None, None, None, -1, -1, 0))
        return o.Call(o.Global(self.core, "scalar"), (kind, struct.pack("<d", value)))


def params(size: str = "tiny") -> dict:
    return json.loads((DATA / f"panohead_params_{size}.json").read_text())
