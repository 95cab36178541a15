"""Tiny ONNX models with the shapes of RTMPose, of heat maps and of BlazePose: point k is where channel k of the frame
(red, green, blue) is brightest; and frames of a person of three such points."""

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

MEAN = np.array([123.675, 116.28, 103.53], np.float32)
STD = np.array([58.395, 57.12, 57.375], np.float32)


def save(path, nodes, constants, inputs, outputs):
    """inputs, outputs: name -> shape."""
    infos = [
        [helper.make_tensor_value_info(name, TensorProto.FLOAT, shape) for name, shape in part.items()]
        for part in (inputs, outputs)
    ]
    tensors = [numpy_helper.from_array(np.asarray(value), name) for name, value in constants.items()]
    graph = helper.make_graph(nodes, "tiny", *infos, tensors)
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    onnx.checker.check_model(model)
    onnx.save(model, str(path))
    return path


def unit_nodes():
    """x as the mmpose models get it -> u between 0 and 1."""
    node = helper.make_node
    return [node("Mul", ["x", "scale"], ["scaled"]), node("Add", ["scaled", "shift"], ["u"])]


UNIT = {"scale": (STD / 255)[None, :, None, None], "shift": (MEAN / 255)[None, :, None, None]}


def write_simcc(path, width=48, height=64):
    nodes = unit_nodes()
    for name, axis in (("across", 2), ("down", 3)):
        nodes.append(helper.make_node("ReduceMax", ["u"], [f"max_{name}"], axes=[axis], keepdims=0))
        nodes.append(helper.make_node("Resize", [f"max_{name}", "", "twice"], [name], mode="linear"))
    constants = {**UNIT, "twice": np.array([1, 1, 2], np.float32)}
    shapes = {"across": [1, 3, 2 * width], "down": [1, 3, 2 * height]}
    return save(path, nodes, constants, {"x": ["N", 3, height, width]}, shapes)


def write_heatmaps(path, width=48, height=64):
    pool = helper.make_node("AveragePool", ["u"], ["maps"], kernel_shape=[4, 4], strides=[4, 4])
    shapes = {"maps": [1, 3, height // 4, width // 4]}
    return save(path, [*unit_nodes(), pool], UNIT, {"x": [1, 3, height, width]}, shapes)


def write_landmarks(path, size=64):
    """(1, 195): of each channel the centre of what is bright, 13 times; (1, 1): whether anything is; and maps as
    BlazePose has them."""
    node = helper.make_node
    y, x = np.mgrid[:size, :size].reshape(2, -1).astype(np.float32)
    nodes = [
        node("Sub", ["x", "dark"], ["above"]),
        node("Relu", ["above"], ["bright"]),
        node("Reshape", ["bright", "flat"], ["pixels"]),  # (S * S, 3)
        node("Transpose", ["pixels"], ["channels"], perm=[1, 0]),
        node("MatMul", ["channels", "grid"], ["sums"]),  # (3, 2)
        node("ReduceSum", ["channels", "last"], ["weights"], keepdims=1),
        node("Add", ["weights", "small"], ["above_zero"]),
        node("Div", ["sums", "above_zero"], ["places"]),
        node("Concat", ["places", "rest"], ["table"], axis=1),  # (3, 5)
        node("Gather", ["table", "order"], ["landmarks"], axis=0),
        node("Reshape", ["landmarks", "row"], ["Identity"]),
        node("ReduceMax", ["bright"], ["brightest"], keepdims=0),
        node("Reshape", ["brightest", "one"], ["peak"]),
        node("Sign", ["peak"], ["Identity_1"]),
        node("Transpose", ["x"], ["Identity_2"], perm=[0, 1, 2, 3]),
    ]
    constants = {
        "dark": np.array(0.4, np.float32),
        "flat": np.array([size * size, 3]),
        "grid": np.stack([x, y], axis=1),
        "last": np.array([1]),
        "small": np.array(1e-6, np.float32),
        "rest": np.tile(np.array([0, 4, 4], np.float32), (3, 1)),
        "order": np.arange(39) % 3,
        "row": np.array([1, 195]),
        "one": np.array([1, 1]),
    }
    shapes = {"Identity": [1, 195], "Identity_1": [1, 1], "Identity_2": [1, size, size, 3]}
    return save(path, nodes, constants, {"x": [1, size, size, 3]}, shapes)


def write_other(path):
    """An image in, an image of another shape out."""
    node = helper.make_node("ReduceMean", ["x"], ["y"], axes=[1], keepdims=1)
    return save(path, [node], {}, {"x": [1, 3, 32, 32]}, {"y": [1, 1, 32, 32]})


def write_free(path):
    """Maps of any height and width."""
    shape = {"x": [1, 3, "H", "W"]}
    return save(path, [helper.make_node("Relu", ["x"], ["y"])], {}, shape, {"y": [1, 3, "H", "W"]})


def write_roots(path):
    """Heat maps that are NaN, as roots of values below 0 are."""
    shape = [1, 3, 32, 32]
    return save(path, [helper.make_node("Sqrt", ["x"], ["maps"])], {}, {"x": shape}, {"maps": shape})


def blob_frame(places, size=(160, 120), radius=6):
    """(H, W, 3) uint8: a soft spot of each channel at the three (x, y); none where places is None."""
    width, height = size
    y, x = np.mgrid[:height, :width]
    frame = np.zeros((height, width, 3))
    for channel, (px, py) in enumerate(() if places is None else places):
        frame[..., channel] = 255 * np.exp(-((x - px) ** 2 + (y - py) ** 2) / (2 * radius**2))
    return frame.astype(np.uint8)


def walk(frames=6, start=(30, 40), step=(4, 2)):
    """(F, 3, 2) places of three points that move together."""
    body = np.array([[0, 0], [26, 4], [10, 34]])
    return np.array(start) + body + np.arange(frames)[:, None, None] * np.array(step)
