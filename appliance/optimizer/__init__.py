"""From a foreign ONNX model to a canonical, verified engine, at build time."""
