"""Smaller files: weights of half precision, or integers throughout the convolutions."""

import logging
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from transfer.data.dataset import ImageDataset
from transfer.publishing.check_images import some_images
from transfer.runs.run import Run

if TYPE_CHECKING:
    from onnx import ModelProto

PHOTOS = 64  # training photos whose activations give the ranges of the integers
SMALL = 1_000  # numbers; tensors of fewer, such as biases, stay as they are


def to_fp16(model: "ModelProto") -> None:
    """Store large weights as float16, in place. They become float32 when the model is loaded, so
    that it computes as before: no activation can overflow, and every runtime can do it."""
    from onnx import TensorProto, helper, numpy_helper

    casts = []
    for tensor in model.graph.initializer:
        values = numpy_helper.to_array(tensor)
        if values.dtype == np.float32 and values.size >= SMALL:
            name, half = tensor.name, f"{tensor.name}_fp16"
            tensor.CopyFrom(numpy_helper.from_array(values.astype(np.float16), half))
            casts.append(helper.make_node("Cast", [half], [name], to=TensorProto.FLOAT))
    nodes = [*casts, *model.graph.node]  # in the order in which they are computed
    del model.graph.node[:]
    model.graph.node.extend(nodes)


def to_int8(file: Path, run: Run, images: ImageDataset) -> None:
    """Quantise the body's convolutions in place: weights per channel to int8, activations to uint8
    with ranges measured on training photos (ONNX Runtime's static quantisation). Resizing, the head
    and the comparison stay float32."""
    import onnx
    from onnxruntime.quantization import CalibrationDataReader, QuantType, quantize_static

    class Photos(CalibrationDataReader):
        def __init__(self):
            self.photos = _resized(run, images)

        def get_next(self) -> dict[str, np.ndarray] | None:
            return next(self.photos, None)

    nodes = onnx.load(file, load_external_data=False).graph.node
    body = [node.name for node in nodes if node.op_type in ("Conv", "Relu", "MaxPool")]
    logging.getLogger().addFilter(_is_no_advice)  # it would have the model prepared first
    try:
        quantize_static(
            file,
            file,
            Photos(),
            nodes_to_quantize=body,
            per_channel=True,
            activation_type=QuantType.QUInt8,
            weight_type=QuantType.QInt8,
        )
    finally:
        logging.getLogger().removeFilter(_is_no_advice)


def _is_no_advice(record: logging.LogRecord) -> bool:
    return "pre-processing" not in record.getMessage()


def _resized(run: Run, images: ImageDataset) -> Iterator[dict[str, np.ndarray]]:
    for image, _ in some_images(run, images, "train", PHOTOS):
        pixels = run.transform.resized(image)  # (3, S, S), which the graph leaves as they are
        yield {"image": np.ascontiguousarray(pixels.transpose(1, 2, 0))[None]}
