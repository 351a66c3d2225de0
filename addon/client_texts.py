"""Every text about the backend process that a person reads: a sentence each, with what to do. Imports nothing."""

from __future__ import annotations

# --- it does not start -----------------------------------------------------------------------------------------------

NO_PROGRAM = "The backend's Python is not there ({program}); press Check in the extension's preferences"
NOT_ALLOWED = "The backend's Python may not be run ({program}); press Check in the extension's preferences"
NO_START = "The backend does not start ({reason}); press Check in the extension's preferences"
LACKS_PACKAGE = "The backend's Python lacks the package {package}; press Check in the extension's preferences"
SLOW_START = "The backend did not answer for {seconds:.0f} seconds after its start and was ended; try again"
NO_FOLDER = "The backend's folder {folder} cannot be written ({reason}); free some space there, or mend its permissions"
OTHER_PROTOCOL = (
    "Add-on and backend do not understand each other ({reason}); update the backend in the extension's preferences"
)
OTHER_VERSION = (
    "The backend is Headstitch {theirs} and the add-on {ours}; update the backend in the extension's preferences"
)

# --- it ends before its time -----------------------------------------------------------------------------------------

SAFE = "nothing of the scene has changed; try again"
KILLED = (
    "The backend was killed; if nobody did that, the memory ran out: close other programs or choose a lower quality, "
    "and try again"
)
CRASHED = "The backend crashed ({reason}); " + SAFE
ENDED = "The backend ended unexpectedly ({reason}); " + SAFE
SILENT = "The backend gave no sign of life for {seconds:.0f} seconds and was ended; " + SAFE
STALLED = "The backend did nothing for {seconds:.0f} seconds and was ended; " + SAFE
GARBLED = "The backend answered something else than it should ({reason}); " + SAFE
DEFECT = "A defect of the add-on ({reason}); please report it with what Blender's console shows"

CANCELLED = "Cancelled"
CLOSED = "Headstitch was switched off"
EXIT_CODE = "exit code {code}"
SIGNAL = "signal {name}"
