"""Every text of the backend's environment that a person reads: a sentence each, with what to do. Imports nothing."""

from __future__ import annotations

# --- states ----------------------------------------------------------------------------------------------------------

STATE_ABSENT = "The backend's environment is not there yet; press Make"
STATE_PARTIAL = "The backend's environment is half made; press Make to go on where it stopped"
STATE_READY = "The backend's environment is ready"
STATE_READY_EXISTING = "The backend runs in the Python that you named: {python}"
STATE_OUTDATED_PINS = (
    "The backend's environment was made for Headstitch {made} and this is {now}; press Make to update it"
)
STATE_OUTDATED_PLACE = "The backend's environment was made in another place ({place}); press Make to mend it"
STATE_BROKEN_PYTHON = "The Python of the backend's environment is gone ({python}); press Make to mend it"
STATE_BROKEN_EXISTING = "The Python that you named is gone ({python}); name another, or press Make"

# --- plan ------------------------------------------------------------------------------------------------------------

PLAN = "{about}{download} to download, {installed} on the disk when done; {free} of the disk are free"
PLAN_NOTHING = "Nothing to download; {installed} on the disk when done; {free} of the disk are free"
ABOUT = "about "
NO_PYTHON = (
    "No Python 3.11 or 3.12 was found; allow Headstitch to obtain one of its own (by uv, about {size}), or install one "
    "and name it"
)
NO_PYTHON_OFFLINE = (
    "No Python 3.11 or 3.12 was found and Blender may not go online; install one and name it, or switch on "
    "Preferences > System > Network > Allow Online Access"
)
NO_BOOTSTRAP = (
    "{python} comes without pip and without ensurepip; install its venv package (on Debian or Ubuntu: "
    "sudo apt-get install -y python{version}-venv), or name another Python"
)
OFFLINE = (
    "Blender may not go online; switch on Preferences > System > Network > Allow Online Access, or choose a folder "
    "that holds the packages"
)
OFFLINE_FOLDER_MISSING = 'There is no folder "{folder}"; choose the folder that holds the packages'
OFFLINE_FOLDER_LACKS = (
    'The folder "{folder}" lacks {count} of the packages ({names}); copy them there, or let Headstitch download them'
)
DISK_FULL_AHEAD = (
    "The environment needs {needed} of free disk at {folder}, but {free} are free; make room, or choose another folder"
)
LONG_PATHS = (
    'The folder "{folder}" is too deep for Windows, which allows paths of 259 characters; choose a shorter one such as '
    "a folder beside the drive's root, or switch on long paths in Windows"
)
UNKNOWN_BUILD = "There is no {build} build of PyTorch for this system; choose one of {builds}"
UNSUPPORTED = (
    "This system ({system}) has no ready packages; Headstitch needs 64-bit Linux (x86), Windows (x86) or macOS on "
    "Apple silicon, or an existing environment that you name"
)
OLD_SYSTEM = (
    "The packages need {name} {needed} or newer and this system has {found}; update the system, or name an existing "
    "environment"
)
NOT_GLIBC = "The packages need a Linux with the GNU C library; name an existing environment"

# --- interpreters ----------------------------------------------------------------------------------------------------

PYTHON_NOT_THERE = 'There is no file "{python}"; name the python program of Python 3.11 or 3.12'
PYTHON_DOES_NOT_RUN = '"{python}" does not run as Python ({reason}); name the python program of Python 3.11 or 3.12'
PYTHON_WRONG = '"{python}" is Python {version}; name a Python 3.11 or 3.12'
PYTHON_32_BIT = '"{python}" is a 32-bit Python; name a 64-bit Python 3.11 or 3.12'
UV_FAILED = (
    "uv could not obtain a Python ({reason}); install Python 3.11 from your system or python's own site and name it"
)
UV_NO_NETWORK = (
    "The place that uv fetches Pythons from cannot be reached; check the network, or install Python 3.11 and name it"
)
UV_NO_PYTHON = "uv ended well but left no Python in {folder}; install Python 3.11 and name it"

# --- stages, as the panel shows them ---------------------------------------------------------------------------------

STAGE_PYTHON = "Looking for Python"
STAGE_UV = "Obtaining uv"
STAGE_OWN_PYTHON = "Obtaining Python"
STAGE_VENV = "Making the environment"
STAGE_PIP = "Preparing pip"
STAGE_DOWNLOAD = "Downloading {name}"
STAGE_INSTALL = "Installing {name}"
STAGE_INSTALL_START = "Installing the packages"
STAGE_VERIFY = "Trying {name}"
STAGE_DONE = "Done"
STAGE_REMOVE = "Removing {name}"
STAGE_COMPARE = "Comparing the files"

# --- failures --------------------------------------------------------------------------------------------------------

BUSY = "Another Blender (process {pid}) works on this environment; wait until it is done"
FOREIGN = 'The folder "{folder}" holds what Headstitch did not make ({name}); choose an empty folder'
NOT_A_FOLDER = '"{folder}" is a file; choose a folder'
NOT_OURS = 'Headstitch did not make "{folder}", so it removes nothing there; delete it by hand if you want to'
CANNOT_REMOVE = '"{path}" cannot be removed ({reason}); end what uses it (Free memory) and press Remove again'
CANCELLED = "Cancelled; press Make to go on where it stopped"

FULL = "The disk is full; make room at {place} and press Make to go on"
PERMISSION = "Headstitch may not write to {path}; mend its permissions, or choose another folder"
READ_ONLY = "{path} lies on a read-only disk; choose another folder"
LOCKED = (
    "Another program holds {path} (often an antivirus); wait a moment and press Make again, or exclude the folder of "
    "the environment from scanning"
)
PATH_TOO_LONG = "The path {path} is too long for this system; choose a shorter folder"
OTHER_OS = "{path} failed with: {reason}; mend that and press Make again"

NO_NETWORK = "The package index cannot be reached; check the network and its proxy, or choose a folder of packages"
NO_TORCH_INDEX = (
    "The index that has PyTorch's {build} build cannot be reached; check the network, or choose another build or a "
    "folder that holds the packages"
)
PROXY = "The proxy refuses or cannot be reached; check the proxy settings of the system, or choose a folder of packages"
CERTIFICATE = (
    "The package index shows a certificate that this system does not trust; set pip's cert option to your network's "
    "certificate, or choose a folder of packages"
)
SLOW = "The package index stopped answering; press Make to go on where it stopped"
INTERRUPTED = "The connection broke off; press Make to go on where it stopped"
REFUSED = "The package index answered with error {code}; try later, or check the index that pip is set up with"
HASH = (
    "{name} is not the file that Headstitch was made for (its hash differs); press Make to fetch it again, and if this "
    "stays, check the index or the folder that it comes from"
)
NO_MATCH = "The package index offers no {name}; check the index that pip is set up with, or choose a folder of packages"
NO_MATCH_TORCH = "There is no {build} build of {name} to be had; choose another build, or a folder of packages"
WRONG_WHEEL = "{name} is made for another system or Python; get the file for {target}, Python {python}"
OUT_OF_MEMORY = "The memory ran out; close other programs and press Make to go on"
PIP_FAILED = "pip ended with code {code} ({reason}); the log says more"
VENV_FAILED = "{python} could not make an environment ({reason}); name another Python"
TIMED_OUT = "{name} did not answer within {seconds} seconds; try again, or restart the computer"
UNEXPECTED = "Something unexpected happened ({reason}); the log says more"
DAMAGED_LOCK = "The list of packages in the add-on is damaged ({reason}); install the add-on again"

# --- check -----------------------------------------------------------------------------------------------------------

CHECK_GOOD = "Everything is there and works"
MEND_MAKE = "Press Make: what is there stays, what is missing or damaged is put in place"
MEND_PYTHON = "Press Make, or name another Python"
MEND_NAME_OTHER = "Install it there, or name another Python, or press Make"
MISSING_PACKAGE = "{name} {version} is missing"
WRONG_PACKAGE = "{name} is there in version {found}, and {version} is needed"
DAMAGED_PACKAGE = "{name} {version} is damaged: {file} is missing or of another size"
INTERPRETER_FAILS = "The environment's Python does not run ({reason})"
DOES_NOT_IMPORT = "{name} cannot be loaded: {reason}"
MEND_IMPORT = "Press Make to install it anew; if that does not help, the log says more"
MEND_OTHER_LIBRARY = "Install the package of your system that holds this library"
SYSTEM_LIBRARY = "The system library {library} is missing"
MEND_SYSTEM_LIBRARY = "On Debian or Ubuntu run: sudo apt-get install -y {packages}"
VISUAL_CPP = "{name} cannot be loaded, because a system library is missing"
MEND_VISUAL_CPP = "Install the Microsoft Visual C++ Redistributable (x64) and start Blender anew"
NO_BACKEND = "The environment does not find Headstitch's own code ({reason})"
OTHER_VERSION = "The environment runs Headstitch {found}, and the add-on is {wanted}"
NO_CUDA = "PyTorch is the {build} build but finds no NVIDIA GPU that it can use"
MEND_CUDA = "Update the NVIDIA driver, or make the environment with the CPU build"
OTHER_PIN = "{name} is {found} there; Headstitch is tested with {wanted}"
