"""headstitch models: what it prints, and how it ends."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
import types
from dataclasses import replace

import pytest
from headstitch.backend import cli
from headstitch.backend.errors import ModelError, OptionError

HEAVY = ("torch", "numpy", "safetensors", "platformdirs", "mediapipe", "open3d", "cv2")


def line(shelf, *more: str) -> list[str]:
    files = shelf.files
    paths = ["--generator", files.generator, "--visible", *files.visible, "--occluded", *files.occluded]
    return ["models", "import", *map(str, paths), "--latent-avg", str(files.latent_avg), *more]


def test_from_import_to_removal(shelf, capsys):
    assert cli.main(["models", "list"]) == 0
    assert capsys.readouterr().out.splitlines() == [
        "template: comes with Headstitch, complete",
        "  CC0-1.0",
        f"There are no other models in {shelf.models}; headstitch models import brings one in.",
    ]
    assert cli.main(line(shelf)) == 0
    told = capsys.readouterr()
    assert told.err == ""
    assert "Licence: " in told.out
    assert "non-commercial" in told.out
    assert told.out.splitlines()[-1] == (
        f"The model panohead is in {shelf.models / 'panohead'}; use it with --model panohead."
    )
    assert cli.main(["models", "list"]) == 0
    *_, first, second = capsys.readouterr().out.splitlines()
    assert first == "panohead: panohead, 14 MB, complete"
    assert "CC BY-NC" in second
    assert cli.main(["models", "verify", "panohead"]) == 0
    assert "The model panohead in " in capsys.readouterr().out
    assert cli.main(["models", "remove", "panohead"]) == 0
    assert capsys.readouterr().out == f"Removed the model panohead (14 MB) from {shelf.models}.\n"
    assert shelf.there() == []


def test_every_option_of_import_reaches_the_bundle(shelf, capsys, checkpoint, visible_arrays, under):
    stages = [checkpoint("W.pt", under(visible_arrays, "", None)), checkpoint("F.pt", under(visible_arrays, None, ""))]
    arguments = ["models", "import", "--generator", str(shelf.files.generator), "--visible", *map(str, stages)]
    arguments += ["--occluded", str(shelf.files.occluded[0]), "--name", "mine", "--half", "--licence", "CC0"]
    assert cli.main(arguments) == 0
    assert "Warning: no mean w+" in capsys.readouterr().out
    record = json.loads((shelf.models / "mine" / "model.json").read_text())
    assert record["licence"] == "CC0"
    assert [source["name"] for source in record["sources"]] == ["G.pkl", "W.pt", "F.pt", "occluded.pt"]
    assert sum(told["bytes"] for told in record["files"].values()) < 9 << 20
    assert cli.main(arguments) == ModelError.exit_code
    assert "give another --name, or --replace" in capsys.readouterr().err
    assert cli.main([*arguments, "--replace"]) == 0


def test_a_failure_is_its_sentence_and_the_exit_code_of_models(shelf, capsys):
    shelf.files.generator.write_bytes(b"\x80\x02cos\nsystem\nX\x04\x00\x00\x00true\x85R.")
    assert cli.main(line(shelf)) == ModelError.exit_code == 7
    told = capsys.readouterr()
    assert told.err == (
        f"{shelf.files.generator} asks for os.system, which no model of this kind needs; "
        "take the file from its official source again.\n"
    )
    assert shelf.there() == []
    for command in ("verify", "remove"):
        assert cli.main(["models", command, "nowhere"]) == ModelError.exit_code
        assert "There is no model 'nowhere'" in capsys.readouterr().err


def test_a_damaged_model_is_listed_with_what_is_wrong_and_can_be_removed(shelf, capsys):
    folder = shelf.import_("broken").folder
    shelf.import_("whole")
    (folder / "generator.safetensors").unlink()
    (folder / "notes.txt").write_text("mine")
    (shelf.models / "something else").mkdir()
    (shelf.models / "file").touch()
    assert cli.main(["models", "list"]) == 0
    told = capsys.readouterr().out.splitlines()[2:]
    assert told[0] == "broken: 3 MB, not usable"
    assert told[1] == "  The model broken lacks generator.safetensors; import it again."
    assert told[2] == "whole: panohead, 14 MB, complete"
    assert len(told) == 4
    assert cli.main(["models", "verify", "broken"]) == ModelError.exit_code
    assert cli.main(["models", "remove", "broken"]) == 0
    assert capsys.readouterr().out.splitlines()[-1] == f"Other files stay in {folder}: notes.txt."
    assert [path.name for path in folder.iterdir()] == ["notes.txt"]
    assert cli.main(["models", "remove", "broken"]) == ModelError.exit_code
    assert (folder / "notes.txt").read_text() == "mine"


def test_only_models_are_removed(shelf, capsys):
    outside = shelf.folder / "outside"
    shelf.import_().folder.rename(outside)
    assert cli.main(["models", "verify", str(outside)]) == 0
    for name in (str(outside), "../outside", "template", "."):
        assert cli.main(["models", "remove", name]) == ModelError.exit_code
    assert len(list(outside.iterdir())) == 4
    capsys.readouterr()
    for command, name, said in (
        ("verify", "template", "The template comes with Headstitch and is as whole as that; name an imported model."),
        ("remove", "Template", "The template comes with Headstitch and cannot be removed; name an imported model."),
        ("remove", str(outside), "is no model's name; give a name that headstitch models list shows"),
        ("remove", "gone", "There is no model 'gone', neither in"),
    ):
        assert cli.main(["models", command, name]) == ModelError.exit_code
        assert said in capsys.readouterr().err
    link = shelf.models / "linked"
    link.symlink_to(outside)
    assert cli.main(["models", "remove", "linked"]) == 0
    assert not link.is_symlink()
    assert len(list(outside.iterdir())) == 4


def test_one_or_two_files_for_an_encoder(shelf, capsys):
    files = [str(path) for path in shelf.files.visible] * 3
    arguments = ["models", "import", "--generator", "g", "--occluded", "o", "--visible"]
    for count in (0, 3):
        assert cli.main([*arguments, *files[:count]]) == OptionError.exit_code
        assert f"--visible has {count} files; give one, or two" in capsys.readouterr().err


@pytest.mark.parametrize("command", [[], ["list"], ["import"], ["verify"], ["remove"]], ids=str)
def test_help_is_light(command):
    code = (
        "import sys\n"
        "from headstitch.backend.cli import main\n"
        "try: code = main(sys.argv[1:])\n"
        "except SystemExit as stop: code = stop.code\n"
        f"print([name for name in {HEAVY} if name in sys.modules], code or 0)"
    )
    arguments = [sys.executable, "-c", code, "models", *command, "--help"]
    done = subprocess.run(arguments, capture_output=True, text=True, check=True)
    assert done.stdout.splitlines()[-1] == "[] 0"


def test_listing_needs_a_folder_that_can_be_read(tmp_path, monkeypatch, capsys):
    monkeypatch.setenv("HEADSTITCH_MODELS", str(tmp_path / "none"))
    assert cli.main(["models", "list"]) == 0
    assert "There are no other models" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("module", "command"),
    [("shelf", ["list"]), ("shelf", ["verify", "x"]), ("shelf", ["remove", "x"]), ("importer", ["import"])],
    ids=lambda value: value[0] if isinstance(value, list) else "",
)
def test_a_stop_while_libraries_start_waits_for_them_and_is_a_stop(module, command, shelf, monkeypatch, capsys):
    started = []

    class Starting(types.ModuleType):
        def __getattr__(self, name):
            if name.startswith("__"):
                raise AttributeError(name)
            signal.raise_signal(signal.SIGINT)
            started.append(name)
            return

    name = f"headstitch.backend.models.{module}"
    monkeypatch.setitem(sys.modules, name, Starting(name))
    assert cli.main(line(shelf) if command == ["import"] else ["models", *command]) == 130
    assert started
    assert capsys.readouterr().err == "Stopped; nothing was left half-written.\n"


def test_names_of_files_and_folders_may_be_any(shelf, monkeypatch, capsys):
    folder = shelf.folder / "Köpfe, zweite Reihe 模型"
    folder.mkdir()
    for path in shelf.files.all():
        path.rename(folder / f"{path.stem} é{path.suffix}")
    shelf.files = replace(
        shelf.files,
        generator=folder / "G é.pkl",
        visible=[folder / "visible é.pt"],
        occluded=[folder / "occluded é.pt"],
        latent_avg=folder / "latent_avg é.npy",
    )
    models = folder / "models of mine"
    monkeypatch.setenv("HEADSTITCH_MODELS", str(models))
    assert cli.main(line(shelf)) == 0
    assert cli.main(["models", "verify", str(models / "panohead")]) == 0
    assert str(models / "panohead") in capsys.readouterr().out
    monkeypatch.setenv("HEADSTITCH_MODELS", str(folder / "G é.pkl"))
    assert cli.main(line(shelf)) == ModelError.exit_code
    assert capsys.readouterr().err == (
        f"{folder / 'G é.pkl' / 'panohead'} cannot be made because a file stands in its way; "
        "set HEADSTITCH_MODELS to another folder.\n"
    )
