"""Sentences of the backend, which name options of the command line, in the words of the panel. Knows nothing of bpy."""

from __future__ import annotations

import re

from . import strings

OPTIONS = {
    "--angles": strings.USE_ANGLES,
    "--crop": strings.USE_CROP,
    "--debug-images": strings.DEBUG_IMAGES,
    "--device": strings.DEVICE,
    "--face": strings.FACE,
    "--faces": strings.FACES,
    "--model": strings.MODEL,
    "--neck": strings.NECK,
    "--resolution": strings.RESOLUTION,
    "--seed": strings.SEED,
    "--smoothing": strings.SMOOTHING,
    "--texture-size": strings.TEXTURE_SIZE,
    "--uv": strings.UV,
}
_USAGE = {  # how the command line writes what the panel has fields for
    "--angles YAW PITCH ROLL in degrees and --crop COLUMN ROW SIDE ANGLE by hand": strings.ANGLES_AND_CROP_BY_HAND,
    "give that one, or leave --photo out": strings.REBAKE_OTHER_PHOTO,
    " with -o": strings.IN_THE_PREFERENCES,
}


def in_panel_words(sentence: str) -> str:
    """The sentence with the panel's names of what it tells to change; what the panel has not stays as it is."""
    for usage, words in _USAGE.items():
        sentence = sentence.replace(usage, words)
    return re.sub(r"(?<![\w-])--[a-z]+(?:[.-][a-z]+)*", lambda found: OPTIONS.get(found[0], found[0]), sentence)
