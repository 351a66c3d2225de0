"""What is wrong with an environment, and how to mend it: every file, every package, every system library. No bpy."""

from __future__ import annotations

import contextlib
import json
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from . import environment_texts as texts
from .environment_failures import EnvironmentFailure, sentence_of
from .environment_files import Layout, canonical, damage, installed
from .environment_jobs import Job
from .environment_plan import Lock
from .environment_system import child_environment

# Tries the packages one by one and says what was found, in one line of JSON at the end.
PROBE = """
import ctypes, importlib, json, sys
from importlib import metadata
names = json.loads(sys.argv[1])
found = {"python": "%d.%d.%d" % sys.version_info[:3], "errors": {}, "versions": {}, "libraries": []}
def why(error):
    lines = str(error).strip().splitlines()
    return type(error).__name__ + (": " + lines[0] if lines else "")
for name, module in names.items():
    print("trying", name, flush=True)
    try:
        found["versions"][name] = metadata.version(name)
    except metadata.PackageNotFoundError:
        pass
    try:
        importlib.import_module(module)
    except BaseException as error:
        found["errors"][name] = why(error)
if "torch" in sys.modules:
    torch = sys.modules["torch"]
    found["torch"], found["cuda"] = torch.__version__, torch.version.cuda
    found["gpu"] = torch.cuda.is_available()
print("trying", "headstitch", flush=True)
try:
    import headstitch
    found["headstitch"] = headstitch.__version__
    from headstitch.backend import system
    for library, package, who in system.known_libraries() if sys.platform == "linux" else ():
        if who == "backend":
            try:
                ctypes.CDLL(library)
            except OSError:
                found["libraries"].append([library, package])
except BaseException as error:
    found["errors"]["headstitch"] = why(error)
print("found " + json.dumps(found), flush=True)
"""


@dataclass(frozen=True)
class Problem:
    """What is wrong, and how to mend it: one sentence each."""

    what: str
    mend: str


@dataclass(frozen=True)
class Report:
    """What ``check`` and ``make`` found. ``notes`` are worth knowing and need no mending."""

    problems: tuple[Problem, ...] = ()
    notes: tuple[str, ...] = ()
    facts: tuple[tuple[str, str], ...] = ()

    @property
    def sentence(self) -> str:
        """The first problem with its mending, or that all is well."""
        if not self.problems:
            return texts.CHECK_GOOD
        return f"{self.problems[0].what}. {self.problems[0].mend}"


def probe(
    job: Job[Any], lock: Lock, python: Path, layout: Layout, tmp: Path, *, start: float, prefix: str = ""
) -> dict[str, Any]:
    """What an environment says of itself; see PROBE.

    Args:
        job: runs it.
        lock: names the packages to try.
        python: the environment's interpreter.
        layout: where compiled files go.
        tmp: for its temporary files.
        start: where the bar stands when it begins.
        prefix: lines of Python that go before the question, to put ``headstitch`` on the path.

    Raises:
        EnvironmentFailure: the interpreter does not run or answers nothing.
    """
    step = (1 - start) / (len(lock.imports) + 2)
    count = 0

    def line(text: str) -> None:
        nonlocal count
        if text.startswith("trying "):
            count += 1
            job.progress(texts.STAGE_VERIFY.format(name=text.split()[1]), start + step * count)

    compiled = f"pycache_prefix={layout.compiled}"
    words = [python, "-I", "-X", "utf8", "-X", compiled, "-c", prefix + PROBE, json.dumps(lock.imports)]
    try:
        done = job.run(words, env=child_environment(tmp), guard=python, on_line=line, timeout=600)
    except OSError as error:
        raise EnvironmentFailure(texts.INTERPRETER_FAILS.format(reason=sentence_of(error, python))) from error
    told = [text for text in done.lines if text.startswith("found {")]
    if done.code or not told:
        raise EnvironmentFailure(texts.INTERPRETER_FAILS.format(reason=done.last))
    return json.loads(told[-1].removeprefix("found "))


def package_problems(job: Job[Any], lock: Lock, layout: Layout, stamp: dict[str, Any]) -> list[Problem]:
    """Packages that are missing, of another version, or damaged: by the list, and by what was there when made."""
    wanted = dict(stamp.get("packages", {}))
    with contextlib.suppress(KeyError):
        target, python, build = str(stamp["target"]), str(stamp["python"]), str(stamp["build"])
        wheels = (*lock.packages(target, python), *lock.builds(target, python)[build].wheels)
        wanted |= {canonical(wheel.name): wheel.version for wheel in wheels}
    there = installed(layout.site())
    problems = []
    for number, (name, version) in enumerate(sorted(wanted.items())):
        job.progress(texts.STAGE_COMPARE, 0.2 * number / len(wanted))
        found, info = there.get(name, ("", Path()))
        if not found:
            what = texts.MISSING_PACKAGE.format(name=name, version=version)
        elif found != version:
            what = texts.WRONG_PACKAGE.format(name=name, version=version, found=found)
        elif file := damage(info, job.check):
            what = texts.DAMAGED_PACKAGE.format(name=name, version=version, file=file)
        else:
            continue
        problems.append(Problem(what, texts.MEND_MAKE))
    return problems


def report_of(found: dict[str, Any], version: str, build: str, told: list[Problem]) -> Report:
    """What the trial of an environment says, in sentences.

    Args:
        found: what ``probe`` returned.
        version: the add-on's.
        build: of PyTorch.
        told: what is known to be wrong already; stands first, and is not said twice.
    """
    problems = list(told)
    libraries = found["libraries"]
    for library, package in libraries:
        mend = texts.MEND_SYSTEM_LIBRARY.format(packages=package)
        problems.append(Problem(texts.SYSTEM_LIBRARY.format(library=library), mend))
    for name, reason in found["errors"].items():
        what, mend = texts.DOES_NOT_IMPORT.format(name=name, reason=reason), texts.MEND_IMPORT
        if any(one.what.startswith(f"{name} ") for one in told):
            continue  # its files are missing or of another version
        if "cannot open shared object file" in reason:
            if libraries:
                continue  # said already, with the package that holds the library
            mend = texts.MEND_OTHER_LIBRARY
        elif "DLL load failed" in reason or "WinError 126" in reason:
            what, mend = texts.VISUAL_CPP.format(name=name), texts.MEND_VISUAL_CPP
        elif name == "headstitch":
            what, mend = texts.NO_BACKEND.format(reason=reason), texts.MEND_MAKE
        problems.append(Problem(what, mend))
    runs = found.get("headstitch", version)
    if runs != version:
        problems.append(Problem(texts.OTHER_VERSION.format(found=runs, wanted=version), texts.MEND_MAKE))
    notes = []
    if found.get("cuda") and not found.get("gpu"):
        notes.append(f"{texts.NO_CUDA.format(build=build)}. {texts.MEND_CUDA}")
    facts = {key: str(found[key]) for key in ("python", "torch", "cuda", "gpu", "headstitch") if found.get(key)}
    return Report(tuple(problems), tuple(notes), tuple(facts.items()))


def report_of_existing(found: dict[str, Any], version: str, lock: Lock) -> Report:
    """The same for a Python that the user set up: there he mends it himself, and other versions are only noted."""
    report = report_of(found, version, "existing", [])
    problems = [
        replace(problem, mend=texts.MEND_NAME_OTHER) if problem.mend == texts.MEND_IMPORT else problem
        for problem in report.problems
    ]
    notes = list(report.notes)
    for line in lock.requires:
        name, _, wanted = line.partition("==")
        there = found["versions"].get(canonical(name))
        if wanted and there and there.partition("+")[0] != wanted:
            notes.append(texts.OTHER_PIN.format(name=name, found=there, wanted=wanted))
    return replace(report, problems=tuple(problems), notes=tuple(notes))
