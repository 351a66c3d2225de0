from __future__ import annotations

import contextlib
import io
import os
import re
import shutil
import signal
import subprocess
import sys
import textwrap
import time
from pathlib import Path
from urllib.parse import unquote

import headstitch
import pytest
from headstitch.backend import cli
from headstitch.backend.errors import FaceError, HeadstitchError, OptionError, PhotoError, ResourceError, ResultsError
from headstitch.backend.options import Inversion, Options
from headstitch.backend.progress import Progress
from headstitch.backend.results.head import changed_files
from headstitch.backend.results.report import Measurement, QualityReport
from headstitch.backend.stop import STOPPED, polite_stop
from headstitch.backend.terminal import Bar

HEAVY = ("torch", "mediapipe", "open3d", "cv2", "numpy", "scipy", "PIL", "bpy")


@pytest.fixture
def photo(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    path = tmp_path / "anna.jpg"
    path.write_bytes(b"anna")
    return path


@pytest.mark.parametrize(
    "arguments",
    [["--help"], ["reconstruct", "--help"], ["batch", "--help"], ["render", "--help"], ["--version"], []],
    ids=" ".join,
)
def test_help_imports_nothing_heavy_and_is_quick(arguments):
    code = (
        "import sys\n"
        "from headstitch.backend.cli import main\n"
        "try: code = main(sys.argv[1:])\n"
        "except SystemExit as stop: code = stop.code\n"
        f"print([name for name in {HEAVY} if name in sys.modules], code or 0)"
    )
    start = time.perf_counter()
    done = subprocess.run([sys.executable, "-c", code, *arguments], capture_output=True, text=True, check=True)
    assert done.stdout.splitlines()[-1] == "[] 0"
    assert time.perf_counter() - start < 3


def test_the_package_imports_nothing_heavy_before_it_is_asked():
    code = f"import sys, headstitch; headstitch.Options(); print([n for n in {HEAVY} if n in sys.modules])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def test_version(capsys):
    assert cli.main(["--version"]) == 0
    assert capsys.readouterr().out == f"headstitch {headstitch.__version__}\n"


def test_the_installed_command_and_the_module_are_the_same():
    module = subprocess.run(
        [sys.executable, "-m", "headstitch.backend", "--version"], capture_output=True, text=True, check=True
    )
    assert module.stdout == f"headstitch {headstitch.__version__}\n"


def test_every_option_can_be_given(photo, journey, monkeypatch):
    seen = []
    fake = journey.reconstruct
    module = sys.modules["headstitch.backend.reconstruct"]
    monkeypatch.setattr(module, "reconstruct", lambda *a, options, **k: seen.append(options) or fake(*a, **k))
    line = (
        "--device cpu --seed 7 --face 2 --angles -10 5.5 -3 --crop 100 -20 300 15 --resolution 64 --smoothing 0 "
        "--faces 0 --neck open --texture-size 512 --no-quality --model heads/mine --debug-images "
        "--inversion.mask planes --inversion.mask-softness 2.5"
    )
    assert cli.main(["reconstruct", "anna.jpg", *line.split()]) == 0
    expected = Options(
        device="cpu",
        seed=7,
        face=2,
        angles=(-10.0, 5.5, -3.0),
        crop=(100.0, -20.0, 300.0, 15.0),
        resolution=64,
        smoothing=0,
        faces=0,
        neck="open",
        texture_size=512,
        quality=False,
        model="heads/mine",
        debug_images=True,
        inversion=Inversion(mask="planes", mask_softness=2.5),
    )
    assert seen == [expected]


def test_the_head_goes_to_heads_and_the_photos_name_or_where_it_is_told(photo, journey, tmp_path, capsys):
    assert cli.main(["reconstruct", "anna.jpg"]) == 0
    assert (tmp_path / "heads" / "anna" / "head.glb").exists()
    assert cli.main(["reconstruct", "anna.jpg", "-o", "elsewhere/x"]) == 0
    assert (tmp_path / "elsewhere" / "x" / "head.glb").exists()
    told = capsys.readouterr()
    assert told.out == "The head is in heads/anna\nThe head is in elsewhere/x\n"
    assert told.err.splitlines()[:3] == ["  0% portrait", " 50% surface, about 2 s left", "100% done"]


def test_warnings_are_told_once_on_stdout(photo, journey, capsys):
    journey.warnings = ("The face is only 60 pixels wide.", "The face is only 60 pixels wide.")
    assert cli.main(["reconstruct", "anna.jpg"]) == 0
    assert capsys.readouterr().out.splitlines()[1:] == ["Warning: The face is only 60 pixels wide."]


def test_the_table_of_measurements_is_told_and_no_warning_twice(photo, journey, capsys):
    good = Measurement("a", "landmark error", 1.2, "%", 3.0, "at most", "unsaid")
    bad = Measurement("b", "outline", 0.5, "", 0.85, "at least", "The outline differs; tie the hair back.")
    journey.quality = QualityReport((good, bad))
    journey.warnings = ("The face is small.",)
    assert cli.main(["reconstruct", "anna.jpg"]) == 0
    assert capsys.readouterr().out.splitlines()[1:] == [
        "ok    landmark error  1.2 %  <= 3",
        "WARN  outline           0.5  >= 0.85",
        "! The outline differs; tie the hair back.",
        "Warning: The face is small.",
    ]


@pytest.mark.parametrize("kind", [HeadstitchError, OptionError, PhotoError, FaceError, ResultsError, ResourceError])
def test_a_failure_is_its_sentence_and_its_exit_code(photo, journey, kind, capsys):
    journey.error = kind("This is the sentence.")
    assert cli.main(["reconstruct", "anna.jpg"]) == kind.exit_code != 0
    told = capsys.readouterr()
    assert told.out == ""
    assert told.err.splitlines()[-1] == "This is the sentence."
    assert "Traceback" not in told.err


def test_every_kind_of_failure_has_an_exit_code_of_its_own():
    kinds = [HeadstitchError, *HeadstitchError.__subclasses__()]
    codes = [kind.exit_code for kind in kinds] + [cli.DEFECT, STOPPED]
    assert len(set(codes)) == len(codes)


def test_debug_shows_the_traceback_as_well(photo, journey, capsys):
    journey.error = FaceError("This is the sentence.")
    assert cli.main(["reconstruct", "anna.jpg", "--debug"]) == FaceError.exit_code
    told = capsys.readouterr().err
    assert "Traceback" in told
    assert told.splitlines()[-1] == "This is the sentence."


def test_an_option_that_cannot_work_is_one_sentence(photo, journey, capsys):
    assert cli.main(["reconstruct", "anna.jpg", "--resolution", "3"]) == OptionError.exit_code
    assert capsys.readouterr().err == "--resolution is 3; give a whole number from 32 to 512.\n"
    assert journey.calls == []


@pytest.mark.parametrize(
    "arguments",
    [["reconstruct"], ["reconstruct", "a.jpg", "--resolution", "many"], ["dance"], ["batch", "x", "--sed", "1"]],
)
def test_a_line_that_cannot_be_read_exits_with_2(arguments, capsys):
    with pytest.raises(SystemExit) as stop:
        cli.main(arguments)
    assert stop.value.code == 2
    assert capsys.readouterr().out == ""


def test_a_defect_is_called_one_and_its_traceback_is_kept(photo, journey, capsys):
    journey.error = KeyError("nobody foresaw this")
    assert cli.main(["reconstruct", "anna.jpg"]) == 70
    told = capsys.readouterr().err
    assert "Traceback" not in told
    assert "defect of Headstitch (KeyError" in told
    (kept,) = re.findall(r"please report it with (\S+\.txt)", told)
    with open(kept) as file:  # noqa: PTH123
        assert "nobody foresaw this" in file.read()
    os.unlink(kept)  # noqa: PTH108


@pytest.mark.parametrize("error", [MemoryError(), RuntimeError("DefaultCPUAllocator: can't allocate memory")])
def test_memory_that_runs_out_is_a_resource_error(photo, journey, error, capsys):
    journey.error = error
    assert cli.main(["reconstruct", "anna.jpg"]) == ResourceError.exit_code
    assert "smaller --resolution or --texture-size" in capsys.readouterr().err


def test_a_missing_library_is_a_resource_error(photo, journey, capsys):
    journey.error = ImportError("libusb-1.0.so.0: cannot open shared object file: No such file or directory")
    assert cli.main(["reconstruct", "anna.jpg"]) == ResourceError.exit_code
    assert "apt-get install -y libusb-1.0-0" in capsys.readouterr().err


def test_a_batch_lists_each_photo_and_its_exit_code_tells_of_failures(photo, journey, tmp_path, capsys):
    photos = tmp_path / "people"
    photos.mkdir()
    (photos / "a.jpg").write_bytes(b"anna")
    (photos / "b.jpg").write_bytes(b"faceless")
    assert cli.main(["batch", "people"]) == 1
    assert capsys.readouterr().out.splitlines() == [
        "made    a.jpg",
        "failed  b.jpg: No face was found in b.jpg; give a photo with a face.",
        "1 of 2 photos became heads; see heads/people/index.html",
    ]
    (photos / "b.jpg").write_bytes(b"bob")
    assert cli.main(["batch", "people", "-o", "heads/people"]) == 0
    assert capsys.readouterr().out.splitlines()[:2] == ["kept    a.jpg", "made    b.jpg"]


DRIVER = """
import sys, time, types
from pathlib import Path
from headstitch.backend import batch, cli

def reconstruct(photo, out=None, *, options=None, progress=None):
    partial = Path(str(out) + ".partial")
    partial.mkdir(parents=True)
    try:
        if photo.name == "b.jpg":
            print("working", flush=True)
            time.sleep(60)
    finally:
        partial.rmdir()
    raise batch.PhotoError("no head from this one.")

module = types.ModuleType("headstitch.backend.reconstruct")
module.reconstruct = reconstruct
sys.modules[module.__name__] = module
batch.check_libraries = batch.choose_device = lambda *_: None
sys.exit(cli.main(sys.argv[1:]))
"""


@pytest.mark.skipif(sys.platform == "win32", reason="POSIX signals")
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM], ids=["Ctrl-C", "kill"])
@pytest.mark.parametrize("command", ["reconstruct", "batch"])
def test_a_job_that_is_stopped_says_so_and_leaves_nothing_half_written(tmp_path, command, number):
    folder = tmp_path / "photos"
    folder.mkdir()
    for name in ("a.jpg", "b.jpg"):
        (folder / name).write_bytes(b"x")
    what = folder / "b.jpg" if command == "reconstruct" else folder
    with subprocess.Popen(
        [sys.executable, "-c", textwrap.dedent(DRIVER), command, str(what), "-o", str(tmp_path / "out")],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        restore_signals=True,
    ) as job:
        assert job.stdout is not None
        while "working" not in (line := job.stdout.readline()):
            assert line, "the job ended before it was stopped"
        job.send_signal(number)
        _, errors = job.communicate(timeout=20)
    assert job.returncode == 130
    assert errors.splitlines()[-1].startswith("Stopped; nothing was left half-written.")
    assert "Traceback" not in errors
    left = sorted(path.name for path in (tmp_path / "out").glob("*")) if (tmp_path / "out").exists() else []
    assert left == ([] if command == "reconstruct" else ["batch.json", "index.html"])


def test_a_reader_that_goes_away_is_no_defect(tmp_path):
    code = (
        "import sys, types\n"
        "from headstitch.backend import cli\n"
        "module = types.ModuleType('headstitch.backend.reconstruct')\n"
        "head = types.SimpleNamespace(folder='x', quality=None, warnings=['w' * 100] * 2)\n"
        "def reconstruct(*a, **k):\n"
        "    for _ in range(3000): print('x' * 100)\n"
        "    return head\n"
        "module.reconstruct = reconstruct\n"
        "sys.modules[module.__name__] = module\n"
        "sys.exit(cli.main(['reconstruct', 'a.jpg']))\n"
    )
    with subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, stderr=subprocess.PIPE) as job:
        assert job.stdout is not None
        assert job.stderr is not None
        job.stdout.readline()
        job.stdout.close()
        errors = job.stderr.read()
        assert job.wait(timeout=20) == 1
    assert b"defect" not in errors
    assert b"Exception ignored" not in errors


PHOTO = Path(__file__).parents[2] / "examples" / "astronaut.png"
REAL = ["--resolution", "64", "--faces", "1000", "--texture-size", "256", "--no-quality"]


def own_signals() -> None:
    """A shell that starts the tests in the background has them ignored."""
    signal.signal(signal.SIGINT, signal.SIG_DFL)


@pytest.mark.skipif(sys.platform == "win32", reason="POSIX signals")
@pytest.mark.parametrize("delay", [0.2, 0.4, 0.7, 1.0, 1.4, 1.8, 2.3, 2.9])
def test_a_stop_at_any_moment_of_the_start_is_a_stop(tmp_path, delay):
    shutil.copy(PHOTO, tmp_path / "a.png")
    out = tmp_path / "out"
    what = ["batch", str(tmp_path)] if delay in (0.7, 1.4, 2.3) else ["reconstruct", str(PHOTO)]
    number = signal.SIGTERM if delay in (0.4, 1.4, 1.8) else signal.SIGINT
    with subprocess.Popen(
        [sys.executable, "-m", "headstitch.backend", *what, "-o", str(out)],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        preexec_fn=own_signals,
    ) as job:
        time.sleep(delay)
        job.send_signal(number)
        _, errors = job.communicate(timeout=30)
    assert job.returncode == 130, errors
    assert "Stopped" in errors
    assert "defect" not in errors
    left = {path.name for path in out.iterdir()} if out.exists() else set()
    assert left <= {"batch.json", "index.html"}
    assert "defect" not in "".join(path.read_text() for path in out.glob("*"))


@pytest.mark.parametrize("command", ["reconstruct", "batch"])
def test_a_stop_that_a_library_turns_into_its_own_error_is_a_stop(photo, journey, monkeypatch, capsys, command):
    def swallowed(path) -> None:
        with contextlib.suppress(KeyboardInterrupt):
            signal.raise_signal(signal.SIGINT)
        raise ImportError("initialization failed")

    journey.meanwhile = swallowed
    monkeypatch.setattr("headstitch.backend.batch.check_libraries", lambda: None)
    assert cli.main([command, "anna.jpg" if command == "reconstruct" else "."]) == 130
    assert "Stopped; nothing was left half-written." in capsys.readouterr().err


def test_a_stop_that_a_library_swallows_ends_the_job_at_the_next_stage():
    bar = Bar(io.StringIO())
    with polite_stop():
        with contextlib.suppress(KeyboardInterrupt):
            signal.raise_signal(signal.SIGTERM)
        with pytest.raises(KeyboardInterrupt):
            bar(Progress("texture", 0.5, None))
    bar(Progress("texture", 0.6, None))


def test_a_real_batch_of_two_photos_has_its_heads_and_its_page(tmp_path):
    odd = os.fsdecode(b"z\xfcrich") if sys.platform == "linux" else "zurich"  # elsewhere a name must be Unicode
    for stem in ("a", odd):
        shutil.copy(PHOTO, tmp_path / f"{stem}.png")
    out = tmp_path / "out"
    done = subprocess.run(
        [sys.executable, "-m", "headstitch.backend", "batch", str(tmp_path), "-o", str(out), *REAL],
        capture_output=True,
        text=True,
        check=True,
    )
    shown = odd.encode("utf-8", "backslashreplace").decode()
    assert done.stdout.splitlines()[:2] == ["made    a.png", f"made    {shown}.png"]
    page = (out / "index.html").read_text("utf-8")
    assert "2 of 2 photos became heads" in page
    links = re.findall(r'(?:href|src)="([^"]+)"', page)
    assert len(links) == 10
    for link in links:
        assert (out / unquote(link, errors="surrogateescape")).stat().st_size > 100, link
    for stem in ("a", odd):
        assert changed_files(out / stem) == ()


@pytest.mark.skipif(sys.platform == "win32", reason="a POSIX shell")
@pytest.mark.parametrize(
    ("line", "code", "said"),
    [
        ("render /nowhere 2>&-", 5, ""),
        ("render /nowhere >&-", 5, "holds no head"),
        ("--version >&- 2>&-", 0, ""),
        ("render /nowhere <&-", 5, "holds no head"),
    ],
)
def test_a_closed_stream_is_no_defect(line, code, said):
    done = subprocess.run(
        ["sh", "-c", f"{sys.executable} -m headstitch.backend {line}"], capture_output=True, text=True, check=False
    )
    assert (done.returncode, done.stdout) == (code, "")
    assert said in done.stderr
    assert "defect" not in done.stderr


@pytest.mark.skipif(sys.platform == "win32", reason="a POSIX shell")
@pytest.mark.parametrize("arguments", ["--version", "--help", "reconstruct --help"])
def test_a_reader_that_never_reads_is_no_defect(arguments):
    line = f"{sys.executable} -m headstitch.backend {arguments} | true"
    done = subprocess.run(["sh", "-c", line], capture_output=True, text=True, check=True)
    assert done.stderr == ""
