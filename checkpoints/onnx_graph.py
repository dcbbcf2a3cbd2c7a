"""A plain `nn.Sequential` as an ONNX graph. It needs the package onnx (the extra `pretrain[onnx]`)."""

import math
from typing import Any

import numpy as np
from torch import nn

from pretrain.exceptions import CheckpointError

try:
    import onnx
    from onnx import TensorProto, helper, numpy_helper
except ImportError:
    onnx = None

_OPSET, _IR_VERSION = 17, 8  # of 2022: what runtimes in use read
_GELU_CONSTANTS = (math.sqrt(0.5), 1.0, 0.5)
_OPERATORS: dict[type[nn.Module], tuple[str, dict[str, Any]]] = {
    nn.Sigmoid: ("Sigmoid", {}),
    nn.Tanh: ("Tanh", {}),
    nn.ReLU: ("Relu", {}),
    nn.LeakyReLU: ("LeakyRelu", {"alpha": 0.01}),
    nn.Softplus: ("Softplus", {}),
    nn.Softmax: ("Softmax", {"axis": 1}),
}


def to_onnx(module: nn.Sequential, n_features: int, n_outputs: int) -> bytes:
    """The bytes of an ONNX model: `X`, (batch, n_features) float32, to `Y`, (batch, n_outputs).

    Raises
    ------
    CheckpointError
        If the package onnx is not installed.
    """
    if onnx is None:
        raise CheckpointError("An export to ONNX needs the package onnx: pip install 'pretrain[onnx]'.")
    nodes: list[Any] = []
    weights: list[Any] = []
    value = "X"
    for k, layer in enumerate(module):
        result = "Y" if k == len(module) - 1 else f"value_{k}"
        tensors = _tensors(layer)
        names = [f"{k}.{name}" for name in tensors]
        weights += [
            numpy_helper.from_array(t.numpy(force=True), n) for n, t in zip(names, tensors.values(), strict=True)
        ]
        if isinstance(layer, nn.GELU):
            nodes += _gelu(value, result)
            weights += [numpy_helper.from_array(np.float32(c), f"{result}.{c:.6f}") for c in _GELU_CONSTANTS]
        else:
            operator, options = _operator(layer)
            nodes.append(helper.make_node(operator, [value, *names], [result], **options))
        value = result
    graph = helper.make_graph(
        nodes,
        "pretrain",
        [helper.make_tensor_value_info("X", TensorProto.FLOAT, ["batch", n_features])],
        [helper.make_tensor_value_info("Y", TensorProto.FLOAT, ["batch", n_outputs])],
        weights,
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", _OPSET)], ir_version=_IR_VERSION)
    onnx.checker.check_model(model)
    return model.SerializeToString()


def _gelu(value: str, result: str) -> list[Any]:
    """x (1 + erf(x / sqrt(2))) / 2, which the operators of that year do not have in one."""
    scale, one, half = (f"{result}.{constant:.6f}" for constant in _GELU_CONSTANTS)
    steps = [("Mul", value, scale), ("Erf",), ("Add", one), ("Mul", value), ("Mul", half)]
    names = [f"{result}.{k}" for k in range(len(steps) - 1)] + [result]
    inputs = [list(steps[0][1:])] + [[below, *step[1:]] for below, step in zip(names, steps[1:], strict=False)]
    return [helper.make_node(step[0], taken, [name]) for step, taken, name in zip(steps, inputs, names, strict=True)]


def _operator(layer: nn.Module) -> tuple[str, dict[str, Any]]:
    if isinstance(layer, nn.Linear):
        return "Gemm", {"transB": 1}
    if isinstance(layer, nn.BatchNorm1d):
        return "BatchNormalization", {"epsilon": layer.eps}
    if isinstance(layer, nn.LayerNorm):
        return "LayerNormalization", {"epsilon": layer.eps, "axis": -1}
    return _OPERATORS[type(layer)]


def _tensors(layer: nn.Module) -> dict[str, Any]:
    if isinstance(layer, nn.BatchNorm1d):
        return {"weight": layer.weight, "bias": layer.bias, "mean": layer.running_mean, "variance": layer.running_var}
    return dict(layer.named_parameters())
