"""`python -m appliance` is the `appliance` command."""

import os
import signal
import sys

from appliance.garbage import collect_seldom


def main() -> None:
    """Entry point, the command's as well.

    A station that is told to stop while it still loads has nothing open, so it may leave at
    once. Without this it would die of the signal, and as a container's first process, which
    hears no signal that it does not heed, it would not even notice.
    """
    if sys.argv[1:2] == ["serve"]:
        signal.signal(signal.SIGTERM, lambda *_: os._exit(0))
        collect_seldom()
    from appliance.cli import main as command  # noqa: PLC0415 - loading takes its time

    command()


if __name__ == "__main__":
    main()
