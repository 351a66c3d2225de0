"""Errors that a person reads: one clear sentence that says what to do next. The bottom floor; imports nothing."""

from __future__ import annotations


class HeadstitchError(Exception):
    """A failure with a sentence for the person who caused it; ``str(error)`` is that sentence.

    The command line prints it without a traceback and exits with ``exit_code``.
    """

    exit_code = 1


class OptionError(HeadstitchError):
    """An option has a value that cannot work."""

    exit_code = 2


class PhotoError(HeadstitchError):
    """The photo cannot be read, or is not an image we take."""

    exit_code = 3


class FaceError(HeadstitchError):
    """The photo was read, but no usable face was found in it."""

    exit_code = 4


class ResultsError(HeadstitchError):
    """The results cannot be written, or a folder that should hold a head does not."""

    exit_code = 5


class ResourceError(HeadstitchError):
    """The machine lacks something the job needs: memory, a device, a system library."""

    exit_code = 6


class ModelError(HeadstitchError):
    """A model is missing or damaged, or does not fit what it shall be used for."""

    exit_code = 7


class SurfaceError(HeadstitchError):
    """The field of a head holds no surface."""

    exit_code = 8


class TrainingError(HeadstitchError):
    """A training cannot begin or go on: its data, its settings, or a loss that is no number."""

    exit_code = 9
