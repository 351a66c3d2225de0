"""A backend that copies a finished head: the real server around a workshop that does what the photo is called.

Run by file, in a process of its own, in which the package is found already; its argument is the head to copy.
"""

from __future__ import annotations

import errno
import os
import shutil
import signal
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
from headstitch.backend import protocol, server
from headstitch.backend.errors import FaceError, ModelError, PhotoError, ResourceError
from headstitch.backend.progress import Listener, Progress
from headstitch.backend.results.folder import told
from headstitch.backend.workshop import Show, Workshop

HEAD = Path(sys.argv[1]) if len(sys.argv) > 1 else Path()
PICTURE = HEAD / "albedo.png"
WARNING = "The silhouette of the head differs from the photo; tie the hair back."


def rest(seconds: float) -> None:
    """Time that Python spends in small steps."""
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        time.sleep(0.005)


class StandIn(Workshop):
    """The first word of the photo's name says what happens to it."""

    def packages(self) -> dict[str, str]:
        return {}  # looking for the real ones takes longer than a job here

    def missing(self) -> tuple[str, ...]:
        return ()

    def load(self) -> None:
        pass

    def models(self) -> protocol.Models:
        template = protocol.Model("template", "template", "CC0-1.0", 0)
        broken = protocol.Model("broken", "panohead", "for research only", 9, "generator.safetensors is missing.")
        return protocol.Models((template, protocol.Model("panohead", "panohead", "for research only", 9), broken))

    def reconstruct(self, message: protocol.Reconstruct, progress: Listener, show: Show) -> protocol.Finished:
        photo, out = Path(message.photo), Path(message.out)
        do = getattr(self, photo.stem.split("-")[0], None)
        if not photo.is_file():
            raise PhotoError(f"There is no photo {photo.name}; choose another.")
        progress(Progress("finding the face", 0.1, 30.0))
        show(PICTURE.read_bytes, "portrait")
        progress(Progress("extracting the surface", 0.5, 12.0))
        if do is not None:
            do(message)
        shutil.copytree(HEAD, out, dirs_exist_ok=True)
        if photo.stem.startswith("damaged"):
            (out / "head.npz").write_bytes(b"no archive")
        progress(Progress("done", 1.0, 0.0))
        return protocol.Finished(str(out), None, (WARNING,), {"options": message.options}, 1.5)

    def rebake(self, message: protocol.Rebake, progress: Listener, show: Show) -> protocol.Finished:
        """The head that is there with half of its faces, so that it can be told from what it was."""
        shutil.copytree(message.head, message.out, dirs_exist_ok=True)
        with np.load(Path(message.head) / "head.npz") as stored:
            arrays = dict(stored)
        half = len(arrays["faces"]) // 2
        arrays |= {"faces": arrays["faces"][:half], "corner_uvs": arrays["corner_uvs"][:half]}
        np.savez(Path(message.out) / "head.npz", **arrays)
        progress(Progress("done", 1.0, 0.0))
        return protocol.Finished(message.out, None, (), {"options": message.options, "photo": message.photo}, 0.5)

    # --- what a photo may be called ----------------------------------------------------------------------------------

    def slow(self, message: Any) -> None:
        rest(60)

    def short(self, message: Any) -> None:
        rest(0.5)

    def deaf(self, message: Any) -> None:
        """In C, where no interruption comes."""
        time.sleep(60)

    def faceless(self, message: Any) -> None:
        raise FaceError("No face was found in faceless.png; give a photo with a face.")

    def full(self, message: Any) -> None:
        with told(Path(message.out)):
            raise OSError(errno.ENOSPC, "No space left on device")

    def large(self, message: Any) -> None:
        raise ResourceError("The head needs more memory than there is; choose a lower quality.")

    def modelless(self, message: Any) -> None:
        raise ModelError("There is no model panohead; import it with headstitch models import.")

    def defect(self, message: Any) -> None:
        raise KeyError("nobody foresaw this")

    def killed(self, message: Any) -> None:
        os.kill(os.getpid(), signal.SIGKILL)

    def stopped(self, message: Any) -> None:
        os.kill(os.getpid(), signal.SIGSTOP)


if __name__ == "__main__":
    server.ALIVE = 0.2
    server.Workshop = StandIn  # pyright: ignore[reportPrivateImportUsage]
    server.serve()
