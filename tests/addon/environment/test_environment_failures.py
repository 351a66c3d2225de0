"""What pip, uv and the system say when something fails: each becomes one sentence that says what to do."""

from __future__ import annotations

import errno
import os
import re
import sys
import time
from pathlib import Path

import pytest
from headstitch.addon import environment_texts as texts
from headstitch.addon.environment_failures import EnvironmentFailure, Finished, explain, pip_sentence, sentence_of
from headstitch.addon.environment_jobs import Job

PLACE = Path("place")
RETRYING = "WARNING: Retrying (Retry(total=0, connect=None)) after connection broken by '"


NO_NAME = "NewConnectionError('Failed to establish a new connection: [Errno -2] Name or service not known')': /simple/"
NO_NAME_WINDOWS = "NewConnectionError('Failed to establish a new connection: [Errno 11001] getaddrinfo failed')'"
PROXY = "ProxyError('Cannot connect to proxy.', OSError('Tunnel connection failed: 407 Proxy'))'"
CERTIFICATE = "SSLError(SSLCertVerificationError(1, '[SSL: CERTIFICATE_VERIFY_FAILED] self-signed certificate'))'"
SLOW = 'ReadTimeoutError("HTTPSConnectionPool: Read timed out. (read timeout=30)")\''
NO_MATCH = "\nERROR: No matching distribution found for alpha==1.0"
OS_ERROR = "ERROR: Could not install packages due to an OSError: "
HELD = "[WinError 32] Der Prozess kann nicht auf die Datei zugreifen: 'C:\\\\env\\\\torch.dll'\nCheck the permissions."
LONG = "[Errno 2] No such file or directory: 'C:\\\\very'\nHINT: this system does not have Windows Long Path support"
MISMATCH = """ERROR: THESE PACKAGES DO NOT MATCH THE HASHES FROM THE REQUIREMENTS FILE. If you have updated the package
    alpha==1.0 from index/alpha.whl (from -r r.txt (line 1)):
        Expected sha256 aa
             Got        bb"""
UV = """error: Request failed after 3 retries
  Caused by: error sending request
  Caused by: client error (Connect)
  Caused by: dns error"""


@pytest.mark.parametrize(
    ("said", "sentence"),
    [
        (RETRYING + NO_NAME + NO_MATCH, "cannot be reached; check the network"),
        (RETRYING + NO_NAME_WINDOWS, "cannot be reached; check the network"),
        (RETRYING + PROXY + NO_MATCH, "proxy refuses"),
        (RETRYING + CERTIFICATE + NO_MATCH, "certificate that this system does not trust"),
        (RETRYING + SLOW, "stopped answering"),
        (OS_ERROR + "[Errno 28] No space left on device", "disk is full"),
        (OS_ERROR + "[WinError 112] Es steht nicht genug Speicherplatz zur Verfügung", "disk is full"),
        (OS_ERROR + HELD, r"holds C:.*torch\.dll \(often an antivirus\)"),
        (
            OS_ERROR + "[Errno 13] Permission denied: '/srv/x'\nConsider the `--user` option",
            "not write to /srv/x",
        ),
        (OS_ERROR + "[WinError 5] Zugriff verweigert: 'C:\\\\x'", "may not write"),
        (OS_ERROR + LONG, "too long"),
        (MISMATCH, r"^alpha==1\.0 is not the file"),
        ("ERROR: HTTP error 503 while getting index/alpha.whl", "answered with error 503"),
        ("ERROR: alpha-1.0-cp39-cp39-win_amd64.whl is not a supported wheel on this platform.", "for another system"),
        (NO_MATCH, r"offers no alpha==1\.0"),
        ("urllib3.exceptions.ProtocolError: ('Connection broken: IncompleteRead(5 bytes read)')", "broke off"),
        ("MemoryError", "memory ran out"),
        (UV, "check the network"),
        ("OSError: [Errno 30] Read-only file system: '/x'", "read-only disk"),
    ],
)
def test_what_pip_says_becomes_a_sentence(said, sentence):
    assert re.search(sentence, explain(Finished(1, said.splitlines()), PLACE))


def test_what_is_unknown_is_quoted():
    done = Finished(2, ["Collecting x", "ERROR: The moon is full.", "", "[notice] a new pip"])
    assert explain(done, PLACE) == ""
    assert pip_sentence(done) == "pip ended with code 2 (The moon is full); the log says more"
    assert "code 3" in pip_sentence(Finished(3, []))


@pytest.mark.parametrize(
    ("number", "sentence"),
    [
        (errno.ENOSPC, "The disk is full; make room at x"),
        (errno.EACCES, "may not write to x"),
        (errno.EROFS, "read-only"),
        (errno.ENAMETOOLONG, "too long"),
        (errno.ENOMEM, "memory ran out"),
        (errno.EIO, "x failed with: "),
    ],
)
def test_what_the_system_says_becomes_a_sentence(number, sentence):
    assert sentence in sentence_of(OSError(number, os.strerror(number), "x"))


def test_windows_errors_become_sentences():
    for number, sentence in ((32, "antivirus"), (112, "disk is full"), (206, "too long")):
        error = OSError(errno.EINVAL, "anders")
        error.winerror = number  # pyright: ignore[reportAttributeAccessIssue]
        assert sentence in sentence_of(error, "x")


def test_every_text_is_one_sentence_without_a_full_stop():
    for name, text in vars(texts).items():
        if name.isupper():
            assert isinstance(text, str)
            assert not re.search(r"\.( |$)", re.sub(r"\{\w+\}", "", text)), name
            assert "\n" not in text


# --- jobs ------------------------------------------------------------------------------------------------------------


def end_of(job):
    assert job.wait(10)
    return job.poll()[-1]


def test_a_job_that_breaks_says_so_instead_of_dying(tmp_path):
    def work(job):
        job.begin_log()
        raise KeyError("oh")

    job = Job(work, tmp_path / "log")
    end = end_of(job)
    assert (end.kind, job.outcome) == ("failed", "failed")
    assert end.text == "Something unexpected happened (KeyError: 'oh'); the log says more"
    assert "Traceback" in Path(end.log).read_text()
    with pytest.raises(EnvironmentFailure, match="unexpected"):
        _ = job.result


def test_a_program_that_never_ends_is_ended(tmp_path):
    def work(job):
        words = [sys.executable, "-c", "import time; time.sleep(60)"]
        return job.run(words, env=dict(os.environ), guard=sys.executable, timeout=1)

    began = time.monotonic()
    job = Job(work, tmp_path / "log")
    assert re.search("did not answer within 1 seconds", end_of(job).text)
    assert time.monotonic() - began < 5


def test_a_job_without_a_log_has_none(tmp_path):
    job = Job(lambda job: job.progress("half", 0.5), tmp_path / "folder" / "log")
    assert end_of(job).log == ""
    assert not (tmp_path / "folder").exists()


def test_the_time_left_follows_the_pace(tmp_path, monkeypatch):
    clock = [100.0]
    monkeypatch.setattr("headstitch.addon.environment_jobs.time.monotonic", lambda: clock[0])

    def work(job):
        for step in range(1, 9):
            job.progress("x", step / 10)
            clock[0] += 5.0

    job = Job(work, tmp_path / "log")
    job.wait(10)
    left = [event.seconds_left for event in job.poll() if event.kind == "progress"]
    assert left[0] is None
    assert left[-1] == pytest.approx(10.0)  # two tenths at five seconds each
