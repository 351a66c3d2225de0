"""A Blender process that draws scenes out of folders, kept warm from one to the next. Knows nothing of heads.

The other side is ``addon/cycles_heads``: folders go to its stdin by name, answers come back as lines after ``MARK``.
"""

from __future__ import annotations

import collections
import contextlib
import json
import os
import queue
import shutil
import subprocess
import sys
import tempfile
import threading
from importlib.util import find_spec
from pathlib import Path
from typing import Any, Self

from ..errors import OptionError, ResourceError

VARIABLE = "HEADSTITCH_BLENDER"  # names a Blender, or a Python that has bpy
MARK = "headstitch-cycles "
_DOOR = Path(__file__).resolve().parents[2] / "addon" / "cycles_heads" / "__main__.py"
_GIVE = f"give Blender 4.2 or newer, or a Python that has the bpy package, as --blender-python or in {VARIABLE}"


class Blender:
    """One Blender that stays between scenes. To be used in a ``with``; leaving it ends the process.

    Args:
        program: Blender, or a Python that has bpy; None looks in the variable ``HEADSTITCH_BLENDER``, then takes this
            Python if it has bpy, then the ``blender`` on the PATH.
        start_limit: seconds that it may take to start.
        limit: seconds that it may draw without a sign of life; one view is a sign.

    Raises:
        OptionError: ``program`` is no program.
        ResourceError: there is no Blender, or it does not start.
    """

    def __init__(self, program: str | Path | None = None, *, start_limit: float = 120.0, limit: float = 600.0):
        self.program = find_blender(program)
        self._limit = limit
        self._home = tempfile.mkdtemp(prefix="headstitch-blender-")
        self._said: collections.deque[str] = collections.deque(maxlen=40)
        self._answers: queue.Queue[dict[str, Any] | None] = queue.Queue()
        try:
            self._process = subprocess.Popen(
                _command(self.program),
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=subprocess.PIPE,
                text=True,
                encoding="utf-8",
                errors="replace",
                # The user's own settings stay out of it, and what it leaves behind goes with it.
                env={**os.environ, **dict.fromkeys(("BLENDER_USER_RESOURCES", "TMPDIR", "TEMP", "TMP"), self._home)},
            )
        except OSError as error:
            shutil.rmtree(self._home, ignore_errors=True)
            raise ResourceError(f"{self.program} does not start ({error.strerror}); {_GIVE}.") from error
        for read in (self._read_answers, self._read_chatter):
            threading.Thread(target=read, daemon=True).start()
        try:
            self.version = str(self._next(start_limit, "start")["ready"])
        except BaseException:
            self.close()
            raise

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def draw(self, folder: Path) -> float:
        """Have the scene in ``folder`` drawn; the seconds that it took.

        Raises:
            ResourceError: Blender died, said nothing for too long, or could not draw it. After the first two the
                process is gone.
        """
        stdin = self._process.stdin
        assert stdin is not None
        try:
            stdin.write(f"{folder.resolve()}\n")
            stdin.flush()
        except OSError as error:
            raise self._dead() from error
        while True:
            answer = self._next(self._limit, "draw a view")
            if "error" in answer:
                raise ResourceError(f"Blender could not draw the head: {answer['error'].rstrip('.')}.")
            if "done" in answer:
                return float(answer["done"])

    def close(self) -> None:
        """End the process and remove its settings."""
        with contextlib.suppress(OSError):
            self._process.kill()
        self._process.wait()
        for pipe in (self._process.stdin, self._process.stdout, self._process.stderr):
            if pipe is not None:
                with contextlib.suppress(OSError):
                    pipe.close()
        shutil.rmtree(self._home, ignore_errors=True)

    def _next(self, limit: float, what: str) -> dict[str, Any]:
        try:
            answer = self._answers.get(timeout=limit)
        except queue.Empty:
            self._process.kill()
            raise ResourceError(
                f"Blender took more than {limit:.0f} s to {what} and was ended; ask for a smaller picture or fewer "
                "samples, or try again when the machine does less."
            ) from None
        if answer is None:
            raise self._dead()
        return answer

    def _dead(self) -> ResourceError:
        code = self._process.wait()
        how = f"signal {-code}" if code < 0 else f"exit code {code}"
        last = next((line for line in reversed(self._said) if line.strip()), "").strip()
        said = f", saying: {last.rstrip('.')}" if last else ""
        return ResourceError(f"{self.program} ended with {how}{said}; {_GIVE}.")

    def _read_answers(self) -> None:
        assert self._process.stdout is not None
        with contextlib.suppress(ValueError):  # closed meanwhile
            for line in self._process.stdout:
                if line.startswith(MARK):
                    self._answers.put(json.loads(line[len(MARK) :]))
        self._answers.put(None)

    def _read_chatter(self) -> None:
        assert self._process.stderr is not None
        with contextlib.suppress(ValueError):
            self._said.extend(self._process.stderr)


def find_blender(program: str | Path | None = None) -> Path:
    """The program that has bpy, as ``Blender`` looks for it.

    Raises:
        OptionError: ``program``, or what the variable names, is no program.
        ResourceError: there is none.
    """
    named = program or os.environ.get(VARIABLE)
    if named:
        found = shutil.which(named)
        if found is None:
            raise OptionError(f"{named} is no program that can be run; {_GIVE}.")
        return Path(found)
    if find_spec("bpy") is not None:
        return Path(sys.executable)
    found = shutil.which("blender")
    if found is None:
        raise ResourceError(f"No Blender is here to draw realistic pictures; {_GIVE}.")
    return Path(found)


def _command(program: Path) -> list[str]:
    if program.name.lower().startswith("python"):
        return [str(program), "-I", str(_DOOR)]
    return [str(program), "--background", "--factory-startup", "--python-exit-code", "1", "--python", str(_DOOR)]
