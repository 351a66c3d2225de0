"""``python -m headstitch.backend`` and the ``headstitch`` command: what must stand before the first slow import."""

from __future__ import annotations

import os
import sys

from .stop import STOPPED, held, polite_stop


def main() -> int:
    """Run the command line; a stop while it is being loaded ends as one later does."""
    try:
        with polite_stop():
            with held():
                from .cli import main as run

            code = run()
    except KeyboardInterrupt:  # before the command line could say more
        code = STOPPED
        if sys.stderr is not None:
            print("Stopped.", file=sys.stderr, flush=True)
    if code == STOPPED:
        # Everything is tidied and flushed. Libraries that were stopped in the middle of their start would crash in
        # their own tidying, and Python would end by the signal instead of the code.
        os._exit(code)
    return code


if __name__ == "__main__":
    sys.exit(main())
