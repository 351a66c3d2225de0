"""The preferences' buttons for the environment; ``upkeep`` does the work. Without a window they wait for it."""
# pyright: reportAttributeAccessIssue=false, reportMissingImports=false, reportInvalidTypeForm=false
# (the bpy package carries no types, and Blender reads an operator's properties from its annotations)

from __future__ import annotations

from pathlib import Path
from typing import Any

import bpy
from bpy.props import BoolProperty, StringProperty

from . import heartbeat, strings
from .preferences import choices
from .upkeep import Upkeep, path_or_none


def _absolute(text: str) -> Path | None:
    return path_or_none(bpy.path.abspath(text))


class _EnvironmentOperator(bpy.types.Operator):
    """What they share: one job at a time, none while a head is made; in the background, the job's end is waited for."""

    bl_options = {"INTERNAL"}  # noqa: RUF012  Blender reads a plain set
    ends_backend = True

    @classmethod
    def poll(cls, context: bpy.types.Context) -> bool:
        """Whether it can be done now."""
        now, work = heartbeat.existing()
        if work is None:
            cls.poll_message_set(heartbeat.not_ready())
        elif work.busy:
            cls.poll_message_set(strings.ENVIRONMENT_BUSY)
        elif cls.ends_backend and now is not None and now.waiting:
            cls.poll_message_set(strings.HEAD_BEING_MADE)
        else:
            return True
        return False

    def run(self, kind: str, start: Any) -> set[str]:
        """Begin a job; in the background also end it."""
        work = _upkeep()
        work.begin(kind, start)
        if not bpy.app.background:
            heartbeat.wake()
            return {"FINISHED"}
        heartbeat.run_until_over()
        if work.error:
            self.report({"ERROR"}, work.error)
            return {"CANCELLED"}
        return {"FINISHED"}


class PlanEnvironment(_EnvironmentOperator):
    """Nothing is downloaded by this: it says what would be."""

    bl_idname = "headstitch.environment_plan"
    bl_label = strings.MAKE
    bl_description = strings.PLAN_DESCRIPTION
    ends_backend = False

    def execute(self, context: bpy.types.Context) -> set[str]:
        """Start the plan."""
        return self.run("plan", lambda: _upkeep().environment.plan(**_wishes()))


class MakeEnvironment(_EnvironmentOperator):
    """Make, go on with, mend or update it, as the plan says."""

    bl_idname = "headstitch.environment_make"
    bl_label = strings.MAKE_NOW
    bl_description = strings.MAKE_DESCRIPTION

    build: StringProperty(name=strings.BUILD, description=strings.BUILD_DESCRIPTION)
    python: StringProperty(name=strings.PYTHON, description=strings.PYTHON_DESCRIPTION, subtype="FILE_PATH")
    wheels: StringProperty(name=strings.WHEELS, description=strings.WHEELS_DESCRIPTION, subtype="DIR_PATH")
    obtain_python: BoolProperty(name=strings.OBTAIN_PYTHON, description=strings.OBTAIN_PYTHON_DESCRIPTION)

    @classmethod
    def poll(cls, context: bpy.types.Context) -> bool:
        """With a window, whoever presses it has seen the plan and agreed to what it obtains."""
        if not super().poll(context):
            return False
        plan = _upkeep().plan
        if plan is None:
            if not bpy.app.background:
                cls.poll_message_set(strings.PLAN_FIRST)
            return bpy.app.background
        if plan.problems:
            cls.poll_message_set(plan.problems[0])
            return False
        if plan.obtains_python and not choices().obtain_python and not bpy.app.background:
            cls.poll_message_set(strings.CONSENT_FIRST)
            return False
        return True

    def execute(self, context: bpy.types.Context) -> set[str]:
        """Start it, with what was given here, else with the preferences."""
        wishes = _wishes()
        given = {"build": self.build, "python": _absolute(self.python), "wheels": _absolute(self.wheels)}
        wishes |= {name: value for name, value in given.items() if value}
        consent = self.obtain_python or choices().obtain_python
        return self.run("make", lambda: _upkeep().environment.make(obtain_python=consent, **wishes))


class CheckEnvironment(_EnvironmentOperator):
    """Look at every file and load every package."""

    bl_idname = "headstitch.environment_check"
    bl_label = strings.CHECK
    bl_description = strings.CHECK_DESCRIPTION
    ends_backend = False

    def execute(self, context: bpy.types.Context) -> set[str]:
        """Start it."""
        return self.run("check", _upkeep().environment.check)


class UseExistingPython(_EnvironmentOperator):
    """Run the backend in a Python that the user has set up."""

    bl_idname = "headstitch.environment_use_existing"
    bl_label = strings.USE_EXISTING
    bl_description = strings.USE_EXISTING_DESCRIPTION

    python: StringProperty(name=strings.PYTHON, description=strings.PYTHON_DESCRIPTION, subtype="FILE_PATH")

    def execute(self, context: bpy.types.Context) -> set[str]:
        """Start it, with the Python that was given here, else with that of the preferences."""
        python = _absolute(self.python or choices().python)
        if python is None:
            self.report({"ERROR"}, strings.NAME_PYTHON)
            return {"CANCELLED"}
        return self.run("use_existing", lambda: _upkeep().environment.use_existing(python))


class ForgetExistingPython(_EnvironmentOperator):
    """Go back to the environment of our own."""

    bl_idname = "headstitch.environment_forget_existing"
    bl_label = strings.FORGET_EXISTING
    bl_description = strings.FORGET_EXISTING_DESCRIPTION

    def execute(self, context: bpy.types.Context) -> set[str]:
        """Do it at once; the backend that runs there ends."""
        now, _ = heartbeat.existing()
        if now is not None:
            now.free_memory()
        _upkeep().forget_existing()
        return {"FINISHED"}


class RemoveEnvironment(_EnvironmentOperator):
    """Delete what was made."""

    bl_idname = "headstitch.environment_remove"
    bl_label = strings.REMOVE
    bl_description = strings.REMOVE_DESCRIPTION

    def invoke(self, context: bpy.types.Context, event: bpy.types.Event) -> set[str]:
        """Ask first."""
        return context.window_manager.invoke_confirm(self, event)

    def execute(self, context: bpy.types.Context) -> set[str]:
        """Start it."""
        return self.run("remove", _upkeep().environment.remove)


class CancelEnvironment(bpy.types.Operator):
    """Stop the job; what is finished stays."""

    bl_idname = "headstitch.environment_cancel"
    bl_label = strings.CANCEL
    bl_description = strings.ENVIRONMENT_CANCEL_DESCRIPTION
    bl_options = {"INTERNAL"}  # noqa: RUF012  Blender reads a plain set

    @classmethod
    def poll(cls, context: bpy.types.Context) -> bool:
        """Only while something runs."""
        _, work = heartbeat.existing()
        if work is not None and work.busy:
            return True
        cls.poll_message_set(strings.NOTHING_RUNS)
        return False

    def execute(self, context: bpy.types.Context) -> set[str]:
        """Ask it to stop."""
        _upkeep().cancel()
        return {"FINISHED"}


class DismissEnvironment(bpy.types.Operator):
    """Show plan, findings or error no more."""

    bl_idname = "headstitch.environment_dismiss"
    bl_label = strings.DISMISS
    bl_description = strings.DISMISS_DESCRIPTION
    bl_options = {"INTERNAL"}  # noqa: RUF012  Blender reads a plain set

    def execute(self, context: bpy.types.Context) -> set[str]:
        """Do it."""
        _, work = heartbeat.existing()
        if work is not None:
            work.dismiss()
        return {"FINISHED"}


def _upkeep() -> Upkeep:
    work = heartbeat.upkeep()
    assert work is not None  # the poll has said so
    return work


def _wishes() -> dict[str, Any]:
    chosen = choices()
    return {
        "online": bpy.app.online_access,
        "build": chosen.build_name,
        "python": _absolute(chosen.python),
        "wheels": _absolute(chosen.wheels),
        "keep_wheels": chosen.keep_wheels,
    }


CLASSES = (
    PlanEnvironment,
    MakeEnvironment,
    CheckEnvironment,
    UseExistingPython,
    ForgetExistingPython,
    RemoveEnvironment,
    CancelEnvironment,
    DismissEnvironment,
)
