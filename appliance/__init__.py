"""A locked-down camera station: one ONNX model, one box, one page behind a login."""

__version__ = "0.1.0"
