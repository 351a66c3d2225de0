from __future__ import annotations

import pytest
from headstitch.addon.session import claim, release


@pytest.mark.parametrize(
    ("photo", "folder"),
    [
        ("ada", "ada"),
        ("Zoë – 頭", "Zoë – 頭"),
        ('a<b>c:d"e|f?g*h', "a_b_c_d_e_f_g_h"),
        ("..hidden", "hidden"),
        ("trailing. . ", "trailing"),
        ("...", "head"),
        ("CON", "head-CON"),
        ("com1.old", "head-com1.old"),
        ("x" * 300, "x" * 60),
    ],
)
def test_a_heads_folder_has_a_name_that_every_system_allows(tmp_path, photo, folder):
    assert claim(tmp_path / "heads", photo) == tmp_path / "heads" / folder


def test_a_name_that_is_taken_gets_a_number(tmp_path):
    assert [claim(tmp_path, "ada").name for _ in range(3)] == ["ada", "ada-2", "ada-3"]


def test_a_claimed_folder_goes_only_when_nothing_is_in_it(tmp_path):
    empty, full = claim(tmp_path, "ada"), claim(tmp_path, "ada")
    (full / "head.json").write_text("{}")
    for folder in (empty, full, tmp_path / "never"):
        release(folder)
    assert (empty.exists(), full.exists()) == (False, True)


def test_heads_that_cannot_be_written_are_the_systems_error(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(OSError, match="exists"):
        claim(tmp_path / "file", "ada")
