"""Writes addon/data/environment.json: what the backend's environment holds, wheel by wheel, for every supported system.

Run it after a change of the dependencies in pyproject.toml, with uv and packaging installed:
    python scripts/lock_environment.py
uv resolves pyproject's dependencies for all systems at once; this script keeps names, versions, hashes and sizes, and
no address: the environment is installed from whatever index the user's pip is set up with.
"""

from __future__ import annotations

import json
import re
import shutil
import subprocess
import sys
import tempfile
import tomllib
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import unquote

from packaging import tags
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name, parse_wheel_filename

ROOT = Path(__file__).resolve().parents[1]
OUT = ROOT / "addon" / "data" / "environment.json"
PYTHONS = ("3.11", "3.12")
TOOLS = ("pip", "uv")  # what the environment is made with; not part of it

# sys_platform and platform_machine as markers know them, and the oldest system that every wheel runs on.
TARGETS = {
    "linux-x86_64": {"sys_platform": "linux", "platform_machine": "x86_64", "platform_system": "Linux"},
    "macos-arm64": {"sys_platform": "darwin", "platform_machine": "arm64", "platform_system": "Darwin"},
    "windows-amd64": {"sys_platform": "win32", "platform_machine": "AMD64", "platform_system": "Windows"},
}
OLDEST = {"linux-x86_64": [2, 35], "macos-arm64": [14, 0], "windows-amd64": [10, 0]}  # glibc, macOS, Windows

# Which module shows that a distribution works, where the name differs.
MODULES = {
    "fast-simplification": "fast_simplification",
    "opencv-contrib-python": "cv2",
    "pillow": "PIL",
    "pymcubes": "mcubes",
}

# What no index tells. Sizes of builds that come from PyTorch's own index, in bytes, by target: exact for the CPU build
# of Linux (cp311), else round figures for the choice between builds, and always shown as "about".
CPU_LINUX = 191_794_682
CUDA_ABOUT = {"linux-x86_64": 2_900_000_000, "windows-amd64": 3_000_000_000}
UNPACKED = 2.85  # installed bytes for each byte of a wheel; measured on the Linux CPU build: 2.7 GB from 0.91 GB
LONGEST_PATH = 171  # of a file under site-packages; Windows allows 259 in all unless long paths are switched on


def main() -> None:
    """Resolve, gather, write beside, rename."""
    uv = shutil.which("uv")
    if uv is None:
        sys.exit("uv is not here; pip install uv")
    project = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["project"]
    with tempfile.TemporaryDirectory() as folder:
        locked, pins = resolve(uv, Path(folder), project["dependencies"])
    wheels: dict[str, list] = {}
    targets = {name: gather(name, locked, pins, wheels) for name in TARGETS}
    data = {
        "schema": 1,
        "about": "Made by scripts/lock_environment.py; do not edit.",
        "requires": project["dependencies"],
        "imports": {name: MODULES.get(name, name) for name in map(distribution, project["dependencies"])},
        "unpacked": UNPACKED,
        "longest_path": LONGEST_PATH,
        "targets": targets,
        "wheels": dict(sorted(wheels.items())),
    }
    OUT.parent.mkdir(exist_ok=True)
    beside = OUT.with_suffix(".new")
    beside.write_text(render(data), "utf-8")
    beside.replace(OUT)
    print(f"{OUT.relative_to(ROOT)}: {len(wheels)} wheels")


def render(data: dict) -> str:
    """JSON with one wheel a line, so that a change is a small diff."""
    head = json.dumps(data | {"wheels": {}}, indent=1)
    lines = ",\n".join(f"  {json.dumps(name)}: {json.dumps(row)}" for name, row in data["wheels"].items())
    return head.replace('"wheels": {}', f'"wheels": {{\n{lines}\n }}') + "\n"


def distribution(requirement: str) -> str:
    """The canonical name of what a requirement asks for."""
    return canonicalize_name(Requirement(requirement).name)


def resolve(uv: str, folder: Path, dependencies: list[str]) -> tuple[dict[tuple[str, str], dict], list[Requirement]]:
    """The lock by (name, version), and every pin with the marker that says where it belongs."""
    places = [
        f"sys_platform == '{t['sys_platform']}' and platform_machine == '{t['platform_machine']}'"
        for t in TARGETS.values()
    ]
    lines = [*dependencies, *TOOLS]
    (folder / "pyproject.toml").write_text(
        f'[project]\nname = "locked"\nversion = "0"\nrequires-python = ">={PYTHONS[0]},<3.13"\n'
        f"dependencies = {json.dumps(lines)}\n[tool.uv]\npackage = false\nenvironments = {json.dumps(places)}\n",
        "utf-8",
    )
    quiet = {"cwd": folder, "check": True, "capture_output": True, "text": True}
    subprocess.run([uv, "lock"], **quiet)
    listing = subprocess.run([uv, "export", "--frozen", "--no-hashes", "--no-header", "--no-annotate"], **quiet).stdout
    pins = [Requirement(line) for line in listing.splitlines() if line and not line.startswith(("#", "-"))]
    packages = tomllib.loads((folder / "uv.lock").read_text("utf-8"))["package"]
    return {(canonicalize_name(package["name"]), package["version"]): package for package in packages}, pins


def gather(target: str, locked: dict, pins: list[Requirement], wheels: dict[str, list]) -> dict:
    """What one target holds: the files of each Python, the tools, and the builds of torch."""
    pythons = {}
    for python in PYTHONS:
        environment = TARGETS[target] | {"python_version": python, "python_full_version": f"{python}.9"}
        environment |= {"implementation_name": "cpython", "platform_python_implementation": "CPython"}
        files = {}
        for pin in pins:
            if pin.marker is not None and not pin.marker.evaluate(environment):
                continue
            version = next(iter(pin.specifier)).version
            name = canonicalize_name(pin.name)
            files[name] = choose(target, python, locked[name, version], wheels)
        tools = {tool: files.pop(tool) for tool in TOOLS}
        gpu = [files.pop(name) for name in sorted(files) if name.startswith(("nvidia-", "cuda-", "triton"))]
        torch = files.pop("torch")
        pythons[python] = {"tools": tools, "packages": sorted(files.values()), "builds": builds(target, torch, gpu)}
    return {"oldest": OLDEST[target], "python": pythons}


def builds(target: str, torch: str, gpu: list[str]) -> dict:
    """The builds of torch: as wheels that are locked, or by the size of what PyTorch's own index gives."""
    if target == "macos-arm64":
        return {"cpu": {"wheels": [torch]}}
    if target == "windows-amd64":
        return {"cpu": {"wheels": [torch]}, "cuda": {"size": CUDA_ABOUT[target]}}
    return {
        "cpu": {"size": CPU_LINUX},
        "cuda": {"size": CUDA_ABOUT[target]},
        "index": {"wheels": [torch, *gpu], "cuda": cuda_of(gpu)},
    }


def cuda_of(gpu: list[str]) -> str:
    """The CUDA release that the ordinary index's torch brings, as "13.0"."""
    [toolkit] = [name for name in gpu if name.startswith("cuda_toolkit-")]
    match = re.match(r"cuda_toolkit-(\d+\.\d+)", toolkit)
    assert match is not None
    return match[1]


def choose(target: str, python: str, package: dict, wheels: dict[str, list]) -> str:
    """The wheel that suits the target best; its row is put into ``wheels``."""
    rank = {tag: number for number, tag in enumerate(fitting(target, python))}
    best = None
    for wheel in package["wheels"]:
        name = unquote(wheel["url"].rsplit("/", 1)[1])
        ranks = [rank[tag] for tag in parse_wheel_filename(name)[3] if tag in rank]
        if ranks and (best is None or min(ranks) < best[0]):
            best = min(ranks), name, wheel
    if best is None:
        sys.exit(f"{package['name']} {package['version']} has no wheel for {target}, Python {python}")
    _, name, wheel = best
    wheels[name] = [package["name"], package["version"], wheel["hash"].removeprefix("sha256:"), wheel["size"]]
    return name


def fitting(target: str, python: str) -> Iterator[tags.Tag]:
    """The wheel tags that run on the target's oldest system, best first."""
    version = tuple(map(int, python.split(".")))
    major, minor = OLDEST[target]
    if target == "linux-x86_64":
        platforms = [f"manylinux_2_{number}_x86_64" for number in range(minor, 16, -1)]
        platforms += ["manylinux2014_x86_64", "manylinux_2_12_x86_64", "manylinux2010_x86_64", "manylinux_2_5_x86_64"]
        platforms += ["manylinux1_x86_64"]
    elif target == "macos-arm64":
        platforms = list(tags.mac_platforms((major, minor), "arm64"))
    else:
        platforms = ["win_amd64"]
    yield from tags.cpython_tags(version, platforms=platforms)
    yield from tags.compatible_tags(version, platforms=platforms)


if __name__ == "__main__":
    main()
