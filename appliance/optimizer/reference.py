"""The original model as its authors ran it: float pre-processing, ONNX Runtime, numpy decoding.

This is what an engine must agree with. It shares no code with the product's letterbox, fit or
head graph, so that a mistake there cannot hide by being made twice. What becomes of its outputs,
the measure of the task says.
"""

import math
from pathlib import Path
from typing import Any, Final

import numpy as np
import onnx
import onnxruntime
from numpy.typing import ArrayLike, NDArray
from onnx.external_data_helper import load_external_data_for_tensor, uses_external_data

from appliance.catalog.card import Card
from appliance.catalog.inspection import Inspection, inspect_onnx
from appliance.catalog.side_files import tensors
from appliance.errors import ModelError
from appliance.optimizer.feeding import WHOLE_DTYPES, feed_of
from appliance.optimizer.heads import Head, Tensors
from appliance.optimizer.measures import Placement
from appliance.runtimes.onnxruntime import failures, first_line
from appliance.values import F32, U8

VERSION: Final = 1  # how the original is prepared and run
SMALL_BYTES = 4096  # weights are larger, and shapes and indexes are not
BESIDE = "session.model_external_initializers_file_folder_path"


class Reference:
    """The foreign model on ONNX Runtime, one frame at a time.

    Raises:
        ModelError: ONNX Runtime cannot load or run it.
    """

    def __init__(self, foreign: Path, card: Card, head: Head, *, threads: int = 0) -> None:
        inspection = inspect_onnx(foreign)
        self._inspection = inspection
        self._feed = feed_of(inspection.inputs, card)
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = threads
        options.log_severity_level = 4  # what goes wrong is raised as well
        try:
            self._session = onnxruntime.InferenceSession(
                _readable(inspection, options), options, providers=["CPUExecutionProvider"]
            )
        except failures() as error:
            raise _refused(foreign, "load", error) from error
        self._card = card
        self._head = head
        self._outputs = [value.name for value in self._session.get_outputs()]

    def run(self, image: F32) -> Tensors:
        """Canonical rows of one prepared image (h, w, 3) float32 BGR 0..255, by the numpy twin."""
        feeds = {self._feed.image.name: self._tensor(image), **self._feed.extras}
        try:
            arrays = self._session.run(self._outputs, feeds)
        except failures() as error:
            raise _refused(self._inspection.path, "run", error) from error
        raw = {name: _single(a) for name, a in zip(self._outputs, arrays, strict=True)}
        return self._head.decode(raw, self._card, self._inspection)

    def look(self, frame: U8) -> tuple[Tensors, Placement]:
        """Canonical rows of one source frame (H, W, 3) uint8 BGR, and where it lay in the input."""
        image, placement = place(frame, self._card)
        return self.run(image), placement

    def _tensor(self, image: F32) -> NDArray[Any]:
        card = self._card.input
        ordered = image[..., ::-1] if card.channels == "rgb" else image
        scaled = (ordered - np.array(card.mean, np.float32)) / np.array(card.std, np.float32)
        tensor = scaled if card.layout == "nhwc" else scaled.transpose(2, 0, 1)
        rounded = np.rint(tensor) if self._feed.image.dtype in WHOLE_DTYPES else tensor
        return np.ascontiguousarray(rounded[None], self._feed.image.dtype)


def _readable(inspection: Inspection, options: onnxruntime.SessionOptions) -> str | bytes:
    """What a session takes: the file, or its bytes where it has side files.

    The library infers shapes from the small tensors, and does not look for them in side files.
    """
    if not inspection.side_files:
        return str(inspection.path)
    folder = str(inspection.path.parent)
    proto = onnx.load(inspection.path, load_external_data=False)
    for tensor in tensors(proto):
        if uses_external_data(tensor) and _size_bytes(tensor) <= SMALL_BYTES:
            load_external_data_for_tensor(tensor, folder)
            tensor.data_location = onnx.TensorProto.DEFAULT
            del tensor.external_data[:]
    options.add_session_config_entry(BESIDE, folder)
    return proto.SerializeToString()


def _size_bytes(tensor: onnx.TensorProto) -> int:
    return math.prod(tensor.dims) * onnx.helper.tensor_dtype_to_np_dtype(tensor.data_type).itemsize


def _refused(foreign: Path, what: str, error: Exception) -> ModelError:
    return ModelError(
        f"{foreign.name}: ONNX Runtime cannot {what} the original: {first_line(error)}",
        hint="Export the model again with ONNX's own operators alone, and check input.layout and "
        "input.size_wh in model.toml.",
    )


def _single(array: NDArray[Any]) -> NDArray[Any]:
    """Half precision as single, so that the twins add and multiply in fp32."""
    return array.astype(np.float32) if array.dtype == np.float16 else array


def place(frame: U8, card: Card) -> tuple[F32, Placement]:
    """The card's input picture in float, and what brings points of it back.

    Args:
        frame: (H, W, 3) uint8 BGR.
        card: says fit, crop, size, interpolation and padding.

    Returns:
        (h, w, 3) float32 BGR 0..255, and where the frame lies in it.
    """
    height, width = frame.shape[:2]
    input_w, input_h = card.input.size_wh
    if card.input.fit == "crop":
        return _center(frame, card)
    if card.input.fit == "stretch":
        inner_w, inner_h = input_w, input_h
    else:
        ratio = min(input_w / width, input_h / height)
        inner_w, inner_h = max(1, round(width * ratio)), max(1, round(height * ratio))
    inner = _resized(frame, (inner_w, inner_h), card)
    left, top = (input_w - inner_w) // 2, (input_h - inner_h) // 2
    image = np.full((input_h, input_w, 3), card.input.pad_value, np.float32)
    image[top : top + inner_h, left : left + inner_w] = inner
    return image, _placement(frame, (left, top), (inner_w / width, inner_h / height))


def _center(frame: U8, card: Card) -> tuple[F32, Placement]:
    """The middle of the largest part that has the input's shape, as large as the input."""
    source, target = np.array(frame.shape[1::-1]), np.array(card.input.size_wh)
    largest = np.minimum(source, source[::-1] * target / target[::-1])
    size = np.maximum(np.rint(card.input.crop * largest), 1).astype(int)
    low = (source - size) // 2
    (left, top), (right, bottom) = low, low + size
    image = _resized(frame[top:bottom, left:right], card.input.size_wh, card)
    return image, _placement(frame, -low * target / size, target / size)


def _placement(frame: U8, offset_xy: ArrayLike, scale_xy: ArrayLike) -> Placement:
    offset, scale = (np.array(each, np.float32) for each in (offset_xy, scale_xy))
    return Placement((frame.shape[1], frame.shape[0]), offset, scale)


def _resized(frame: U8, size_wh: tuple[int, int], card: Card) -> F32:
    """`frame` (H, W, 3) in another size, (h, w, 3) float32."""
    weigh = _area_weights if card.input.interpolation == "area" else _linear_weights
    (height, width), (target_w, target_h) = frame.shape[:2], size_wh
    rows, columns = weigh(height, target_h), weigh(width, target_w)
    pixels = frame.astype(np.float32)
    result: F32 = np.einsum("yh,hwc,xw->yxc", rows, pixels, columns, optimize=True)
    return result


def _linear_weights(source: int, target: int) -> F32:
    """(target, source): bilinear interpolation with half-pixel centers, edges repeated."""
    centers = np.clip((np.arange(target) + 0.5) * source / target - 0.5, 0, source - 1)
    low = np.floor(centers).astype(int)
    high = np.minimum(low + 1, source - 1)
    weights = np.zeros((target, source), np.float32)
    each = np.arange(target)
    np.add.at(weights, (each, low), 1 - (centers - low))
    np.add.at(weights, (each, high), centers - low)
    return weights


def _area_weights(source: int, target: int) -> F32:
    """(target, source): the share of each source pixel under a target pixel."""
    edges = np.arange(target + 1) * source / target
    pixels = np.arange(source)
    overlap = np.minimum(edges[1:, None], pixels + 1) - np.maximum(edges[:-1, None], pixels)
    shares = np.clip(overlap, 0, None)
    result: F32 = (shares / shares.sum(axis=1, keepdims=True)).astype(np.float32)
    return result
