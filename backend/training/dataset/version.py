"""Which sampler this is: a fingerprint of the code and data that decide what a head with given numbers looks like."""

from __future__ import annotations

import hashlib
from functools import cache
from pathlib import Path

_ROOT = Path(__file__).resolve().parents[3]
_PARTS = (
    *("backend/training", "backend/template", "backend/camera.py", "backend/geometry.py", "backend/meshing/mesh.py"),
    "addon/cycles_heads",
)
# What handles finished heads alone.
_APART = (
    *(f"backend/training/{name}.py" for name in ("sheet", "test_set", "workers", "lock")),
    *(f"backend/training/dataset/{name}.py" for name in ("__init__", "check", "make", "manifest", "options", "read")),
    *(f"backend/training/dataset/{name}.py" for name in ("shards", "version")),
)


@cache
def sampler_version() -> str:
    """12 hexadecimal digits that change with every change of the sampler, so that nobody has to remember it."""
    found = hashlib.sha256()
    for path in sorted(_sources(), key=lambda path: path.relative_to(_ROOT).as_posix()):
        name = path.relative_to(_ROOT).as_posix()
        content = path.read_bytes()
        if path.suffix == ".py":
            content = content.replace(b"\r\n", b"\n")
        found.update(f"{name}\0{len(content)}\0".encode() + content)
    return found.hexdigest()[:12]


def _sources() -> list[Path]:
    found = []
    for part in _PARTS:
        path = _ROOT / part
        found += [path] if path.is_file() else [*path.rglob("*.py"), *path.glob("data/*.*")]
    return [path for path in found if path.relative_to(_ROOT).as_posix() not in _APART and path.suffix != ".md"]
