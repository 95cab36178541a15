"""A model as ONNX in float32, float16 and int8."""

from pathlib import Path

import numpy as np
import onnx
import torch
from onnxruntime.quantization import (
    CalibrationDataReader,
    CalibrationMethod,
    QuantFormat,
    QuantType,
    quantize_static,
)
from onnxruntime.quantization.shape_inference import quant_pre_process
from onnxruntime.transformers.float16 import convert_float_to_float16
from transformers import PreTrainedModel

OPSET = 18


def export_fp32(model: PreTrainedModel, image_size: int, path: Path) -> None:
    """pixel_values (N, 3, S, S) float32 -> logits (N, C) float32, for any N."""

    class Logits(torch.nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.model = model

        def forward(self, pixel_values: torch.Tensor) -> torch.Tensor:
            return self.model(pixel_values=pixel_values).logits

    torch.onnx.export(
        Logits().eval(),
        (torch.zeros(2, 3, image_size, image_size),),
        str(path),
        input_names=["pixel_values"],
        output_names=["logits"],
        dynamic_shapes={"pixel_values": {0: torch.export.Dim("batch")}},
        opset_version=OPSET,
        dynamo=True,
        external_data=False,
        verbose=False,
    )


def convert_fp16(source: Path, target: Path) -> None:
    """Weights and arithmetic in float16; input and output stay float32."""
    onnx.save(convert_float_to_float16(onnx.load(source), keep_io_types=True), target)


def convert_int8(source: Path, target: Path, pixel_values: np.ndarray) -> None:
    """Static quantisation (QDQ): weights int8 per channel, activations uint8 with the ranges seen on pixel_values (N,
    3, S, S).

    Weights use 7 bits: processors without VNNI add products of 8 bits with saturation.
    """

    class Reader(CalibrationDataReader):
        def __init__(self) -> None:
            self.rows = iter(pixel_values)

        def get_next(self) -> dict[str, np.ndarray] | None:
            row = next(self.rows, None)
            return None if row is None else {"pixel_values": row[None]}

    prepared = target.with_suffix(".prepared.onnx")
    quant_pre_process(str(source), str(prepared))
    quantize_static(
        str(prepared),
        str(target),
        Reader(),
        quant_format=QuantFormat.QDQ,
        activation_type=QuantType.QUInt8,
        weight_type=QuantType.QInt8,
        per_channel=True,
        reduce_range=True,
        calibrate_method=CalibrationMethod.MinMax,
    )
