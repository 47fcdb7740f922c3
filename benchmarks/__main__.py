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

DEFAULT_CACHE = Path(__file__).parent.parent / ".cache" / "benchmarks"


def main() -> None:
    """Run all measures, or those named."""
    parser = argparse.ArgumentParser()
    parser.add_argument("measures", nargs="*", metavar="MEASURE", help=", ".join(MEASURES))
    parser.add_argument("--cache", type=Path, default=DEFAULT_CACHE)
    args = parser.parse_args()
    logger.remove()
    args.cache.mkdir(parents=True, exist_ok=True)
    inputs = obtain_inputs(args.cache)
    rows: list[Row] = []
    for name in args.measures or MEASURES:
        print(f"{name} ...", flush=True)
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
