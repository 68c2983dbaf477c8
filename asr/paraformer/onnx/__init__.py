"""Paraformer as ONNX: the export, and a runner on onnxruntime."""
