"""The backend's own Python environment: made, checked, updated and removed beside Blender's. Imports no bpy.

    environment = Environment(folder, extension, version)  # folder: the extension's user path / "environment"
    environment.status()                                   # at once: absent, partial, ready, outdated or broken
    job = environment.make(online=bpy.app.online_access, obtain_python=True)
    for event in job.poll(): ...                      # from a timer; never waits
    subprocess.Popen(environment.command("serve"), ...)

Whatever takes time is a ``Job`` (environment_jobs.py). A stop or a kill at any moment leaves the environment absent or
partial, never falsely ready: the stamp is taken away first and written last. ``make`` looks at what is there and does
what is missing: it makes, goes on, mends, moves and updates.
"""

from __future__ import annotations

import contextlib
import errno
import os
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

from . import environment_texts as texts
from .environment_check import Problem, Report, package_problems, probe, report_of, report_of_existing
from .environment_failures import EnvironmentFailure
from .environment_files import Layout, installed, read_json, remove_tree, write_whole
from .environment_install import Maker
from .environment_jobs import Cancelled, Event, Job
from .environment_plan import LOCK, TORCH_INDEX, Lock, Plan, Planner, Wishes
from .environment_system import PYTHONS, ask_python

__all__ = ["Cancelled", "Environment", "EnvironmentFailure", "Event", "Job", "Plan", "Problem", "Report", "Status"]

SCHEMA = 1
PATIENCE = 1.5  # seconds that the programs of a Blender that was killed may take to end
T = TypeVar("T")

# Makes the add-on's own code the package headstitch in a Python that the user set up, whatever else is there.
OWN_CODE = """
import importlib.util, sys
home = {extension!r}
spec = importlib.util.spec_from_file_location("headstitch", home + "/__init__.py", submodule_search_locations=[home])
sys.modules["headstitch"] = module = importlib.util.module_from_spec(spec)
spec.loader.exec_module(module)
"""
RUN = "import runpy\nrunpy.run_module('headstitch.backend', run_name='__main__', alter_sys=True)\n"


@dataclass(frozen=True)
class Status:
    """How it stands: ``state`` is absent, partial, ready, outdated or broken; ``sentence`` is for a person."""

    state: str
    sentence: str
    python: str = ""  # the interpreter that the backend runs in
    build: str = ""  # of PyTorch; "existing" for a Python that the user named
    version: str = ""  # of Headstitch, that it was made by


class Environment:
    """The backend's environment in ``folder``.

    Args:
        folder: a folder of its own; made when needed. Under Blender: ``extension_path_user(...)/environment``.
        extension: the extension's folder, which holds ``backend/``; whatever its name.
        version: the add-on's version.
        packages: the list of packages; another one in tests.
        torch_index: the list of PyTorch's own indices.
        blender_python: the interpreter that runs this; brings a pip when nothing else does.

    Raises:
        EnvironmentFailure: the list of packages cannot be read.
    """

    def __init__(
        self,
        folder: Path,
        extension: Path,
        version: str,
        *,
        packages: Path = LOCK,
        torch_index: Path = TORCH_INDEX,
        blender_python: Path | None = None,
    ) -> None:
        self.folder = Path.cwd() / folder  # not resolved: a link stays the name that the user knows
        self.extension = Path.cwd() / extension
        self.version = version
        self._lock = Lock(packages, torch_index)
        self._layout = Layout(self.folder)
        self._blender_python = blender_python or Path(sys.executable)
        self._planner = Planner(self._lock, self._layout, self._blender_python)

    # --- at once -----------------------------------------------------------------------------------------------------

    def status(self) -> Status:
        """How it stands, from a few small files: quick enough for a panel, but not for every redraw."""
        layout = self._layout
        existing = read_json(layout.existing)
        if existing is not None:
            python = str(existing.get("python", ""))
            known = {"python": python, "build": "existing", "version": self.version}
            if not Path(python).is_file():
                return Status("broken", texts.STATE_BROKEN_EXISTING.format(python=python), **known)
            return Status("ready", texts.STATE_READY_EXISTING.format(python=python), **known)
        stamp = read_json(layout.stamp)
        if stamp is None:
            begun = any(path.exists() for path in (layout.venv, layout.wheels, layout.tools, layout.own_python))
            if begun and layout.owner.exists():
                return Status("partial", texts.STATE_PARTIAL)
            return Status("absent", texts.STATE_ABSENT)
        made = str(stamp.get("version", ""))
        known = {"python": str(layout.python), "build": str(stamp.get("build", "")), "version": made}
        for python in (layout.python, Path(str(stamp.get("base", "")))):
            if not python.is_file():
                return Status("broken", texts.STATE_BROKEN_PYTHON.format(python=python), **known)
        if stamp.get("folder") != str(self.folder) or stamp.get("extension") != str(self.extension):
            place = stamp.get("extension" if stamp.get("folder") == str(self.folder) else "folder")
            return Status("outdated", texts.STATE_OUTDATED_PLACE.format(place=place), **known)
        if stamp.get("schema") != SCHEMA or stamp.get("fingerprint") != self._fingerprint_of(stamp):
            return Status("outdated", texts.STATE_OUTDATED_PINS.format(made=made, now=self.version), **known)
        return Status("ready", texts.STATE_READY, **known)

    def command(self, *arguments: str) -> list[str]:
        """The command line of the backend, as ``command("serve")``.

        Raises:
            EnvironmentFailure: the environment is not ready.
        """
        status = self.status()
        if status.state != "ready":
            raise EnvironmentFailure(status.sentence)
        compiled = f"pycache_prefix={self._layout.compiled}"
        words = [status.python, "-I", "-u", "-X", "utf8", "-X", compiled]
        if status.build == "existing":
            return [*words, "-c", OWN_CODE.format(extension=str(self.extension)) + RUN, *arguments]
        return [*words, "-m", "headstitch.backend", *arguments]

    @property
    def log(self) -> Path:
        """Where the last job wrote what its programs said."""
        return self._layout.log

    def forget_existing(self) -> None:
        """Go back from the Python that the user named to our own environment.

        Raises:
            EnvironmentFailure: another process works on the environment, or the file cannot be deleted.
        """
        if self._layout.existing.exists():
            with self._hold():
                remove_tree(self._layout.existing, lambda: None)

    # --- jobs --------------------------------------------------------------------------------------------------------

    def plan(
        self,
        *,
        online: bool,
        build: str = "auto",
        python: Path | None = None,
        wheels: Path | None = None,
        keep_wheels: bool = False,
    ) -> Job[Plan]:
        """What ``make`` with the same arguments would do: the sizes, the Python, the build, and what is in the way."""

        def work(job: Job[Plan]) -> Plan:
            with self._aside(job) as tmp:
                return self._planner.plan(job, tmp, Wishes(online, build, python, wheels, keep_wheels))

        return Job(work, self._layout.check_log)

    def make(
        self,
        *,
        online: bool,
        obtain_python: bool = False,
        build: str = "auto",
        python: Path | None = None,
        wheels: Path | None = None,
        keep_wheels: bool = False,
    ) -> Job[Report]:
        """Make it, go on with it, mend it or update it.

        Args:
            online: whether the network may be used: ``bpy.app.online_access``.
            obtain_python: the user's consent to obtain uv and a Python when no Python 3.11 or 3.12 is here.
            build: of PyTorch: ``auto``, ``cpu``, or one of the plan's builds such as ``cu126``.
            python: the interpreter to build on; None looks for one.
            wheels: a folder of wheels to install from; with ``online`` false nothing else is used.
            keep_wheels: leave the downloads in ``folder/wheels``, for another computer of the same kind.
        """

        def work(job: Job[Report]) -> Report:
            self._claim()
            with self._hold(job), self._scratch():
                return self._make(job, Wishes(online, build, python, wheels, keep_wheels), obtain_python)

        return Job(work, self._layout.log)

    def check(self) -> Job[Report]:
        """Look at every file and load every package: what is wrong, and how each is mended. Changes nothing."""

        def work(job: Job[Report]) -> Report:
            with self._aside(job) as tmp:
                return self._check(job, tmp)

        return Job(work, self._layout.check_log)

    def use_existing(self, python: Path) -> Job[Report]:
        """Run the backend in a Python that the user has set up; our own environment stays as it is."""

        def work(job: Job[Report]) -> Report:
            self._claim()
            with self._hold(job), self._scratch():
                return self._use_existing(job, Path(python))

        return Job(work, self._layout.log)

    def remove(self) -> Job[None]:
        """Delete what was made here, and nothing else. Refuses a folder that we did not make."""

        def work(job: Job[None]) -> None:
            if not self.folder.exists():
                return
            if read_json(self._layout.owner) is None:
                raise EnvironmentFailure(texts.NOT_OURS.format(folder=self.folder))
            with self._hold(job, log=False):
                self._remove(job)

        return Job(work, self._layout.log)

    # --- make --------------------------------------------------------------------------------------------------------

    def _make(self, job: Job[Report], wishes: Wishes, obtain_python: bool) -> Report:
        layout = self._layout
        plan = self._planner.plan(job, layout.tmp, wishes)
        job.write(f"plan: {plan.sentence}; Python {plan.python}; build {plan.build}; GPU {plan.gpu or 'none'}")
        if plan.problems:
            raise EnvironmentFailure(plan.problems[0])
        if plan.obtains_python and not obtain_python:
            raise EnvironmentFailure(plan.notes[0])
        remove_tree(layout.stamp, job.check)  # from here on it is partial
        maker = Maker(job, layout, self._lock, plan, wishes, self.extension, self._blender_python)
        python = maker.python()
        maker.venv(python)
        maker.pip(python)
        maker.install(maker.download())
        still = maker.missing()
        if still:
            names = ", ".join(wheel.name for wheel in still[:3])
            raise EnvironmentFailure(texts.PIP_FAILED.format(code=0, reason=f"{names} still missing"))
        maker.link()
        found = maker.trial()
        report = report_of(found, self.version, maker.build, [])
        fatal = [problem for problem in report.problems if problem.mend in (texts.MEND_IMPORT, texts.MEND_MAKE)]
        if fatal:
            raise EnvironmentFailure(f"{fatal[0].what}; {texts.MEND_IMPORT}")
        if not wishes.keep_wheels:
            remove_tree(layout.wheels, job.check)
        remove_tree(layout.existing, job.check)
        packages = {name: version for name, (version, _) in installed(layout.site()).items()}
        write_whole(
            layout.stamp,
            {
                "schema": SCHEMA,
                "version": self.version,
                "folder": str(self.folder),
                "extension": str(self.extension),
                "target": plan.target,
                "python": plan.python_short,
                "base": str(python.base),
                "build": maker.build,
                "fingerprint": self._lock.fingerprint(plan.target, plan.python_short, maker.build),
                "packages": packages,
                "made": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()),
            },
        )
        return report

    def _fingerprint_of(self, stamp: dict[str, Any]) -> str:
        """What the stamp's fingerprint would be with the add-on's packages of today."""
        try:
            return self._lock.fingerprint(str(stamp["target"]), str(stamp["python"]), str(stamp["build"]))
        except KeyError:
            return ""

    # --- check -------------------------------------------------------------------------------------------------------

    def _check(self, job: Job[Report], tmp: Path) -> Report:
        status, layout = self.status(), self._layout
        if status.state in ("absent", "partial"):
            return Report((Problem(status.sentence, texts.MEND_MAKE),))
        problems = [] if status.state == "ready" else [Problem(status.sentence, texts.MEND_MAKE)]
        if status.build == "existing":
            if status.state == "broken":
                return Report((Problem(status.sentence, texts.MEND_PYTHON),))
            found = self._probe_existing(job, Path(status.python), tmp)
            return report_of_existing(found, self.version, self._lock)
        problems += package_problems(job, self._lock, layout, read_json(layout.stamp) or {})
        try:
            found = probe(job, self._lock, layout.python, layout, tmp, start=0.2)
        except EnvironmentFailure as failure:
            return Report((*problems, Problem(str(failure), texts.MEND_PYTHON)))
        return report_of(found, self.version, status.build, problems)

    # --- a Python that the user named --------------------------------------------------------------------------------

    def _use_existing(self, job: Job[Report], named: Path) -> Report:
        job.progress(texts.STAGE_PYTHON, 0)
        # Not the resolved path: the python of an environment is a link to its base.
        python = ask_python(job, self._lock.oldest, Path.cwd() / named, self._layout.tmp)
        if python.version[:2] not in PYTHONS or not python.target:
            raise EnvironmentFailure(python.problem)
        found = self._probe_existing(job, python.path, self._layout.tmp)
        report = report_of_existing(found, self.version, self._lock)
        if report.problems:
            raise EnvironmentFailure(report.sentence)
        write_whole(self._layout.existing, {"schema": SCHEMA, "python": str(python.path)})
        return report

    def _probe_existing(self, job: Job[Report], python: Path, tmp: Path) -> dict[str, Any]:
        prefix = OWN_CODE.format(extension=str(self.extension))
        return probe(job, self._lock, python, self._layout, tmp, start=0.05, prefix=prefix)

    # --- remove ------------------------------------------------------------------------------------------------------

    def _remove(self, job: Job[None]) -> None:
        things = [path for path in self._layout.made() if path not in (self._layout.lock, self._layout.owner)]
        for number, path in enumerate(things):
            job.progress(texts.STAGE_REMOVE.format(name=path.name), number / len(things))
            try:
                remove_tree(path, job.check)
            except OSError as error:
                reason = error.strerror or str(error)
                raise EnvironmentFailure(
                    texts.CANNOT_REMOVE.format(path=error.filename or path, reason=reason)
                ) from error
        self._layout.owner.unlink(missing_ok=True)

    # --- whose folder this is ----------------------------------------------------------------------------------------

    def _claim(self) -> None:
        """Make the folder ours.

        Raises:
            EnvironmentFailure: it holds what we did not make.
            OSError: it cannot be made.
        """
        if self.folder.exists() and not self.folder.is_dir():
            raise EnvironmentFailure(texts.NOT_A_FOLDER.format(folder=self.folder))
        self.folder.mkdir(parents=True, exist_ok=True)
        if read_json(self._layout.owner) is not None:
            return
        ours = {path.name for path in (self._layout.lock, self._layout.log)}
        for entry in os.scandir(self.folder):
            if entry.name not in ours and not entry.name.startswith(self._layout.owner.name):
                raise EnvironmentFailure(texts.FOREIGN.format(folder=self.folder, name=entry.name))
        write_whole(self._layout.owner, {"made_by": "headstitch", "schema": SCHEMA})

    @contextmanager
    def _aside(self, job: Job[Any]) -> Iterator[Path]:
        """For jobs that change nothing and may run beside others: the system's temporary folder, a log of their own."""
        if self._layout.owner.exists():
            job.begin_log()
        with tempfile.TemporaryDirectory(prefix="headstitch-", ignore_cleanup_errors=True) as tmp:
            yield Path(tmp)

    @contextmanager
    def _scratch(self) -> Iterator[None]:
        """Our folder for temporary files: empty before, gone afterwards. Only for who holds the lock."""
        remove_tree(self._layout.tmp, lambda: None)
        self._layout.tmp.mkdir(parents=True)
        try:
            yield
        finally:
            with contextlib.suppress(OSError):
                remove_tree(self._layout.tmp, lambda: None)

    @contextmanager
    def _hold(self, job: Job[Any] | None = None, *, log: bool = True) -> Iterator[None]:
        """Keep every other process and job away.

        The file holds the process id for the message; what counts is the system's lock on it, which ends with its
        holder, so that the file of a killed process stops nobody.

        Raises:
            EnvironmentFailure: somebody else holds it.
        """
        path = self._layout.lock
        descriptor = os.open(path, os.O_RDWR | os.O_CREAT, 0o644)
        try:
            patience = time.monotonic() + PATIENCE
            while not _take(descriptor, path):
                if job is not None and time.monotonic() < patience:
                    job.check()
                    time.sleep(0.1)
                    continue
                os.lseek(descriptor, 0, os.SEEK_SET)
                pid = os.read(descriptor, 32).decode("ascii", "replace").strip()
                raise EnvironmentFailure(texts.BUSY.format(pid=pid or "?"))
            os.ftruncate(descriptor, 0)
            os.lseek(descriptor, 0, os.SEEK_SET)
            os.write(descriptor, f"{os.getpid()}\n".encode())
            if job is not None:
                job.hold(descriptor)
                if log:
                    job.begin_log()
            yield
            if not self._layout.owner.exists():  # removed: leave nothing behind
                with contextlib.suppress(OSError):
                    path.unlink()
                    self.folder.rmdir()
        finally:
            os.close(descriptor)


def _take(descriptor: int, path: Path) -> bool:
    """Take the system's lock on an open file; False where another holds it, or has just deleted the file."""
    if sys.platform == "win32":
        import msvcrt

        os.lseek(descriptor, 1 << 20, os.SEEK_SET)  # far behind the process id, which others must be able to read
        try:
            msvcrt.locking(descriptor, msvcrt.LK_NBLCK, 1)
        except OSError:
            return False
        return True
    import fcntl

    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError as error:
        if error.errno in (errno.EWOULDBLOCK, errno.EACCES):
            return False
        raise
    return path.exists() and os.fstat(descriptor).st_ino == path.stat().st_ino
