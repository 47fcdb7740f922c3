"""TF.js graph models, read and written as ONNX."""
