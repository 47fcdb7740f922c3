"""`python -m benchmarks [MEASURE ...]`: prints a table and keeps the figures as JSON."""

import argparse
from pathlib import Path

import cv2
import numpy as np
import onnxruntime
from loguru import logger

from appliance import __version__
from benchmarks.inputs import obtain_inputs
from benchmarks.measures import MEASURES
from benchmarks.report import Row, show, write
from benchmarks.soak import soak

DEFAULT_CACHE = Path(__file__).parent.parent / ".cache" / "benchmarks"


def main() -> None:
    """Run all measures, or those named; the soak only when it is named."""
    parser = argparse.ArgumentParser()
    known = ", ".join((*MEASURES, "soak"))
    parser.add_argument("measures", nargs="*", metavar="MEASURE", help=known)
    parser.add_argument("--minutes", type=float, default=30, help="of the soak")
    parser.add_argument("--cache", type=Path, default=DEFAULT_CACHE)
    args = parser.parse_args()
    logger.remove()
    args.cache.mkdir(parents=True, exist_ok=True)
    inputs = obtain_inputs(args.cache)
    rows: list[Row] = []
    for name in args.measures or MEASURES:
        print(f"{name} ...", flush=True)
        if name == "soak":
            rows += soak(inputs, args.cache, args.minutes)
        else:
            rows += MEASURES[name](inputs, args.cache)
    show(rows)
    versions = {
        "appliance": __version__,
        "onnxruntime": onnxruntime.__version__,
        "opencv": cv2.__version__,
        "numpy": np.__version__,
    }
    print(write("-".join(args.measures) or "all", rows, versions))


if __name__ == "__main__":
    main()
