"""Tells from inside which threads a process has; Python loads it where PYTHONPATH names its folder.

Outside of a process its threads have no names.
"""

import os
import threading
import time
from collections import Counter
from pathlib import Path

PERIOD_S = 1.0
NATIVE = "native"  # of libraries, which Python knows nothing of


def _tell(place: Path) -> None:
    """Write `NAME COUNT` lines, over and over; a reader finds the old ones or the new ones."""
    while True:
        named = {thread.native_id: thread.name for thread in threading.enumerate()}
        tasks = map(int, os.listdir("/proc/self/task"))  # noqa: PTH208 - numbers, no paths
        counts = Counter(named.get(task, NATIVE) for task in tasks)
        fresh = place.with_suffix(".fresh")
        fresh.write_text("".join(f"{name} {count}\n" for name, count in counts.items()))
        fresh.replace(place)
        time.sleep(PERIOD_S)


if file := os.environ.get("BENCHMARK_THREADS"):  # noqa: TID251 - no part of the appliance
    threading.Thread(target=_tell, args=[Path(file)], name="inside", daemon=True).start()
