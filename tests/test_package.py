"""The house rules: who may import whom, what the zip and the wheel hold, and what no file of the repository says."""

from __future__ import annotations

import ast
import importlib.util
import re
import subprocess
import sys
import tomllib
import types
import zipfile
from pathlib import Path

import headstitch
import pytest

ROOT = Path(__file__).resolve().parents[1]
CODE = ("addon", "backend", "kernels")
MODULES = [*sorted(path for folder in CODE for path in (ROOT / folder).rglob("*.py")), ROOT / "__init__.py"]

BLENDER = {"addon_utils", "bl_ui", "blf", "bmesh", "bpy", "bpy_extras", "gpu", "gpu_extras", "mathutils"}
ADDON_MAY = BLENDER | {"numpy"}  # what Blender carries itself
HEAVY = {"cv2", "mcubes", "mediapipe", "numpy", "open3d", "PIL", "scipy", "torch"}

# The floors of backend/, lowest first; a module imports only from its own folder and from floors below.
FLOORS = (
    {"errors"},
    {"options", "progress", "camera", "geometry", "protocol", "stop"},
    {"disk", "system", "terminal", "rendering"},
    {"field"},
    {"portrait"},
    {"template", "networks"},
    {"meshing", "models"},
    {"inversion"},
    {"results"},
    {"reconstruct", "render"},
    {"batch", "models_cli", "remesh"},
    {"workshop", "evaluation"},
    {"training"},
    {"learning"},
    {"server", "evaluate_cli", "data_cli", "train_cli"},
    {"cli"},
    {"__main__"},
)
FLOOR_OF = {name: number for number, names in enumerate(FLOORS) for name in names}
# Imported by --help, or by the add-on's side: nothing heavy at their top.
LIGHT = (
    *("__main__", "batch", "cli", "errors", "options", "progress", "protocol", "stop", "system", "terminal"),
    *("models_cli", "evaluate_cli", "data_cli", "train_cli", "training.dataset.options"),
    *("disk", "results.folder", "results.page", "results.report"),
)


def name_of(path: Path) -> str:
    """``backend/results/page.py`` as ``backend.results.page``; a package goes by its folder."""
    parts = path.relative_to(ROOT).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


def imports(path: Path, *, top_only: bool = False) -> list[tuple[int, str, str]]:
    """(level, module, name) of every import; level 0 is absolute, and the module of a relative one is from the root."""
    tree = ast.parse(path.read_text("utf-8"))
    typing_only = {
        id(inner)
        for node in ast.walk(tree)
        if isinstance(node, ast.If) and "TYPE_CHECKING" in ast.unparse(node.test)
        for inner in ast.walk(node)
    }
    package = path.relative_to(ROOT).parts[:-1]
    found: list[tuple[int, str, str]] = []
    for node in tree.body if top_only else ast.walk(tree):
        if top_only and id(node) in typing_only:
            continue
        if isinstance(node, ast.Import):
            found += [(0, alias.name, "") for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            module = node.module or ""
            if node.level:
                base = package[: len(package) - node.level + 1]
                assert node.level <= len(package) + 1, f"{path} imports from above the package"
                module = ".".join([*base, *([module] if module else [])])
            found += [(node.level, module, alias.name) for alias in node.names]
    return found


def targets(path: Path, **how: bool) -> list[str]:
    """The modules inside the package that a module imports, from the root."""
    known = {name_of(module) for module in MODULES}
    return [
        full if (full := f"{module}.{name}".strip(".")) in known else module
        for level, module, name in imports(path, **how)
        if level
    ]


def absolute(path: Path, **how: bool) -> set[str]:
    return {module.partition(".")[0] for level, module, _ in imports(path, **how) if not level}


each_module = pytest.mark.parametrize("path", MODULES, ids=lambda path: name_of(path) or "headstitch")


@each_module
def test_a_module_opens_with_what_it_is(path):
    docstring = ast.get_docstring(ast.parse(path.read_text("utf-8")))
    assert docstring
    assert docstring[0].isupper() or docstring[0] == "`"


@each_module
def test_imports_inside_the_package_are_relative(path):
    assert "headstitch" not in absolute(path)
    assert "bl_ext" not in absolute(path)


@each_module
def test_the_arrows(path):
    mine = name_of(path).partition(".")[0]
    outside, inside = absolute(path), targets(path)
    stdlib = sys.stdlib_module_names
    if mine == "addon":
        assert outside - stdlib <= ADDON_MAY
        assert all(
            target == "addon" or target.startswith("addon.") or target == "backend.protocol" for target in inside
        )
    elif mine == "backend":
        assert not outside & BLENDER
        assert all(target.partition(".")[0] in {"", "backend", "kernels"} for target in inside)
    elif mine == "kernels":
        assert outside - stdlib <= {"torch", "triton"}
        assert all(target.partition(".")[0] == "kernels" for target in inside)
    else:  # the root: only its lazy doors
        assert outside <= stdlib
        assert not targets(path, top_only=True)


@each_module
def test_the_root_is_asked_only_for_its_version(path):
    asked = {name for level, module, name in imports(path) if level and module == ""}
    assert asked <= ({"addon"} if name_of(path) == "" else {"__version__"})


def test_every_part_of_the_backend_has_a_floor():
    parts = {name_of(path).split(".")[1] for path in MODULES if name_of(path).startswith("backend.")}
    assert parts <= set(FLOOR_OF)


@pytest.mark.parametrize(
    "path", [path for path in MODULES if name_of(path).startswith("backend.")], ids=lambda path: name_of(path)
)
def test_no_floor_imports_upwards(path):
    mine = name_of(path).split(".")[1]
    for target in targets(path):
        parts = target.split(".")
        if parts[0] != "backend" or len(parts) == 1 or parts[1] == mine:
            continue
        assert FLOOR_OF[parts[1]] < FLOOR_OF[mine], f"{name_of(path)} imports {target}"


def test_the_graph_of_imports_has_no_circle():
    graph = {name_of(path): set(targets(path, top_only=True)) for path in MODULES}
    done: set[str] = set()

    def visit(name: str, way: tuple[str, ...]) -> None:
        assert name not in way, f"{' -> '.join([*way, name])}"
        if name not in done:
            for target in graph.get(name, ()):
                if target != name:
                    visit(target, (*way, name))
            done.add(name)

    for name in graph:
        visit(name, ())


@pytest.mark.parametrize("name", LIGHT)
def test_what_help_imports_is_light(name):
    path = ROOT / "backend" / (name.replace(".", "/") + ".py")
    if name == "protocol" and not path.exists():
        pytest.skip("the protocol comes with the server")
    assert path.exists(), f"{name} has another name now: put that into LIGHT"
    assert not absolute(path, top_only=True) & HEAVY
    for target in targets(path, top_only=True):
        assert target.removeprefix("backend.") in LIGHT, f"{name} imports {target}"


def test_the_rules_see_what_they_forbid(tmp_path, monkeypatch):
    monkeypatch.setitem(globals(), "ROOT", tmp_path)
    bad = tmp_path / "backend" / "results" / "bad.py"
    bad.parent.mkdir(parents=True)
    bad.write_text("import bpy.types\nfrom headstitch import x\nfrom ..cli import main\nfrom ... import addon\n")
    assert absolute(bad) == {"bpy", "headstitch"}
    assert [(module, name) for level, module, name in imports(bad) if level] == [("backend.cli", "main"), ("", "addon")]


# --- versions, names -------------------------------------------------------------------------------------------------


def manifest() -> dict:
    return tomllib.loads((ROOT / "blender_manifest.toml").read_text("utf-8"))


def project() -> dict:
    return tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))


def test_the_version_has_one_home_and_the_manifest_agrees():
    assert project()["tool"]["setuptools"]["dynamic"]["version"] == {"attr": "headstitch.__version__"}
    assert "version" in project()["project"]["dynamic"]
    assert manifest()["version"] == headstitch.__version__


def test_licence_and_maintainer_agree():
    licences = project()["project"]["license"].split(" AND ")
    assert manifest()["license"] == [f"SPDX:{licence}" for licence in licences]
    assert manifest()["maintainer"] == project()["project"]["authors"][0]["name"]
    texts = [(ROOT / name).read_text().split() for name in project()["project"]["license-files"]]
    openings = [" ".join(words[:5]) for words in texts]
    assert openings == ["GNU GENERAL PUBLIC LICENSE Version", "Apache License Version 2.0, January"]
    assert len(openings) == len(licences)


def test_the_package_offers_what_it_says_and_nothing_else():
    for name in headstitch.__all__:
        assert getattr(headstitch, name) is not None
        assert name in dir(headstitch)
    with pytest.raises(AttributeError, match="reconstrukt"):
        _ = headstitch.reconstrukt  # pyright: ignore[reportAttributeAccessIssue]
    assert not hasattr(headstitch, "__addon_enabled__")


def test_the_extension_loads_its_addon_only_when_it_is_switched_on(monkeypatch):
    calls: list[str] = []
    addon = types.ModuleType("headstitch.addon")
    addon.register = lambda: calls.append("on")  # pyright: ignore[reportAttributeAccessIssue]
    addon.unregister = lambda: calls.append("off")  # pyright: ignore[reportAttributeAccessIssue]
    monkeypatch.setitem(sys.modules, "headstitch.addon", addon)
    monkeypatch.setattr(headstitch, "addon", addon, raising=False)
    headstitch.register()
    headstitch.unregister()
    assert calls == ["on", "off"]


# --- what is packed --------------------------------------------------------------------------------------------------


def tracked() -> list[str]:
    try:
        listed = subprocess.run(["git", "ls-files", "-z"], cwd=ROOT, capture_output=True, text=True, check=True)
    except (OSError, subprocess.CalledProcessError):
        pytest.skip("not a git checkout")
    return [name for name in listed.stdout.split("\0") if name and (ROOT / name).is_file()]


def test_the_wheel_names_every_package_and_all_data_lies_where_it_is_packed():
    named = set(project()["tool"]["setuptools"]["packages"])
    there = {f"headstitch.{name_of(path)}".rstrip(".") for path in MODULES if path.name == "__init__.py"}
    assert named == there
    strays = [
        name
        for name in tracked()
        if name.split("/")[0] in CODE and not name.endswith(".py") and Path(name).parent.name != "data"
    ]
    assert strays == []


@pytest.fixture(scope="module")
def blender_tool():
    """Blender's own extension tool, found beside bpy without importing it: (command, its list of valid tags)."""
    spec = importlib.util.find_spec("bpy")
    if spec is None or spec.origin is None:
        pytest.skip("bpy is not installed")
    scripts = next(Path(spec.origin).parent.glob("*/scripts"))
    tags = scripts / "modules" / "_bpy_internal" / "extensions" / "tags.py"
    return [
        sys.executable,
        "-I",
        str(scripts / "addons_core" / "bl_pkg" / "cli" / "blender_ext.py"),
    ], f"--valid-tags={tags}"


@pytest.fixture(scope="module")
def extension(blender_tool, tmp_path_factory) -> Path:
    command, tags = blender_tool
    path = tmp_path_factory.mktemp("zip") / "headstitch.zip"
    line = [*command, "build", "--source-dir", str(ROOT), "--output-filepath", str(path), tags]
    done = subprocess.run(line, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    return path


def test_blenders_own_tool_accepts_the_extension(blender_tool, extension):
    command, tags = blender_tool
    done = subprocess.run([*command, "validate", tags, str(extension)], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "error" not in (done.stdout + done.stderr).lower()


def test_the_extension_holds_what_belongs_and_nothing_else(extension):
    with zipfile.ZipFile(extension) as archive:
        sizes = {item.filename: item.file_size for item in archive.infolist() if not item.is_dir()}
    wanted = {name for name in tracked() if name.split("/")[0] in CODE}
    wanted |= {"__init__.py", "blender_manifest.toml", "LICENSE", "README.md", "pyproject.toml"}
    assert wanted <= set(sizes)
    tops = {name.split("/")[0] for name in sizes}
    assert tops <= {*CODE, "__init__.py", "blender_manifest.toml", "LICENSE", "README.md", "pyproject.toml"}
    kinds = {Path(name).suffix for name in sizes if "/" in name}
    assert kinds <= {".py", ".npz", ".json", ".md", ".txt", ".safetensors", ".tflite", ".glsl", ".png"}
    assert not [name for name in sizes if "__pycache__" in name or ".partial-" in name]
    assert sum(sizes.values()) < 40 << 20
    assert extension.stat().st_size < 30 << 20


# --- what no file says -----------------------------------------------------------------------------------------------

HOSTS_IN = {"LICENSE", "backend/portrait/data/LICENSE-Apache-2.0.txt", "backend/data/torch-index.txt"}
IDENTIFIERS = (  # names of vocabularies and schemas, from which nothing is fetched
    "http://cv.iptc.org/newscodes/",
    "http://iptc.org/std/",
    "http://purl.org/dc/",
    "http://www.w3.org/",
)
URL = re.compile(r"\bhttps?://[^\s\"'<>)\]}]+")
HOST = re.compile(r"\b[\w-]+\.(?:pytorch\.org|pypi\.org|pythonhosted\.org|npmjs\.org|npmjs\.com)\b|\bpypi\.org\b")
PLACE = re.compile(r"(?<![\w.$}~*])/(?:work|opt|root|home|Users)/\w")


def texts() -> list[tuple[str, str]]:
    found = []
    for name in tracked():
        data = (ROOT / name).read_bytes()
        if b"\0" not in data[:8192]:
            found.append((name, data.decode("utf-8", "replace")))
    return found


def test_no_file_names_a_host_but_the_one_that_may():
    named = [
        (name, found)
        for name, text in texts()
        if name not in HOSTS_IN and name != "tests/test_package.py"
        for found in URL.findall(text) + HOST.findall(text)
        if not found.startswith(IDENTIFIERS)
    ]
    assert named == []


def test_no_file_names_a_place_on_somebodys_machine():
    named = [
        (name, found)
        for name, text in texts()
        if name not in {"LICENSE", "tests/test_package.py"}
        for found in PLACE.findall(text)
    ]
    assert named == []


def test_torch_is_pinned_and_its_index_lists_a_cpu_build():
    pins = [line for line in project()["project"]["dependencies"] if line.startswith("torch")]
    assert len(pins) == 1
    assert re.fullmatch(r"torch==\d+\.\d+\.\d+", pins[0])
    lines = (ROOT / "backend" / "data" / "torch-index.txt").read_text().splitlines()
    builds = dict(line.split() for line in lines if line and not line.startswith("#"))
    assert builds["cpu"].endswith("/cpu")
    assert all(index.endswith(f"/{build}") for build, index in builds.items())
