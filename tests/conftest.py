"""What every test may rely on: a Blender that keeps its hands off the user's settings, and quiet libraries."""

from __future__ import annotations

import importlib.util
import os
import signal
import sys
import tempfile
import types
from pathlib import Path

import pytest

# Before anything imports bpy or mediapipe.
os.environ.setdefault("BLENDER_USER_RESOURCES", tempfile.mkdtemp(prefix="headstitch-blender-"))
os.environ.setdefault("GLOG_minloglevel", "2")
os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

# A shell lets what it runs in the background ignore Ctrl-C, and so would all that tests start.
if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)


@pytest.fixture(scope="session")
def seeding() -> types.ModuleType:
    """``tests/seeding.py``: configurations, state dicts and whole generators with name-seeded weights.

    A fixture, so that only tests that ask for it import torch.
    """
    spec = importlib.util.spec_from_file_location("seeding", Path(__file__).with_name("seeding.py"))
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules["seeding"] = module
    spec.loader.exec_module(module)
    return module


@pytest.fixture(scope="session")
def small_generator(seeding):
    """The small name-seeded generator, shared by all tests: leave it as it is."""
    return seeding.generator(seeding.SMALL)


@pytest.fixture(scope="session")
def tiny_generator(seeding):
    """The tiny one, whose super-resolution takes no time: pictures of 128 pixels. Leave it as it is."""
    return seeding.generator(seeding.TINY)
