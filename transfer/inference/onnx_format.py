"""Names in a folder with an exported ONNX model, and in the model."""

MODEL, FACTS = "model.onnx", "model.json"
FORMAT_VERSION = 1  # of FACTS
INPUT = "image"  # RGB, uint8 (N, H, W, 3)
OUTPUTS = ("scores", "familiarity")  # float32 (N, classes) and, where the run had it, (N,)
