"""What pip, uv and the system say when something fails, as sentences that say what to do next. Imports no bpy."""

from __future__ import annotations

import errno
import os
import re
import sys
from dataclasses import dataclass, field
from pathlib import Path

from . import environment_texts as texts


class EnvironmentFailure(Exception):  # noqa: N818  what is raised is shown to a person, who knows no "Error" suffix
    """What went wrong, as one sentence that says what to do next."""


@dataclass
class Finished:
    """How a child process ended, and the last lines that it wrote."""

    code: int
    lines: list[str] = field(default_factory=list)

    @property
    def last(self) -> str:
        """The last line with anything in it."""
        return next((line.strip() for line in reversed(self.lines) if line.strip()), f"code {self.code}")


def sentence_of(error: OSError, place: str | os.PathLike[str] = "") -> str:
    """What the system said, as a sentence that says what to do."""
    path = error.filename or os.fspath(place) or "the environment's folder"
    code, windows = error.errno, getattr(error, "winerror", None)
    if code in (errno.ENOSPC, getattr(errno, "EDQUOT", errno.ENOSPC)) or windows in (39, 112):
        return texts.FULL.format(place=path)
    if windows in (32, 33):
        return texts.LOCKED.format(path=path)
    if windows == 206 or code == errno.ENAMETOOLONG:
        return texts.PATH_TOO_LONG.format(path=path)
    if code in (errno.EACCES, errno.EPERM):
        return texts.PERMISSION.format(path=path)
    if code == errno.EROFS:
        return texts.READ_ONLY.format(path=path)
    if code == errno.ENOMEM:
        return texts.OUT_OF_MEMORY
    return texts.OTHER_OS.format(path=path, reason=error.strerror or error)


NETWORK = (
    r"NewConnectionError|NameResolutionError|Name or service not known|getaddrinfo failed|Temporary failure in name"
    r"|Network is unreachable|Connection refused|WinError 1006[015]|nodename nor servname|No route to host"
    r"|Failed to resolve|dns error|error sending request|client error \(Connect\)"
)


def explain(done: Finished, place: Path) -> str:
    """The sentence for what pip, uv or venv ended with; empty where it is none of the known ills."""
    text = "\n".join(done.lines)

    def says(pattern: str) -> re.Match[str] | None:
        return re.search(pattern, text, re.IGNORECASE)

    locked = says(r"WinError (?:32|33)\b.*?'([^']*)'") or says(r"()being used by another process")
    mismatch = says(r"DO NOT MATCH THE HASHES[\s\S]*?\n\s+(\S+)[^\n]*\n\s+Expected")
    permission = says(r"(?:Permission denied|Access is denied|WinError 5\b)[^'\n]*(?:'([^'\n]*)')?")
    status = says(r"\b(?:HTTP error|HTTPError:|status code:?) ?(\d{3})")
    wrong = says(r"(\S+\.whl) is not a supported wheel")
    match = says(r"No matching distribution found for (\S+)")
    if says(r"No space left on device|Errno 28\b|WinError 112|Disk quota exceeded|not enough space on the disk"):
        return texts.FULL.format(place=place)
    if locked:
        return texts.LOCKED.format(path=locked[1] or place)
    if says(r"Long Path support|File name too long|WinError 206"):
        return texts.PATH_TOO_LONG.format(path=place)
    if says(r"Read-only file system"):
        return texts.READ_ONLY.format(path=place)
    if permission:
        return texts.PERMISSION.format(path=permission[1] or place)
    if mismatch:
        return texts.HASH.format(name=mismatch[1])
    if says(r"ProxyError|Cannot connect to proxy|Tunnel connection failed|407 Proxy"):
        return texts.PROXY
    if says(r"CERTIFICATE_VERIFY_FAILED|SSLError|SSLCertVerificationError|invalid peer certificate"):
        return texts.CERTIFICATE
    if says(NETWORK):
        return texts.NO_NETWORK
    if says(r"ReadTimeoutError|ConnectTimeoutError|timed out"):
        return texts.SLOW
    if says(
        r"IncompleteRead|IncompleteDownload|Connection (?:aborted|reset|broken)|RemoteDisconnected|Connection lost"
    ):
        return texts.INTERRUPTED
    if status:
        return texts.REFUSED.format(code=status[1])
    if wrong:
        return texts.WRONG_WHEEL.format(name=wrong[1], target=sys.platform, python="3.11 or 3.12")
    if match:
        return texts.NO_MATCH.format(name=match[1])
    if says(r"MemoryError|Cannot allocate memory"):
        return texts.OUT_OF_MEMORY
    return ""


def reason_of(done: Finished) -> str:
    """The line that says most: pip's and uv's last error, else the last line."""
    errors = [line.strip() for line in done.lines if re.match(r"\s*(?:ERROR|error|Error|cause:|Caused by)", line)]
    return re.sub(r"^(?:ERROR|error|Error|cause|Caused by):\s*", "", errors[-1]) if errors else done.last


def pip_sentence(done: Finished) -> str:
    """For what no other sentence covers."""
    return texts.PIP_FAILED.format(code=done.code, reason=reason_of(done).rstrip("."))
