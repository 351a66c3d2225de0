"""A small world for the backend's environment: an extension, a list of packages, and an index of tiny wheels."""

from __future__ import annotations

import base64
import hashlib
import importlib.metadata
import io
import json
import os
import re
import sys
import threading
import time
import zipfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import unquote

import pytest
from headstitch.addon.environment import Environment, Job
from headstitch.addon.environment_files import Layout

HERE = Path(__file__).parent
VERSION = "9.8.7"
HTTP = "http:" + "//"  # the repository names no address, not even of this machine
TARGETS = {"linux-x86_64": [2, 17], "macos-arm64": [11, 0], "windows-amd64": [10, 0]}

BACKEND = """
import json, sys
import headstitch
print(json.dumps([sys.argv[1:], headstitch.__version__, headstitch.__file__, sys.flags.isolated]))
"""
SYSTEM = "def known_libraries():\n    return {libraries!r}\n"


@dataclass
class Index:
    """A package index on this machine; what it does wrong is set in its fields."""

    port: int = 0
    files: dict[str, bytes] = field(default_factory=dict)
    asked: list[str] = field(default_factory=list)  # the files that were fetched, in order
    pause: float = 0.0  # seconds between two pieces of a file
    status: dict[str, int] = field(default_factory=dict)  # answers that are not 200, by file

    @property
    def url(self) -> str:
        """Its address, as pip wants it."""
        return f"{HTTP}127.0.0.1:{self.port}/simple"

    def answer(self, handler: BaseHTTPRequestHandler) -> None:
        """One request."""
        place, _, name = unquote(handler.path).strip("/").partition("/")
        if place == "simple":
            wanted = name.strip("/")
            rows = [file for file in self.files if re.sub(r"[-_.]+", "-", file.split("-")[0]).lower() == wanted]
            body = "".join(f'<a href="/files/{file}">{file}</a>' for file in rows).encode()
            self._send(handler, 200 if rows else 404, "text/html", [body])
            return
        status = self.status.get(name, 200)
        body = self.files[name]
        self.asked.append(name)
        pieces = [body[start : start + 65536] for start in range(0, len(body), 65536)]
        self._send(handler, status, "application/octet-stream", pieces if status == 200 else [b"no"])

    def _send(self, handler: BaseHTTPRequestHandler, status: int, kind: str, pieces: list[bytes]) -> None:
        handler.send_response(status)
        handler.send_header("Content-Type", kind)
        handler.send_header("Content-Length", str(sum(map(len, pieces))))
        handler.end_headers()
        for piece in pieces:
            handler.wfile.write(piece)
            time.sleep(self.pause)


@dataclass
class World:
    """Where the tests' environment is made, and what of."""

    root: Path
    index: Index
    wheels: dict[str, list[Any]] = field(default_factory=dict)
    builds: dict[str, Any] = field(default_factory=lambda: {"cpu": {"wheels": []}})
    requires: list[str] = field(default_factory=list)
    tools: dict[str, str] = field(default_factory=dict)
    left_out: set[str] = field(default_factory=set)  # wheels that no environment wants
    unpacked_pip: Path | None = None  # put into new environments, which saves seconds; None where pip itself is tested

    @property
    def folder(self) -> Path:
        """The environment's: with a space and letters beyond ASCII, as homes have them."""
        return self.root / "user päth" / "environment"

    @property
    def offline(self) -> Path:
        """A folder with all the wheels."""
        return self.root / "wheels"

    @property
    def extension(self) -> Path:
        """The extension's folder, named as Blender names it."""
        return self.root / "extensions" / "bl_ext" / "user_default" / "headstitch"

    @property
    def lock(self) -> Path:
        """The list of packages."""
        return self.root / "packages.json"

    def add(self, name: str, version: str = "1.0", *, tag: str = "py3-none-any", **files: bytes | str) -> str:
        """A wheel whose module is called ``name``; returns its file name."""
        file, data = wheel(name, version, tag, {f"{name}/__init__.py": f"version = {version!r}\n", **files})
        self.offline.mkdir(exist_ok=True)
        (self.offline / file).write_bytes(data)
        self.index.files[file] = data
        self.wheels[file] = [name, version, hashlib.sha256(data).hexdigest(), len(data)]
        return file

    def extend(self, version: str = VERSION, libraries: tuple[tuple[str, str, str], ...] = ()) -> None:
        """Write the extension."""
        backend = self.extension / "backend"
        backend.mkdir(parents=True, exist_ok=True)
        (self.extension / "__init__.py").write_text(f'"""Fake."""\n__version__ = {version!r}\n', "utf-8")
        (backend / "__init__.py").write_text("", "utf-8")
        (backend / "__main__.py").write_text(BACKEND, "utf-8")
        (backend / "system.py").write_text(SYSTEM.format(libraries=list(libraries)), "utf-8")

    def write_lock(self) -> Path:
        """Write the list of packages."""
        special = {file for build in self.builds.values() for file in build.get("wheels", ())}
        plain = sorted(set(self.wheels) - special - set(self.tools.values()) - self.left_out)
        entry = {"tools": self.tools, "packages": plain, "builds": self.builds}
        pythons = {"3.11": entry, "3.12": entry}
        data = {
            "schema": 1,
            "requires": self.requires,
            "imports": {self.wheels[file][0]: self.wheels[file][0] for file in plain},
            "unpacked": 3.0,
            "longest_path": 60,
            "targets": {target: {"oldest": oldest, "python": pythons} for target, oldest in TARGETS.items()},
            "wheels": self.wheels,
        }
        self.lock.write_text(json.dumps(data), "utf-8")
        return self.lock

    def environment(self, version: str = VERSION, **changes: Any) -> Environment:
        """An Environment as the add-on would make one."""
        index = self.root / "torch-index.txt"
        index.write_text(f"cpu {self.index.url}\ncu126 {self.index.url}\ncu128 {self.index.url}\n", "utf-8")
        known: dict[str, Any] = {"packages": self.write_lock(), "torch_index": index} | changes
        folder = known.pop("folder", self.folder)
        if self.unpacked_pip is not None and not folder.exists():
            (folder / "tools").mkdir(parents=True)
            (folder / "tools" / self.unpacked_pip.name).symlink_to(self.unpacked_pip)
            Layout(folder).owner.write_text("{}", "utf-8")
        return Environment(folder, known.pop("extension", self.extension), version, **known)


def wheel(name: str, version: str, tag: str, files: dict[str, bytes | str]) -> tuple[str, bytes]:
    """File name and bytes of a wheel."""
    file = f"{name}-{version}-{tag}.whl"
    info = f"{name}-{version}.dist-info"
    contents = {path: text.encode() if isinstance(text, str) else text for path, text in files.items()}
    contents[f"{info}/METADATA"] = f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n".encode()
    contents[f"{info}/WHEEL"] = f"Wheel-Version: 1.0\nGenerator: tests\nRoot-Is-Purelib: true\nTag: {tag}\n".encode()
    rows = []
    for path, data in contents.items():
        digest = base64.urlsafe_b64encode(hashlib.sha256(data).digest()).rstrip(b"=").decode()
        rows.append(f"{path},sha256={digest},{len(data)}\n")
    contents[f"{info}/RECORD"] = "".join([*rows, f"{info}/RECORD,,\n"]).encode()
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        for path, data in contents.items():
            archive.writestr(zipfile.ZipInfo(path, (2020, 1, 1, 0, 0, 0)), data)
    return file, buffer.getvalue()


@pytest.fixture(scope="session")
def pip_wheel(tmp_path_factory: pytest.TempPathFactory) -> tuple[str, str, bytes]:
    """File name, version and bytes of a pip: the installed one, or the one that Python carries when that is newer."""
    folder = tmp_path_factory.mktemp("pip")
    try:
        installed = importlib.metadata.distribution("pip")
    except importlib.metadata.PackageNotFoundError:
        pytest.skip("pip is not installed")
    path = folder / f"pip-{installed.version}-py3-none-any.whl"
    with zipfile.ZipFile(path, "w") as archive:
        for file in installed.files or ():
            if not str(file).startswith("..") and "__pycache__" not in str(file):
                archive.write(str(file.locate()), str(file))
    return path.name, installed.version, path.read_bytes()


@pytest.fixture(scope="session")
def unpacked_pip(tmp_path_factory: pytest.TempPathFactory, pip_wheel: tuple[str, str, bytes]) -> Path:
    """That pip, unpacked as in an environment's tools; compiled by its first use."""
    _, version, data = pip_wheel
    folder = tmp_path_factory.mktemp("tools") / f"pip-{version}"
    with zipfile.ZipFile(io.BytesIO(data)) as archive:
        archive.extractall(folder)
    return folder


@pytest.fixture
def index() -> Iterator[Index]:
    """The index, serving."""
    served = Index()

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            served.answer(self)

        def log_message(self, format: str, *arguments: object) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.handle_error = lambda *_: None  # pyright: ignore[reportAttributeAccessIssue]  clients that were killed
    served.port = server.server_address[1]
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    yield served
    server.shutdown()
    server.server_close()


@pytest.fixture
def world(
    tmp_path: Path,
    index: Index,
    pip_wheel: tuple[str, str, bytes],
    unpacked_pip: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> World:
    """Two packages, an extension, and a pip that asks our own index alone."""
    for name in list(os.environ):
        if name.upper().startswith("PIP_"):
            monkeypatch.delenv(name)
    monkeypatch.setenv("PIP_CONFIG_FILE", os.devnull)
    monkeypatch.setenv("PIP_INDEX_URL", index.url)
    monkeypatch.setenv("PIP_RETRIES", "0")
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    made = World(tmp_path, index, unpacked_pip=None if sys.platform == "win32" else unpacked_pip)
    file, version, data = pip_wheel
    made.wheels[file] = ["pip", version, hashlib.sha256(data).hexdigest(), len(data)]
    index.files[file] = data
    made.tools["pip"] = made.tools["uv"] = file
    made.add("alpha")
    made.add("beta_two", "2.5")
    made.requires += ["alpha==1.0", "beta_two>=2"]
    made.extend()
    return made


@pytest.fixture
def fresh(world: World) -> World:
    """The same with nothing put into new environments: pip has to be obtained too."""
    world.unpacked_pip = None
    return world


@pytest.fixture
def finish() -> Callable[..., Any]:
    """Waits for a job as Blender would: polling. Returns its result, or raises its sentence."""

    def wait(job: Job[Any], seconds: float = 120) -> Any:
        ends = time.monotonic() + seconds
        while not job.done:
            assert time.monotonic() < ends, "the job does not end"
            job.poll()
            time.sleep(0.02)
        return job.result

    return wait


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """The environments of these tests are built on a Python that the backend can have."""
    if sys.version_info[:2] not in ((3, 11), (3, 12)) and "HEADSTITCH_BACKEND_PYTHON" not in os.environ:
        for item in items:
            if item.path.is_relative_to(HERE):
                item.add_marker(pytest.mark.skip(reason="needs Python 3.11 or 3.12"))
