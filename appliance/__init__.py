"""A locked-down camera station: one ONNX model, one box, one page behind a login."""

__version__ = "0.1.0"
__released__ = "2026-11-25"
"""The day of this version, UTC: a clock that is before it is wrong."""
