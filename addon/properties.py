"""What the panel asks for: photo, model, quality, place. Kept in this module, not in the .blend.

So the path of the photo is never saved with a file, opening another file forgets nothing, undo does not touch it,
and a linked scene does not lock it.
"""
# pyright: reportAttributeAccessIssue=false, reportMissingImports=false, reportInvalidTypeForm=false
# (the bpy package carries no types, and Blender reads properties from annotations)

from __future__ import annotations

from typing import Any

import bpy
from bpy.props import BoolProperty, EnumProperty, FloatProperty, FloatVectorProperty, IntProperty, StringProperty

from . import pictures, strings
from .preferences import number_of
from .session import TEMPLATE

PRESETS: dict[str, dict[str, int]] = {  # what a preset says about the details
    "DRAFT": {"resolution": 128, "faces": 10_000, "texture_size": 1024, "smoothing": 5},
    "STANDARD": {"resolution": 256, "faces": 40_000, "texture_size": 2048, "smoothing": 5},
    "HIGH": {"resolution": 384, "faces": 100_000, "texture_size": 4096, "smoothing": 5},
}
DEFAULTS: dict[str, Any] = {
    "source": "FILE",
    "photo": "",
    "model": TEMPLATE,
    **PRESETS["STANDARD"],
    "neck": "closed",
    "uv": "parts",
    "quality": True,
    "seed": 0,
    "device": "auto",
    "debug_images": False,
    "face": 0,
    "use_angles": False,
    "angles": (0.0, 0.0, 0.0),
    "use_crop": False,
    "crop_centre": (256.0, 256.0),
    "crop_side": 512.0,
    "crop_rotation": 0.0,
    "place": "CURSOR",
    "with_camera": True,
    "photo_view": False,
    "frame_view": True,
    "as_asset": True,
    "rebuild": False,
}
CHOICES = {  # identifier, label, description; of each enum whose items are always the same
    "source": (
        ("FILE", strings.SOURCE_FILE, strings.SOURCE_FILE_DESCRIPTION),
        ("IMAGE", strings.SOURCE_IMAGE, strings.SOURCE_IMAGE_DESCRIPTION),
    ),
    "preset": (
        ("DRAFT", strings.PRESET_DRAFT, strings.PRESET_DRAFT_DESCRIPTION),
        ("STANDARD", strings.PRESET_STANDARD, strings.PRESET_STANDARD_DESCRIPTION),
        ("HIGH", strings.PRESET_HIGH, strings.PRESET_HIGH_DESCRIPTION),
        ("CUSTOM", strings.PRESET_CUSTOM, strings.PRESET_CUSTOM_DESCRIPTION),
    ),
    "neck": (
        ("closed", strings.NECK_CLOSED, strings.NECK_CLOSED_DESCRIPTION),
        ("open", strings.NECK_OPEN, strings.NECK_OPEN_DESCRIPTION),
    ),
    "uv": (
        ("parts", strings.UV_PARTS, strings.UV_PARTS_DESCRIPTION),
        ("open3d", strings.UV_OPEN3D, strings.UV_OPEN3D_DESCRIPTION),
    ),
    "device": (
        ("auto", strings.DEVICE_AUTO, strings.DEVICE_AUTO_DESCRIPTION),
        ("cpu", strings.DEVICE_CPU, strings.DEVICE_CPU_DESCRIPTION),
        ("cuda", strings.DEVICE_CUDA, strings.DEVICE_CUDA_DESCRIPTION),
        ("mps", strings.DEVICE_MPS, strings.DEVICE_MPS_DESCRIPTION),
    ),
    "place": (
        ("CURSOR", strings.PLACE_CURSOR, strings.PLACE_CURSOR_DESCRIPTION),
        ("WORLD", strings.PLACE_WORLD, strings.PLACE_WORLD_DESCRIPTION),
    ),
}

values: dict[str, Any] = dict(DEFAULTS)
_model_items: list[tuple[str, str, str, str, int]] = []  # Blender does not keep the texts of such items itself


def preset() -> str:
    """The preset that the details are those of."""
    for name, details in PRESETS.items():
        if all(values[key] == value for key, value in details.items()):
            return name
    return "CUSTOM"


def options() -> dict[str, Any]:
    """The options of a job, as ``Options.to_dict`` of the backend has them, angles in degrees."""
    plain = ("model", "resolution", "faces", "texture_size", "smoothing", "neck", "uv", "quality", "seed", "device")
    chosen: dict[str, Any] = {name: values[name] for name in plain}
    chosen["debug_images"] = values["debug_images"] and values["model"] != TEMPLATE
    if values["face"]:
        chosen["face"] = values["face"]
    if values["use_angles"]:
        chosen["angles"] = list(values["angles"])
    if values["use_crop"]:
        chosen["crop"] = [*values["crop_centre"], values["crop_side"], values["crop_rotation"]]
    return chosen


def remaking() -> dict[str, Any]:
    """Of ``options``, those that a head may be meshed and baked again with; the rest has made its shape and colour."""
    chosen = options()
    names = ("resolution", "faces", "texture_size", "smoothing", "neck", "uv", "quality", "seed", "device")
    return {name: chosen[name] for name in names}


def reset() -> None:
    """Forget what was chosen."""
    values.clear()
    values.update(DEFAULTS)


def _kept(name: str) -> dict[str, Any]:
    """The ``get`` and ``set`` of a property that lives in ``values``."""

    def get(self: object) -> Any:
        return values[name]

    def set(self: object, value: Any) -> None:
        values[name] = tuple(value) if isinstance(DEFAULTS[name], tuple) else value

    return {"get": get, "set": set}


def _enum(name: str, label: str, description: str) -> Any:
    items = [(*item, number) for number, item in enumerate(CHOICES[name])]
    names = [item[0] for item in CHOICES[name]]

    def number(self: object) -> int:
        return names.index(preset() if name == "preset" else values[name])

    def choose(self: object, number: int) -> None:
        if name == "preset":
            values.update(PRESETS.get(names[number], {}))
        else:
            values[name] = names[number]

    return EnumProperty(name=label, description=description, items=items, get=number, set=choose)


def _list_models(self: object, context: object) -> list[tuple[str, str, str, str, int]]:
    from .heartbeat import existing  # reads nothing: what the backend told is in memory

    now, _ = existing()
    told = {model.name: model for model in now.models} if now is not None else {}
    names = list(dict.fromkeys([TEMPLATE, *told, values["model"]]))
    _model_items.clear()
    for name in names:
        model = told.get(name)
        label = strings.TEMPLATE if name == TEMPLATE else name
        words = model.wrong or strings.MODEL_LICENCE.format(licence=model.licence) if model is not None else ""
        if name == TEMPLATE:
            words = strings.TEMPLATE_DESCRIPTION
        icon = "ERROR" if model is not None and model.wrong else "USER"
        _model_items.append((name, label, words, icon, number_of(name)))
    return _model_items


def _get_model(self: object) -> int:
    return number_of(values["model"])


def _set_model(self: object, number: int) -> None:
    values["model"] = next((item[0] for item in _model_items if item[4] == number), TEMPLATE)


def _set_photo(self: object, path: str) -> None:
    values["photo"] = path
    pictures.forget(bpy.path.abspath(path) if path else "")  # it may be another picture by now


class HeadstitchSettings(bpy.types.PropertyGroup):
    """``bpy.context.window_manager.headstitch``."""

    source: _enum("source", strings.SOURCE, strings.SOURCE_DESCRIPTION)
    photo: StringProperty(
        name=strings.PHOTO,
        description=strings.PHOTO_DESCRIPTION,
        subtype="FILE_PATH",
        get=_kept("photo")["get"],
        set=_set_photo,
    )
    model: EnumProperty(
        name=strings.MODEL, description=strings.MODEL_DESCRIPTION, items=_list_models, get=_get_model, set=_set_model
    )
    preset: _enum("preset", strings.PRESET, strings.PRESET_DESCRIPTION)
    resolution: IntProperty(
        name=strings.RESOLUTION,
        description=strings.RESOLUTION_DESCRIPTION,
        default=256,
        min=32,
        max=512,
        **_kept("resolution"),
    )
    faces: IntProperty(
        name=strings.FACES,
        description=strings.FACES_DESCRIPTION,
        default=40_000,
        min=0,
        max=2_000_000,
        soft_max=200_000,
        step=1000,
        **_kept("faces"),
    )
    texture_size: IntProperty(
        name=strings.TEXTURE_SIZE,
        description=strings.TEXTURE_SIZE_DESCRIPTION,
        default=2048,
        min=256,
        max=8192,
        subtype="PIXEL",
        **_kept("texture_size"),
    )
    smoothing: IntProperty(
        name=strings.SMOOTHING,
        description=strings.SMOOTHING_DESCRIPTION,
        default=5,
        min=0,
        max=100,
        soft_max=20,
        **_kept("smoothing"),
    )
    neck: _enum("neck", strings.NECK, strings.NECK_DESCRIPTION)
    uv: _enum("uv", strings.UV, strings.UV_DESCRIPTION)
    quality: BoolProperty(
        name=strings.QUALITY, description=strings.QUALITY_DESCRIPTION, default=True, **_kept("quality")
    )
    seed: IntProperty(
        name=strings.SEED, description=strings.SEED_DESCRIPTION, default=0, min=0, max=2**31 - 1, **_kept("seed")
    )
    device: _enum("device", strings.DEVICE, strings.DEVICE_DESCRIPTION)
    debug_images: BoolProperty(
        name=strings.DEBUG_IMAGES, description=strings.DEBUG_IMAGES_DESCRIPTION, **_kept("debug_images")
    )
    face: IntProperty(
        name=strings.FACE, description=strings.FACE_DESCRIPTION, default=0, min=0, max=99, **_kept("face")
    )
    use_angles: BoolProperty(name=strings.USE_ANGLES, description=strings.USE_ANGLES_DESCRIPTION, **_kept("use_angles"))
    angles: FloatVectorProperty(
        name=strings.ANGLES,
        description=strings.ANGLES_DESCRIPTION,
        size=3,
        min=-180.0,
        max=180.0,
        precision=1,
        **_kept("angles"),
    )
    use_crop: BoolProperty(name=strings.USE_CROP, description=strings.USE_CROP_DESCRIPTION, **_kept("use_crop"))
    crop_centre: FloatVectorProperty(
        name=strings.CROP_CENTRE,
        description=strings.CROP_CENTRE_DESCRIPTION,
        size=2,
        default=(256.0, 256.0),
        precision=1,
        **_kept("crop_centre"),
    )
    crop_side: FloatProperty(
        name=strings.CROP_SIDE,
        description=strings.CROP_SIDE_DESCRIPTION,
        default=512.0,
        min=1.0,
        precision=1,
        **_kept("crop_side"),
    )
    crop_rotation: FloatProperty(
        name=strings.CROP_ROTATION,
        description=strings.CROP_ROTATION_DESCRIPTION,
        min=-180.0,
        max=180.0,
        precision=1,
        **_kept("crop_rotation"),
    )
    place: _enum("place", strings.PLACE, strings.PLACE_DESCRIPTION)
    with_camera: BoolProperty(
        name=strings.CAMERA, description=strings.CAMERA_DESCRIPTION, default=True, **_kept("with_camera")
    )
    photo_view: BoolProperty(name=strings.PHOTO_VIEW, description=strings.PHOTO_VIEW_DESCRIPTION, **_kept("photo_view"))
    frame_view: BoolProperty(
        name=strings.FRAME_VIEW, description=strings.FRAME_VIEW_DESCRIPTION, default=True, **_kept("frame_view")
    )
    as_asset: BoolProperty(
        name=strings.AS_ASSET, description=strings.AS_ASSET_DESCRIPTION, default=True, **_kept("as_asset")
    )
    rebuild: BoolProperty(name=strings.REBUILD, description=strings.REBUILD_DESCRIPTION, **_kept("rebuild"))


def register() -> None:
    """Called by the add-on's ``register``."""
    bpy.utils.register_class(HeadstitchSettings)
    bpy.types.WindowManager.headstitch = bpy.props.PointerProperty(type=HeadstitchSettings)


def unregister() -> None:
    """Called by the add-on's ``unregister``."""
    del bpy.types.WindowManager.headstitch
    bpy.utils.unregister_class(HeadstitchSettings)
    reset()
