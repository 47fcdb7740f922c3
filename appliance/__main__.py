"""`python -m appliance` is the `appliance` command."""

import gc
import os
import signal
import sys

YOUNG = 10_000  # objects that come to be between two collections


def main() -> None:
    """Entry point, the command's as well.

    A station that is told to stop while it still loads has nothing open, so it may leave at
    once. Without this it would die of the signal, and as a container's first process, which
    hears no signal that it does not heed, it would not even notice.
    """
    # Collections are for garbage, of which an import makes none: a tenth of a start went into them.
    gc.set_threshold(YOUNG)
    if sys.argv[1:2] == ["serve"]:
        signal.signal(signal.SIGTERM, lambda *_: os._exit(0))
    from appliance.cli import main as command  # noqa: PLC0415 - loading takes its time

    command()


if __name__ == "__main__":
    main()
