"""A finished run → an ONNX model, and a web page that runs it in the browser."""
