"""What the backend says, as the panel says it."""

from dataclasses import fields

import pytest
from headstitch.addon.wording import OPTIONS, in_panel_words
from headstitch.backend.options import Options

WITHOUT_A_FLAG = {"quality", "inversion"}  # the command line has --no-quality and --inversion.*


def test_every_option_of_the_command_line_has_its_name_in_the_panel():
    flags = {f"--{field.name.replace('_', '-')}" for field in fields(Options)} - {
        f"--{name}" for name in WITHOUT_A_FLAG
    }
    assert set(OPTIONS) == flags


@pytest.mark.parametrize(
    ("said", "shown"),
    [
        (
            "No face was found in a.jpg; use another, or give --angles YAW PITCH ROLL in degrees and --crop COLUMN ROW "
            "SIDE ANGLE by hand.",
            "No face was found in a.jpg; use another, or give Angles and Crop by hand under Details.",
        ),
        ("give a smaller --resolution or --texture-size.", "give a smaller Resolution or Texture."),
        ("--faces is 3; give 0, or take --face 2", "Triangles is 3; give 0, or take Face 2"),
        ("raise --smoothing, or sculpt", "raise Smoothing, or sculpt"),
        (
            "The disk is full; free some space or choose another place with -o.",
            "The disk is full; free some space or choose another place in the add-on's preferences.",
        ),
        ("--inversion.mask-rays is 3", "--inversion.mask-rays is 3"),
        ("my--face.jpg is no picture", "my--face.jpg is no picture"),
        ("--seedling is no option", "--seedling is no option"),
    ],
)
def test_sentences_name_what_the_panel_has(said, shown):
    assert in_panel_words(said) == shown
