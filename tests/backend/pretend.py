"""A backend whose jobs take no time: the real server around a workshop that does as the message's options say.

Run by file, in a process of its own, in which the package is found already.
"""

from __future__ import annotations

import ctypes
import errno
import importlib
import json
import os
import signal
import sys
import time
from collections.abc import ItemsView, Iterator
from pathlib import Path
from typing import Any

from headstitch.backend import protocol, server
from headstitch.backend.errors import FaceError
from headstitch.backend.progress import Listener, Progress
from headstitch.backend.results.folder import HEAD_FILES, told, write_folder
from headstitch.backend.workshop import Show, Workshop

STAGES = ("finding the face", "extracting the surface", "baking the texture", "writing")


class SlowFiles(dict):
    """The files of a head, of which each takes its time."""

    def items(self) -> ItemsView[str, bytes]:
        def slowly() -> Iterator[tuple[str, bytes]]:
            for item in super(SlowFiles, self).items():
                rest(0.1)
                yield item

        return slowly()  # pyright: ignore[reportReturnType]


def rest(seconds: float) -> None:
    """Time that Python spends in small steps."""
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        time.sleep(0.005)


def head_files(out: Path) -> dict[str, bytes]:
    record = json.dumps({"product": "headstitch"}).encode()
    return {name: record if name == "head.json" else b"x" * 1000 for name in HEAD_FILES}


class Pretend(Workshop):
    """``options["do"]`` says what the job does."""

    def __init__(self) -> None:
        super().__init__()
        self.loads = 0

    def packages(self) -> dict[str, str]:
        return {"torch": "2.0"}  # looking for the real ones takes longer than a job here

    def missing(self) -> tuple[str, ...]:
        return ("open3d is missing; install it.",)

    def check(self, message: Any) -> None:
        if message.options.get("do") != "anything":
            return
        super().check(message)

    def load(self) -> None:
        self.loads += 1

    def models(self) -> protocol.Models:
        return protocol.Models((protocol.Model("template", "template", "CC0-1.0", 0),))

    def rebake(self, message: protocol.Rebake, progress: Listener, show: Show) -> protocol.Finished:
        return self.work(message.out, message.options, progress, show)

    def reconstruct(self, message: protocol.Reconstruct, progress: Listener, show: Show) -> protocol.Finished:
        return self.work(message.out, message.options, progress, show)

    def work(self, out: str, options: dict[str, Any], progress: Listener, show: Show) -> protocol.Finished:
        do = options.get("do", "head")
        record: dict[str, Any] = {"loads": self.loads, "do": do}
        for number, stage in enumerate(STAGES):
            progress(Progress(stage, number / len(STAGES), float(len(STAGES) - number)))
            if number == 1:
                show(lambda: b"a picture", "portrait")
            if number == options.get("at", 0):
                record |= getattr(self, do, self.nothing)(options) or {}
            rest(options.get("seconds", 0.0) / len(STAGES))
        files = head_files(Path(out))
        write_folder(Path(out), SlowFiles(files) if do == "slow_files" else files)
        progress(Progress("done", 1.0, 0.0))
        return protocol.Finished(out, {"passed": True, "measurements": []}, ("a warning",), record, 0.1)

    # --- what a job may do -------------------------------------------------------------------------------------------

    def nothing(self, options: dict[str, Any]) -> None: ...

    def slow_files(self, options: dict[str, Any]) -> None: ...

    def sleep(self, options: dict[str, Any]) -> None:
        """In C, where no interruption comes."""
        time.sleep(60)

    def spin(self, options: dict[str, Any]) -> None:
        """In Python, without a report."""
        rest(60)

    def burn(self, options: dict[str, Any]) -> None:
        """Work for the processor."""
        end = time.monotonic() + 60
        while time.monotonic() < end:
            pass

    def no_face(self, options: dict[str, Any]) -> None:
        raise FaceError("No face was found in photo.png; give a photo with a face.")

    def full_disk(self, options: dict[str, Any]) -> None:
        with told(Path("/somewhere/head")):
            raise OSError(errno.ENOSPC, "No space left on device")

    def defect(self, options: dict[str, Any]) -> None:
        raise KeyError("nobody foresaw\nthis")

    def leave(self, options: dict[str, Any]) -> None:
        sys.exit("a library that thinks it is a program")

    def swallow(self, options: dict[str, Any]) -> None:
        """Code that takes a stop for an error of its own, as a library's start does."""
        try:
            rest(60)
        except KeyboardInterrupt:
            raise ImportError("initialization failed") from None

    def no_number(self, options: dict[str, Any]) -> dict[str, Any]:
        return {"value": float("nan")}

    def prints(self, options: dict[str, Any]) -> None:
        print("from Python")
        os.write(1, b"from a descriptor\n")
        ctypes.CDLL(None).puts(b"from C")
        ctypes.CDLL(None).fflush(None)
        os.system("echo from a child")

    def reads(self, options: dict[str, Any]) -> dict[str, Any]:
        return {"read": sys.stdin.read()}

    def chatters(self, options: dict[str, Any]) -> None:
        for _ in range(2000):
            sys.stderr.write("x" * 999 + "\n")

    def imports(self, options: dict[str, Any]) -> dict[str, Any]:
        sys.path.insert(0, options["path"])
        return {"whole": importlib.import_module("slow_module").WHOLE}

    def dies(self, options: dict[str, Any]) -> None:
        os.kill(os.getpid(), getattr(signal, options["signal"]))

    def ends(self, options: dict[str, Any]) -> None:
        print("the last words", file=sys.stderr, flush=True)
        os._exit(3)

    def garbles(self, options: dict[str, Any]) -> None:
        os.write(int(options["descriptor"]), b"\x00\xff no message\n")

    def environment(self, options: dict[str, Any]) -> dict[str, Any]:
        return {
            "python": sorted(name for name in os.environ if name.startswith("PYTHON")),
            "isolated": sys.flags.isolated,
            "utf8": sys.flags.utf8_mode,
            "leader": hasattr(os, "getsid") and os.getsid(0) == os.getpid(),
            "file": protocol.__file__,
        }


if __name__ == "__main__":
    server.GRACE = 1.0
    server.ALIVE = 0.2
    server.Workshop = Pretend  # pyright: ignore[reportPrivateImportUsage]
    if "--other-protocol" in sys.argv:
        protocol.PROTOCOL = 99
    if "--no-words" in sys.argv:
        time.sleep(60)
    server.serve()
