"""Faults to plant around an engine that is right: what the gate must not let through."""

from dataclasses import replace

import cv2
import numpy as np


class Faulty:
    """An engine with a fault planted around the real one.

    Args:
        inner: the real engine.
        before: changes the frames on their way in; the slot itself is left as it was.
        after: changes the outputs.
        report: what is told otherwise.
    """

    def __init__(
        self, inner, *, before=lambda frames: frames, after=lambda _outputs: None, **report
    ):
        self._inner, self._before, self._after = inner, before, after
        self.slots, self.report = inner.slots, replace(inner.report, **report)

    def submit(self, slot):
        asked = slot.frames.copy()
        slot.frames[:] = self._before(asked)
        self._inner.submit(slot)
        self._inner.wait(slot)
        slot.frames[:] = asked

    def wait(self, slot, timeout_s=None):
        done = self._inner.wait(slot, timeout_s)
        self._after(slot.outputs)
        return done

    def close(self):
        self._inner.close()


class Misplacing:
    """A letterbox with a fault: the engine is right, its surroundings are not.

    Args:
        inner: the right one.
        shift_px: by how much the picture lies too far right; fractions are interpolated.
        offset: what is added to what is told of the picture's place.
    """

    def __init__(self, inner, *, shift_px=0.0, offset=0.0):
        self._inner, self._shift_px, self._offset = inner, shift_px, offset

    def place(self, frame, into):
        fit = self._inner.place(frame, into)
        right = np.array([[1, 0, self._shift_px], [0, 1, 0]], np.float32)
        into[:] = cv2.warpAffine(into, right, into.shape[1::-1], borderMode=cv2.BORDER_REPLICATE)
        left, top = fit.offset_xy
        return replace(fit, offset_xy=(left + self._offset, top + self._offset))


def swapped_channels(frames):
    return frames[..., ::-1]


def wrong_class(outputs):
    used = outputs["class_ids"] >= 0
    outputs["class_ids"][used] += 1
