"""When Python looks for garbage: seldom while the station starts, as usual from then on."""

import gc

USUAL = gc.get_threshold()
SELDOM = 10_000  # objects that come to be between two collections


def collect_seldom() -> None:
    """Call first: an import makes no garbage, and a tenth of a start went into collections."""
    gc.set_threshold(SELDOM)


def collect_as_usual() -> None:
    """Call once all is imported: what is here now stays, and no collection looks through it."""
    gc.freeze()
    # Python puts a full collection off until a quarter has come to what the last one left. That
    # one went through all that was imported; this one goes through nothing.
    gc.collect()
    gc.set_threshold(*USUAL)
