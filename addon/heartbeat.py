"""The add-on's only timer: it polls backend and environment, has finished heads imported, and redraws our own panels.

``session()`` and ``upkeep()`` are the add-on's whole state; they are made when first asked for and end with ``stop``.
"""
# pyright: reportAttributeAccessIssue=false, reportMissingImports=false
# (the bpy package carries no types)

from __future__ import annotations

import os
import sys
import time
import traceback
from pathlib import Path

import bpy
from bpy.app.handlers import persistent

from . import strings
from .client import Client
from .environment import Environment, EnvironmentFailure
from .handover import hand_over
from .preferences import PACKAGE, choices
from .session import Session
from .upkeep import Upkeep

VERSION: str = sys.modules[PACKAGE].__version__  # of the extension, which is the package that this is in
QUICK = 0.1  # seconds between two looks while something runs
SLOW = 5.0  # while the backend is only warm
MODELS = "HEADSTITCH_MODELS"  # the variable by which the backend knows the folder of models

_session: Session | None = None
_upkeep: Upkeep | None = None
_trouble = ""  # why there is no environment to speak of
_models = ""  # wanted, then asked for
_shown = (-1, -1)  # the changes that the panels show
_inherited_models: str | None = None  # the variable's value before we set it; None: we have not


def session() -> Session:
    """The tasks and the backend."""
    global _session
    if _session is None:
        upkeep()  # here, and not by the client's thread
        folder = user_folder("sessions")
        _session = Session(Client(backend_command, folder, version=VERSION), hand_over)
    return _session


def upkeep() -> Upkeep | None:
    """The environment and its jobs; None where the add-on's list of packages cannot be read."""
    global _upkeep, _trouble
    if _upkeep is None and not _trouble:
        try:
            environment = Environment(user_folder("environment"), Path(__file__).parents[1], VERSION)
            _upkeep = Upkeep(environment, _backend_ends)
        except EnvironmentFailure as failure:
            _trouble = str(failure)
    return _upkeep


def not_ready() -> str:
    """Why no head can be made yet, as a sentence; empty when all is there. Reads nothing from the disk."""
    if _upkeep is None:
        return _trouble
    if _upkeep.job is not None and _upkeep.kind not in ("plan", "check"):
        return strings.ENVIRONMENT_BUSY
    return "" if _upkeep.status.state == "ready" else _upkeep.status.sentence


def existing() -> tuple[Session | None, Upkeep | None]:
    """Both as far as they are there already."""
    return _session, _upkeep


def backend_command() -> list[str]:
    """The backend's command line; called in the client's thread, so it touches nothing of Blender.

    Raises:
        EnvironmentFailure: the environment is not ready.
    """
    if _upkeep is None:
        raise EnvironmentFailure(_trouble)
    return _upkeep.environment.command("serve")


def user_folder(name: str) -> Path:
    """A folder of the extension's own, where Blender keeps what belongs to it; not made yet."""
    return Path(bpy.utils.extension_path_user(PACKAGE, path=name, create=False))


def heads_folder() -> Path:
    """Where heads are put."""
    chosen = choices().heads_folder
    return Path(bpy.path.abspath(chosen)) if chosen else user_folder("heads")


def apply_models_folder() -> None:
    """Tell the backend that starts next where the models are."""
    global _inherited_models
    folder = choices().models_folder
    if folder and _inherited_models is None:
        _inherited_models = os.environ.get(MODELS, "")
    if folder:
        os.environ[MODELS] = str(Path(bpy.path.abspath(folder)))
    else:
        _restore_models_folder()


def _restore_models_folder() -> None:
    global _inherited_models
    if _inherited_models:
        os.environ[MODELS] = _inherited_models
    elif _inherited_models is not None:
        os.environ.pop(MODELS, None)
    _inherited_models = None


# --- the timer -------------------------------------------------------------------------------------------------------


def wake() -> None:
    """Have the timer run; it ends by itself when nothing is left to follow."""
    if bpy.app.timers.is_registered(_beat):
        bpy.app.timers.unregister(_beat)  # it may be a slow one
    bpy.app.timers.register(_beat, first_interval=0.0, persistent=True)


def want_models() -> None:
    """The panel is seen for the first time: have the backend asked for its models soon, if it can be."""
    global _models
    if not _models and not not_ready():
        _models = "wanted"
        wake()


def beat() -> float | None:
    """Follow what runs: the seconds until the next look, or None when none is needed. A defect ends in the panel."""
    global _shown, _models
    try:
        if _models == "wanted":
            _models = "asked"
            session().refresh_models()
        now, work = _session, _upkeep
        if work is not None:
            work.tick()
        if now is not None:
            now.tick()
            _free_when_idle(now)
    except Exception as error:  # noqa: BLE001  an exception would end the timer, and the panel would wait for ever
        traceback.print_exc()
        session().fail(strings.DEFECT.format(reason=f"{type(error).__name__}: {error}"), _write_log())
    now, work = _session, _upkeep
    changes = (now.changes if now else 0, work.changes if work else 0)
    if changes != _shown:
        _shown = changes
        redraw()
    if (now is not None and now.busy) or (work is not None and work.busy):
        return QUICK
    return SLOW if now is not None and now.client.state != "stopped" else None


def _beat() -> float | None:
    return beat()


def run_until_over() -> None:
    """Beat until nothing is under way: for Blender without a window, where no timer comes."""
    while (_session is not None and _session.busy) or (_upkeep is not None and _upkeep.busy):
        beat()
        time.sleep(QUICK / 4)


def redraw() -> None:
    """Have the sidebars and the preferences drawn anew; not the viewports beside them."""
    manager = getattr(bpy.context, "window_manager", None)
    for window in manager.windows if manager is not None else ():
        for area in window.screen.areas:
            for region in area.regions:
                if (area.type, region.type) in (("VIEW_3D", "UI"), ("PREFERENCES", "WINDOW")):
                    region.tag_redraw()


def _free_when_idle(now: Session) -> None:
    minutes = choices().idle_minutes
    if minutes and now.idle_since is not None and time.monotonic() - now.idle_since > 60 * minutes:
        now.idle_since = None
        now.free_memory()


def _backend_ends() -> bool:
    if _session is None or (_session.client.state == "stopped" and not _session.client.jobs):
        return True
    _session.free_memory()
    return False


def _write_log() -> str:
    """Keep the traceback of the exception that is being handled; returns the file, empty where it cannot be written."""
    path = user_folder("sessions") / "addon.log"
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(traceback.format_exc(), encoding="utf-8")
    except OSError:
        return ""  # the console has it
    return str(path)


# --- the open file, begin and end ------------------------------------------------------------------------------------


@persistent
def _file_opened(*_: object) -> None:
    """Jobs of the file before must not land in this one."""
    if _session is not None:
        _session.file_changed()


def start() -> None:
    """Called by the add-on's ``register``."""
    bpy.app.handlers.load_post.append(_file_opened)
    apply_models_folder()
    upkeep()


def stop(wait: float = 2.0) -> None:
    """End everything: jobs, backend, timer, handler; waits not longer than ``wait`` seconds."""
    global _session, _upkeep, _trouble, _models, _shown
    ends = time.monotonic() + wait
    if bpy.app.timers.is_registered(_beat):
        bpy.app.timers.unregister(_beat)
    if _file_opened in bpy.app.handlers.load_post:
        bpy.app.handlers.load_post.remove(_file_opened)
    if _upkeep is not None:
        _upkeep.close()
    if _session is not None:
        _session.close(wait)
    if _upkeep is not None:
        _upkeep.wait(max(0.0, ends - time.monotonic()))
    _session, _upkeep, _trouble, _models, _shown = None, None, "", "", (-1, -1)
    _restore_models_folder()
