"""A plain `nn.Sequential` as an ONNX graph. It needs the package onnx (the extra `pretrain[onnx]`)."""

from typing import Any

from torch import nn

from pretrain.exceptions import CheckpointError

try:
    import onnx
    from onnx import TensorProto, helper, numpy_helper
except ImportError:
    onnx = None

_OPSET, _IR_VERSION = 17, 8  # of 2022: what runtimes in use read
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


def _operator(layer: nn.Module) -> tuple[str, dict[str, Any]]:
    if isinstance(layer, nn.Linear):
        return "Gemm", {"transB": 1}
    if isinstance(layer, nn.BatchNorm1d):
        return "BatchNormalization", {"epsilon": layer.eps}
    return _OPERATORS[type(layer)]


def _tensors(layer: nn.Module) -> dict[str, Any]:
    if isinstance(layer, nn.BatchNorm1d):
        return {"weight": layer.weight, "bias": layer.bias, "mean": layer.running_mean, "variance": layer.running_var}
    return dict(layer.named_parameters())
