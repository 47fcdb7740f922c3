"""Fits a frame into an engine slot, in place, without allocating.

The padding is painted once per fit and slot; afterwards only the picture's rectangle is
written, because nothing else ever writes into an engine slot.
"""

from copy import copy
from typing import Final

import cv2
import numpy as np
from numpy.typing import NDArray

from appliance.errors import EngineError
from appliance.geometry import Fit, FitMode
from appliance.values import U8

VERSION: Final = 1  # how pixels get into a slot


class Letterbox:
    """Resizes frames into slots of one model's input.

    Args:
        input_wh: the model's input size, pixels.
        mode: keep the ratio and pad, or stretch, or take the center alone.
        pad_value: gray value of the padding, 0..255.
        interpolation: "linear" or "area".
        crop: with a center alone, the share of each side that is taken, 0..1.
    """

    def __init__(
        self,
        *,
        input_wh: tuple[int, int],
        mode: FitMode,
        pad_value: int,
        interpolation: str,
        crop: float = 1.0,
    ) -> None:
        self._input_wh = input_wh
        self._mode = mode
        self._crop = crop
        self._pad_value = pad_value
        self._interpolation = cv2.INTER_AREA if interpolation == "area" else cv2.INTER_LINEAR
        self._fits: dict[tuple[int, int], Fit] = {}
        self._painted: dict[int, Fit] = {}

    def place(self, frame: U8, into: U8) -> Fit:
        """Write `frame` (H, W, 3) uint8 BGR into `into` (h, w, 3), the slot's own memory.

        Returns:
            The fit to bring boxes back with.

        Raises:
            EngineError: OpenCV did not write in place, so the slot would hold an old picture.
        """
        fit = self._fit((frame.shape[1], frame.shape[0]))
        address = into.ctypes.data
        if self._painted.get(address) is not fit:
            into[:] = self._pad_value
            self._painted[address] = fit
        (left, top), (width, height) = fit.offset_xy, fit.resized_wh
        target: NDArray[np.uint8] = into[top : top + height, left : left + width]
        part = _taken(frame, fit)
        if fit.taken_wh == fit.resized_wh:
            np.copyto(target, part)
            return fit
        written = cv2.resize(part, fit.resized_wh, dst=target, interpolation=self._interpolation)
        if written.ctypes.data != target.ctypes.data:
            raise EngineError(
                f"slot: expected a (h, w, 3) uint8 view, got {target.shape} {target.dtype}"
            )
        return fit

    def fitted(self, picture: U8) -> tuple[U8, Fit]:
        """The same in memory of its own, for a single picture; from any thread.

        Nothing of it is kept: pictures that people bring have any size. `put` brings it into a
        slot.

        Args:
            picture: (H, W, 3) uint8 BGR.

        Returns:
            (h, w, 3) uint8 BGR, and the fit to bring boxes back with.
        """
        apart = copy(self)
        apart._fits, apart._painted = {}, {}  # noqa: SLF001 - our own, made a line above
        into = np.empty((self._input_wh[1], self._input_wh[0], 3), np.uint8)
        return into, apart.place(picture, into)

    def put(self, fitted: U8, into: U8) -> None:
        """Copy what `fitted` gave into `into` (h, w, 3), the slot's own memory."""
        self._painted.pop(into.ctypes.data, None)
        np.copyto(into, fitted)

    def _fit(self, source_wh: tuple[int, int]) -> Fit:
        fit = self._fits.get(source_wh)
        if fit is None:
            fit = Fit.of(self._mode, source_wh, self._input_wh, self._crop)
            self._fits[source_wh] = fit
        return fit


def _taken(frame: U8, fit: Fit) -> U8:
    """The part of `frame` (H, W, 3) that goes into the input, without a copy."""
    (left, top), (width, height) = fit.taken_xy, fit.taken_wh
    return frame[top : top + height, left : left + width]
