"""What every test may rely on: a Blender that keeps its hands off the user's settings, and quiet libraries."""

from __future__ import annotations

import os
import tempfile

# Before anything imports bpy or mediapipe.
os.environ.setdefault("BLENDER_USER_RESOURCES", tempfile.mkdtemp(prefix="headstitch-blender-"))
os.environ.setdefault("GLOG_minloglevel", "2")
os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
