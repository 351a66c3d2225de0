"""The steps that make the backend's environment: Python, venv, pip, download, install, link, trial. Imports no bpy.

Every step looks at what is there and does what is missing, so that a step that was killed is simply done again.
"""

from __future__ import annotations

import re
import shutil
import sys
import time
import zipfile
from collections.abc import Iterable
from pathlib import Path
from typing import Any
from urllib.parse import unquote

from . import environment_texts as texts
from .environment_check import probe
from .environment_failures import NETWORK, EnvironmentFailure, Finished, explain, pip_sentence, reason_of
from .environment_files import (
    Layout,
    canonical,
    companions,
    damage,
    hash_of,
    installed,
    move,
    read_json,
    remove_tree,
    sweep,
    write_shim,
    write_whole,
)
from .environment_jobs import Job
from .environment_plan import Build, Lock, Plan, Wheel, Wishes
from .environment_system import Python, ask_python, child_environment

BATCH = 48_000_000  # bytes of small wheels that are fetched by one call of pip; a larger wheel has a call of its own
UV_PYTHON = "3.11"

# Runs the pip that lies in a folder, whatever the interpreter itself has.
RUN_PIP = (
    "import sys, runpy; sys.path.insert(0, sys.argv.pop(1)); "
    "runpy.run_module('pip', run_name='__main__', alter_sys=True)"
)


class Maker:
    """One run of ``make``: the steps, with what they share.

    Args:
        job: the job that does it.
        layout: where things lie.
        lock: the list of packages.
        plan: what is to be made.
        wishes: what the user chose.
        extension: the extension's folder, whose package the environment runs.
        blender_python: Blender's interpreter: brings a pip when nothing else does.
    """

    def __init__(
        self,
        job: Job[Any],
        layout: Layout,
        lock: Lock,
        plan: Plan,
        wishes: Wishes,
        extension: Path,
        blender_python: Path,
    ) -> None:
        self.job, self.layout, self.lock, self.plan = job, layout, lock, plan
        self.offline, self.online, self.keep_wheels = wishes.wheels, wishes.online, wishes.keep_wheels
        self.extension, self.blender_python = extension, blender_python
        self.build = plan.build
        self._pip = Path()
        self._received = 0
        # The bar: a byte to download counts 1, a byte to unpack 0.4, and the trial 8 % of all.
        self._download = max(1, plan.download)
        self._install = 0.4 * max(1, sum(wheel.size for wheel in plan.wheels if wheel.name not in plan.present))
        self._whole = (self._download + self._install) / 0.92

    def python(self) -> Python:
        """The interpreter that the environment is built on."""
        python = self.plan.python
        if python is not None:
            return python
        uv = self._uv()
        self.job.progress(texts.STAGE_OWN_PYTHON, 0)
        env = child_environment(self.layout.tmp)
        env |= {"UV_PYTHON_INSTALL_BIN": "0", "UV_PYTHON_INSTALL_REGISTRY": "0", "UV_NO_PROGRESS": "1"}
        env |= {"UV_CACHE_DIR": str(self.layout.tmp / "uv")}
        if not self.online:
            env["UV_OFFLINE"] = "1"
        own = self.layout.own_python
        words = [uv, "python", "install", UV_PYTHON, "--install-dir", own]
        done = self.job.run(words, env=env, guard=self.blender_python)
        if done.code:
            known = explain(done, own)
            known = texts.UV_NO_NETWORK if known == texts.NO_NETWORK else known
            raise EnvironmentFailure(known or texts.UV_FAILED.format(reason=reason_of(done)))
        program = "python.exe" if sys.platform == "win32" else "bin/python3"
        for path in sorted(own.glob(f"cpython-{UV_PYTHON}*/{program}"), reverse=True):
            python = ask_python(self.job, self.lock.oldest, path, self.layout.tmp)
            if not python.problem:
                return python
        raise EnvironmentFailure(texts.UV_NO_PYTHON.format(folder=own))

    def _uv(self) -> Path:
        """uv: the user's own, ours from before, or from its wheel."""
        name = "uv.exe" if sys.platform == "win32" else "uv"
        wheel = self.lock.tool(self.plan.target, self.plan.python_short, "uv")
        ours = self.layout.tools / f"uv-{wheel.version}" / name
        found = shutil.which("uv")
        for path in (ours, Path(found) if found else None, Path.home() / ".local" / "bin" / name):
            if path is not None and path.is_file():
                return path
        self.job.progress(texts.STAGE_UV, 0)
        blender = ask_python(self.job, self.lock.oldest, self.blender_python, self.layout.tmp)
        file = self._tool_wheel(wheel, blender)
        with zipfile.ZipFile(file) as archive:
            inside = next((item for item in archive.namelist() if item.endswith(f".data/scripts/{name}")), None)
            if inside is None:
                raise EnvironmentFailure(texts.HASH.format(name=file.name))
            beside = self.layout.tmp / name
            beside.write_bytes(archive.read(inside))
        beside.chmod(0o755)
        ours.parent.mkdir(parents=True, exist_ok=True)
        move(beside, ours)
        return ours

    def venv(self, python: Python) -> None:
        """The environment, of this interpreter and in this place; an unsuitable one is made anew."""
        self.job.progress(texts.STAGE_VENV, 0)
        layout = self.layout
        config = layout.venv / "pyvenv.cfg"
        told = config.read_text("utf-8", "replace") if config.is_file() else ""
        version = re.search(r"^version\s*=\s*(\d+\.\d+)", told, re.MULTILINE)
        if layout.venv.exists() and (version is None or version[1] != python.short):
            remove_tree(layout.venv, self.job.check)
        elif layout.python.exists() and f"home = {python.base.parent}" in told:
            asked = ask_python(self.job, self.lock.oldest, layout.python, layout.tmp)
            if not asked.problem and asked.path.parent == layout.python.parent:
                return
        if layout.python.is_symlink():  # of an interpreter that is gone
            for link in layout.python.parent.glob("python*"):
                link.unlink()
        words = [python.base, "-I", "-X", "utf8", "-m", "venv", "--without-pip", layout.venv]
        done = self.job.run(words, env=child_environment(layout.tmp), guard=python.base)
        if done.code:
            raise EnvironmentFailure(
                explain(done, layout.venv) or texts.VENV_FAILED.format(python=python.base, reason=done.last)
            )
        asked = ask_python(self.job, self.lock.oldest, layout.python, layout.tmp)
        if asked.problem:
            raise EnvironmentFailure(texts.VENV_FAILED.format(python=python.base, reason=asked.problem))

    # --- pip ---------------------------------------------------------------------------------------------------------

    def pip(self, python: Python) -> None:
        """Our own pip, in a folder beside the environment; where it is not to be had, the one that Python brings."""
        self.job.progress(texts.STAGE_PIP, 0)
        wheel = self.lock.tool(self.plan.target, self.plan.python_short, "pip")
        folder = self.layout.tools / f"pip-{wheel.version}"
        if not folder.is_dir():
            local = self._local(wheel)
            if local is None and not self.online:
                folder = self._bootstrap(python)
            else:
                self._unzip(local or self._tool_wheel(wheel, python), folder)
        self._pip = folder

    def _bootstrap(self, python: Python) -> Path:
        """The pip that an interpreter carries for its own environments."""
        for carrier in (python.pip, self._blender_pip()):
            if carrier:
                folder = self.layout.tools / Path(carrier).name.removesuffix(".whl").split("-py")[0]
                folder = folder.with_name(f"{folder.name}-carried")
                if not folder.is_dir():
                    self._unzip(Path(carrier), folder)
                return folder
        raise EnvironmentFailure(texts.NO_BOOTSTRAP.format(python=python.path, version=python.short))

    def _blender_pip(self) -> str:
        return ask_python(self.job, self.lock.oldest, self.blender_python, self.layout.tmp).pip

    def _unzip(self, wheel: Path, folder: Path) -> None:
        beside = self.layout.tmp / folder.name
        remove_tree(beside, self.job.check)
        with zipfile.ZipFile(wheel) as archive:
            archive.extractall(beside)
        folder.parent.mkdir(parents=True, exist_ok=True)
        move(beside, folder)

    def _tool_wheel(self, wheel: Wheel, python: Python) -> Path:
        """The wheel of pip or uv: from the folder of packages, or from the index by the pip that a Python carries."""
        local = self._local(wheel)
        if local is not None:
            return local
        if not self.online:
            raise EnvironmentFailure(texts.NO_PYTHON_OFFLINE)
        before, self._pip = self._pip, self._bootstrap(python)
        self._fetch([wheel], python=python.base)
        self._pip = before
        return self.layout.wheels / wheel.file

    def _run_pip(self, python: Path, words: Iterable[str | Path], *, online: bool, **how: Any) -> Finished:
        env = child_environment(self.layout.tmp, pip=online)
        line = [python, "-I", "-X", "utf8", "-c", RUN_PIP, self._pip, *words]
        line += ["--disable-pip-version-check", "--no-input", "--no-color"]
        return self.job.run(line, env=env, guard=python, **how)

    # --- download ----------------------------------------------------------------------------------------------------

    def wanted(self) -> list[Wheel]:
        """All that the environment holds, PyTorch of the chosen build with it."""
        build = self.chosen()
        return [*self.lock.packages(self.plan.target, self.plan.python_short), *build.wheels, *self.unlocked(build)]

    def chosen(self) -> Build:
        """The build of PyTorch that is being installed."""
        builds = self.lock.builds(self.plan.target, self.plan.python_short)
        return builds.get(self.build, Build(self.build))

    def unlocked(self, build: Build) -> list[Wheel]:
        """PyTorch, where its own index has it and we know no hash."""
        if build.wheels or not self.lock.torch_version:
            return []
        local = f"+{build.name}" if self.plan.target != "macos-arm64" else ""
        return [Wheel("", "torch", f"{self.lock.torch_version}{local}", "", build.size)]

    def missing(self) -> list[Wheel]:
        """What is not there, or not whole, or of another version."""
        self.job.progress(texts.STAGE_COMPARE, 0)
        sweep(self.layout.site(), self.job.check)
        there = installed(self.layout.site())
        lacking = []
        for wheel in self.wanted():
            version, info = there.get(canonical(wheel.name), ("", Path()))
            if version != wheel.version or damage(info, self.job.check):
                lacking.append(wheel)
            elif not wheel.sha256 and self.chosen().cuda and self.plan.target.startswith("linux"):
                beside = [there.get(name) for name in companions(info)]
                if any(one is None or damage(one[1], self.job.check) for one in beside):
                    lacking.append(wheel)
        return lacking

    def download(self) -> dict[str, Path]:
        """Every missing wheel as a file, by name; what was fetched before is taken after a look at its hash."""
        files: dict[str, Path] = {}
        to_fetch = []
        missing = self.missing()
        for wheel in self.wanted() if self.keep_wheels else missing:
            local = self._local(wheel) if wheel.sha256 else None
            found = {wheel.name: local} if local is not None else self._local_torch(wheel) if not wheel.sha256 else {}
            files |= found
            if not found:
                to_fetch.append(wheel)
        if to_fetch and not self.online:
            if self.offline is None:
                raise EnvironmentFailure(texts.OFFLINE)
            names = ", ".join(wheel.file or f"{wheel.name} {wheel.version}" for wheel in to_fetch[:3])
            names += ", ..." if len(to_fetch) > 3 else ""
            raise EnvironmentFailure(
                texts.OFFLINE_FOLDER_LACKS.format(folder=self.offline, count=len(to_fetch), names=names)
            )
        for batch in batches(to_fetch):
            if not batch[0].sha256:
                files |= self._fetch_torch(batch[0])
            else:
                self._fetch(batch, python=self.layout.python)
                files |= {wheel.name: self.layout.wheels / wheel.file for wheel in batch}
        there = {wheel.name for wheel in self.wanted()} - {wheel.name for wheel in missing}
        return {name: path for name, path in files.items() if name not in there}

    def _local(self, wheel: Wheel) -> Path | None:
        """The wheel in our own downloads or in the user's folder, once its hash agrees.

        Raises:
            EnvironmentFailure: the user's folder holds another file under that name.
        """
        for folder in (self.layout.wheels, self.offline):
            if folder is None:
                continue
            path = folder / wheel.file
            if not path.is_file():
                continue
            if path.stat().st_size == wheel.size and hash_of(path, self.job.check) == wheel.sha256:
                return path
            if folder == self.offline:
                raise EnvironmentFailure(texts.HASH.format(name=path))
            path.unlink()
        return None

    def _local_torch(self, torch: Wheel) -> dict[str, Path]:
        """PyTorch of a build that is not locked, and what came with it: from our downloads or the user's folder."""
        listed = read_json(self._torch_list()) or {}
        ours = {name: self.layout.wheels / file for name, file in listed.items()}
        if ours and all(path.is_file() for path in ours.values()):
            return ours
        python = self.plan.python_short.replace(".", "")
        if self.offline is None:
            return {}
        found = sorted(self.offline.glob(f"torch-{torch.version}-cp{python}-*.whl"))
        beside = [path for kind in ("nvidia_", "cuda_", "triton") for path in sorted(self.offline.glob(f"{kind}*.whl"))]
        if not found:
            return {}
        chosen = [found[0], *(beside if self.chosen().cuda else ())]
        return {canonical(path.name.split("-")[0]): path for path in chosen}

    def _torch_list(self) -> Path:
        return self.layout.wheels / f"torch-{self.build}.json"

    def _fetch(self, batch: list[Wheel], *, python: Path) -> None:
        """Have pip fetch wheels whose hashes are known, then put them beside the finished ones."""
        lines = "".join(f"{wheel.name}=={wheel.version} --hash=sha256:{wheel.sha256}\n" for wheel in batch)
        requirements = self.layout.tmp / "requirements.txt"
        requirements.write_text(lines, "utf-8")
        into = self.layout.tmp / "fetched"
        words = ["download", "--no-deps", "--only-binary", ":all:", "--require-hashes", "-r", requirements]
        meter = Meter(self, {wheel.file: wheel.size for wheel in batch})
        done = self._pip_download(python, words, into, meter)
        if done.code:
            failed = explain(done, self.layout.folder) or pip_sentence(done)
            raise EnvironmentFailure(failed)
        for wheel in batch:
            if not (into / wheel.file).is_file():
                raise EnvironmentFailure(texts.PIP_FAILED.format(code=0, reason=f"no {wheel.file}"))
            move(into / wheel.file, self.layout.wheels / wheel.file)
        meter.finish()

    def _fetch_torch(self, torch: Wheel) -> dict[str, Path]:
        """PyTorch from its own index, or from pip's when that has the wanted build; what else it needs comes along."""
        for number, name in enumerate((self.build, *self.plan.fallbacks)):
            self.build = name
            build = self.chosen()
            [torch] = self.unlocked(build) or [torch]
            words: list[str | Path] = ["download", "--only-binary", ":all:", f"torch=={torch.version}"]
            if build.index:
                words += ["--extra-index-url", build.index]
            if build.cuda:
                pins = self.layout.tmp / "constraints.txt"
                wheels = self.lock.packages(self.plan.target, self.plan.python_short)
                pins.write_text("".join(f"{wheel.name}=={wheel.version}\n" for wheel in wheels), "utf-8")
                words += ["--constraint", pins, "--find-links", self.layout.wheels]
            else:
                words.append("--no-deps")
            into = self.layout.tmp / "fetched"
            meter = Meter(self, {}, torch.size, "torch")
            done = self._pip_download(self.layout.python, words, into, meter)
            if done.code == 0:
                break
            text = "\n".join(done.lines)
            if "No matching distribution found" in text and not re.search(NETWORK, text):
                if number < len(self.plan.fallbacks):
                    continue
                raise EnvironmentFailure(texts.NO_MATCH_TORCH.format(build=name, name=f"PyTorch {torch.version}"))
            sentence = explain(done, self.layout.folder) or pip_sentence(done)
            if sentence == texts.NO_NETWORK and build.index:
                sentence = texts.NO_TORCH_INDEX.format(build=name)
            raise EnvironmentFailure(sentence)
        found = {}
        pinned = {canonical(wheel.name) for wheel in self.lock.packages(self.plan.target, self.plan.python_short)}
        for path in sorted(into.glob("*.whl")):
            name = canonical(path.name.split("-")[0])
            if name not in pinned:
                move(path, self.layout.wheels / path.name)
                found[name] = self.layout.wheels / path.name
        write_whole(self._torch_list(), {name: path.name for name, path in found.items()})
        meter.finish()
        return found

    def _pip_download(self, python: Path, words: list[Any], into: Path, meter: Meter) -> Finished:
        remove_tree(into, self.job.check)
        into.mkdir(parents=True)
        self.layout.wheels.mkdir(exist_ok=True)
        version = re.match(r"pip-(\d+)\.(\d+)", self._pip.name)
        raw = version is not None and (int(version[1]), int(version[2])) >= (24, 1)
        words = [*words, "--dest", into, "--no-cache-dir", "--progress-bar", "raw" if raw else "off"]
        return self._run_pip(python, words, online=True, on_line=meter.line)

    # --- install -----------------------------------------------------------------------------------------------------

    def install(self, files: dict[str, Path]) -> None:
        """Unpack the wheels into the environment; the bar follows the packages that are finished."""
        if not files:
            return
        self.job.progress(texts.STAGE_INSTALL_START, self._download / self._whole)
        requirements = self.layout.tmp / "install.txt"
        lines = [f"{name} @ {path.resolve().as_uri()}\n" for name, path in files.items()]
        requirements.write_text("".join(lines), "utf-8")
        site = self.layout.site()
        sizes = {canonical(name): path.stat().st_size for name, path in files.items()}
        whole = max(1, sum(sizes.values()))
        began, seen, looked = time.time() - 2, set(), [0.0]

        def tick() -> None:
            if time.monotonic() - looked[0] < 0.5:
                return
            looked[0] = time.monotonic()
            for name, (_, info) in installed(site).items():
                if name in sizes and name not in seen and (info / "RECORD").stat().st_mtime >= began:
                    seen.add(name)
                    part = sum(sizes[done] for done in seen) / whole
                    fraction = (self._download + part * self._install) / self._whole
                    self.job.progress(texts.STAGE_INSTALL.format(name=name), fraction)

        words = ["install", "--no-index", "--no-deps", "--no-compile", "--force-reinstall", "-r", requirements]
        done = self._run_pip(self.layout.python, [*words, "--progress-bar", "off"], online=False, tick=tick)
        if done.code:
            raise EnvironmentFailure(explain(done, self.layout.folder) or pip_sentence(done))

    def link(self) -> None:
        """The way from the environment to the extension's own code."""
        write_shim(self.layout.site(), self.extension, self.layout.tmp)

    def trial(self) -> dict[str, Any]:
        """Load every package once, in the environment."""
        return probe(self.job, self.lock, self.layout.python, self.layout, self.layout.tmp, start=0.92)

    def received(self, name: str, extra: int) -> None:
        """The bar while something is downloaded."""
        now = self._received + extra
        text = texts.STAGE_DOWNLOAD.format(name=name)
        self.job.progress(text, min(now, self._download) / self._whole, now, max(now, self.plan.download))

    def keep(self, size: int) -> None:
        """A download is finished."""
        self._received += size


class Meter:
    """Follows one call of pip download: its lines become bytes of the whole job."""

    def __init__(self, maker: Maker, sizes: dict[str, int], whole: int = 0, name: str = "") -> None:
        self._maker, self._sizes, self._whole = maker, sizes, whole or sum(sizes.values())
        self._before, self._now, self._name = 0, 0, name

    def line(self, line: str) -> None:
        """A line of pip's."""
        match = re.match(r"\s*(?:Downloading|Using cached) (\S+)", line)
        if match:
            self._before += self._now
            self._now = 0
            file = unquote(match[1].rsplit("/", 1)[-1])
            self._name = file.split("-")[0] if file.endswith(".whl") else ""
            self._maker.job.check()
        match = re.match(r"Progress (\d+) of (\d+)", line)
        if match and self._name:
            self._now = int(match[1])
            self._maker.received(self._name, min(self._whole, self._before + self._now))

    def finish(self) -> None:
        """All of it is here."""
        self._maker.keep(self._whole)
        self._maker.received(self._name, 0)


def batches(wheels: list[Wheel]) -> list[list[Wheel]]:
    """Small wheels together, a large one alone: what is fetched before a stop is few calls and little loss."""
    alone = [[wheel] for wheel in wheels if wheel.size > BATCH // 2 or not wheel.sha256]
    small = sorted((wheel for wheel in wheels if wheel.size <= BATCH // 2 and wheel.sha256), key=lambda one: one.size)
    groups: list[list[Wheel]] = []
    for wheel in small:
        if groups and sum(one.size for one in groups[-1]) + wheel.size <= BATCH:
            groups[-1].append(wheel)
        else:
            groups.append([wheel])
    return groups + sorted(alone, key=lambda one: one[0].size)
