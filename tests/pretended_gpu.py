"""A GPU that is not there: tensors that say they are on "cuda", with values on the CPU, that do not mix with others.

What the host would wait for is counted, with the line that asked for it. Of the rest of a GPU (its kernels, its
memory, its streams) nothing is here. Imports nothing of ours.
"""

import contextlib
import sys
from collections import Counter
from pathlib import Path

import torch
from torch.overrides import TorchFunctionMode
from torch.utils._mode_utils import no_dispatch
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves, tree_map

aten = torch.ops.aten
GPU = torch.device("cuda", 0)
PACKAGES = tuple(str(Path(__file__).parents[1] / name) for name in ("pretrain", "checkpoints", "pipelines"))
VALUES = {aten._local_scalar_dense, aten.equal, aten.is_nonzero, aten.item}
SIZES = {
    aten.nonzero,
    aten.masked_select,
    aten._unique2,
    aten.unique_dim,
    aten.unique_consecutive,
    aten.bincount,
    aten.histc,
    aten.multinomial,
    aten.repeat_interleave,
    aten._linalg_check_errors,
    aten.linalg_lstsq,
}
# Their indices may be on either side.
INDEXING = {aten.index, aten.index_put, aten.index_put_, aten._index_put_impl_, aten._unsafe_index}


class MixedDevicesError(AssertionError):
    """An operation with tensors or generators of two devices."""


class GPUTensor(torch.Tensor):
    """A tensor that says it is on a GPU; `values` is what it is in truth."""

    @staticmethod
    def __new__(cls, values):
        assert type(values) in (torch.Tensor, torch.nn.Parameter), type(values)
        return torch.Tensor._make_wrapper_subclass(
            cls,
            values.size(),
            strides=values.stride(),
            storage_offset=values.storage_offset(),
            dtype=values.dtype,
            layout=values.layout,
            device="cpu",  # what the engine of autograd sees
        )

    def __init__(self, values):
        self.values = values

    device = property(lambda self: GPU)
    is_cuda = property(lambda self: True)
    is_cpu = property(lambda self: False)
    __torch_function__ = torch._C._disabled_torch_function_impl

    @classmethod
    def __torch_dispatch__(cls, function, types, args=(), kwargs=None):
        return _run(function, args, kwargs or {})

    def __repr__(self):
        return f"GPUTensor({self.values})"

    def __deepcopy__(self, memo):
        if id(self) not in memo:
            copy = self.detach().clone().requires_grad_(self.requires_grad)
            copy.grad = None if self.grad is None else self.grad.detach().clone()
            if getattr(self, "_is_param", False):
                copy._is_param = True
            memo[id(self)] = copy
        return memo[id(self)]

    def to(self, *args, copy=False, **kwargs):
        device, dtype, _, layout = torch._C._nn._parse_to(*_like(args), **kwargs)
        options = {"dtype": dtype or self.dtype, "copy": copy, **({"memory_format": layout} if layout else {})}
        if device is None or device.type == "cuda":
            return super().to(**options)
        assert not (self.requires_grad and torch.is_grad_enabled()), "no gradient comes back to the GPU"
        PretendedGPU.current.wait("to the host")
        return self.values.detach().to(**{**options, "copy": True})

    def cpu(self):
        return self.to("cpu")

    def cuda(self, device=None):
        return self

    def numpy(self, *, force=False):
        if not force:
            raise TypeError(f"numpy() of a tensor on the GPU at {_line()}")
        return self.detach().to("cpu").numpy(force=True)

    def __array__(self, dtype=None):
        raise TypeError(f"an array of a tensor on the GPU at {_line()}")

    def tolist(self):
        PretendedGPU.current.wait("to the host")
        return self.values.tolist()

    def data_ptr(self):
        return self.values.data_ptr()


class GPUGenerator(torch.Generator):
    """A generator that may say that it is on a GPU; the states of the two kinds differ in size, as they do."""

    def __new__(cls, device="cpu"):
        generator = super().__new__(cls)
        generator.claimed = torch.device(device)
        if generator.claimed.type == "cuda":
            generator.claimed = GPU
        return generator

    def __init__(self, device="cpu"):
        pass

    @property
    def device(self):
        return self.claimed

    def get_state(self):
        state = super().get_state()
        return state if self.claimed.type == "cpu" else torch.cat([state, state[:1]])

    def set_state(self, state):
        if not (type(state) is torch.Tensor and state.dtype == torch.uint8):
            raise TypeError("the state of a generator is a tensor of bytes on the CPU")
        own = super().get_state()
        if len(state) != len(own) + (self.claimed.type != "cpu"):
            raise RuntimeError(f"the state of a generator on {self.claimed} has another size")
        return super().set_state(state[: len(own)])

    def __deepcopy__(self, memo):
        other = GPUGenerator(self.claimed)
        other.set_state(self.get_state())
        return other


class PretendedGPU(TorchDispatchMode):
    """Tensors that are made for "cuda" are `GPUTensor`; `waits` counts by line what the host would wait for."""

    current = None

    def __init__(self):
        super().__init__()
        self.waits = Counter()
        self.generators = set()

    def __torch_dispatch__(self, function, types, args=(), kwargs=None):
        return _run(function, args, kwargs or {})

    def wait(self, what):
        self.waits[f"{what} {_line()}"] += 1


class _Numbered(TorchFunctionMode):
    """Says "cuda:0" where the caller says "cuda": torch would ask a driver for the number."""

    def __torch_function__(self, function, types, args=(), kwargs=None):
        args, kwargs = tree_map(_numbered, (args, kwargs or {}))
        if function in (torch.tensor, torch.as_tensor) and kwargs.get("device") == GPU:
            del kwargs["device"]
            return function(*args, **kwargs).to(GPU)
        if function is torch.Tensor.to:
            args = (args[0], *_like(args[1:]))
        if function is torch.nn.functional.one_hot and isinstance(args[0], GPUTensor):
            return GPUTensor(function(args[0].values, *args[1:], **kwargs))  # torch would see the wrapper's device
        result = function(*args, **kwargs)
        for generator in (leaf for leaf in (*args, *kwargs.values()) if isinstance(leaf, GPUGenerator)):
            PretendedGPU.current.generators.add(generator)
            if isinstance(result, torch.Tensor) and result.device != generator.device:
                raise MixedDevicesError(f"a generator on {generator.device} for {result.device} at {_line()}")
        return result


def _numbered(leaf):
    return GPU if isinstance(leaf, str | torch.device) and str(leaf) == "cuda" else leaf


def _run(function, args, kwargs):
    mode = PretendedGPU.current
    on_gpu = [leaf for leaf in tree_leaves((args, kwargs)) if isinstance(leaf, GPUTensor)]
    device = kwargs.get("device")
    device = None if device is None or (on_gpu and device.type == "cpu") else device  # torch takes it from a tensor
    makes = device is not None and device.type == "cuda"
    if not on_gpu and not makes:
        return function(*args, **kwargs)
    to_gpu = makes or (device is None and bool(on_gpu))
    if mode is not None:
        _check(mode.wait, function, args, kwargs, device)
    if device is not None:
        kwargs = {**kwargs, "device": torch.device("cpu")}
    inner_args, inner_kwargs = tree_map(_values, (args, kwargs))
    result = function(*inner_args, **inner_kwargs)
    if torch.Tag.inplace_view in function.tags:  # squeeze_ and its like: what wraps the tensor changes its shape too
        with no_dispatch():
            function(*args, **kwargs)
    if not to_gpu:
        return result
    same = {id(_values(t)): t for t in on_gpu}
    return tree_map(lambda r: _as_gpu(r, same), result)


def _values(leaf):
    return leaf.values if isinstance(leaf, GPUTensor) else leaf


def _as_gpu(result, same):
    if not isinstance(result, torch.Tensor):
        return result
    return same[id(result)] if id(result) in same else GPUTensor(result)


def _check(wait, function, args, kwargs, device):
    packet = function.overloadpacket
    tensors = [leaf for leaf in tree_leaves((args, kwargs)) if isinstance(leaf, torch.Tensor)]
    host = [tensor for tensor in tensors if not isinstance(tensor, GPUTensor)]
    on_gpu = len(host) < len(tensors)
    if packet is aten._to_copy:
        pinned = kwargs.get("non_blocking") and getattr(args[0], "pinned", False)
        if host and device is not None and device.type == "cuda" and not pinned:
            wait("from the host")
        return
    if packet is aten.copy_:
        pinned = getattr(args[1], "pinned", False) and (kwargs.get("non_blocking") or any(args[2:]))
        if host and on_gpu and not pinned:
            wait("copy_ between host and device")
        return
    if packet in VALUES:
        wait("value")
        return
    if packet in SIZES:
        wait(str(packet))
    if packet in INDEXING:
        for index in tree_leaves(args[1]):
            if isinstance(index, torch.Tensor) and index.dtype in (torch.bool, torch.uint8):
                if packet in (aten.index, aten._unsafe_index) or args[2].numel() > 1 or args[2].is_cuda:
                    wait("boolean mask")  # but one number of the host is put in by masked_fill
            elif isinstance(index, torch.Tensor) and not isinstance(index, GPUTensor):
                wait("indices of the host")
        if not isinstance(args[0], GPUTensor):
            raise MixedDevicesError(f"{function} of a host tensor by indices of the GPU at {_line()}")
        host = [t for t in host if not any(t is i for i in tree_leaves(args[1]))]
    if packet is aten.normal and any(isinstance(a, torch.Tensor) for a in args[1:2]):
        wait("normal")
    # A number of the host may be read by an operation of the GPU, not written by one.
    written = function._schema.is_mutable and not isinstance(args[0], list | GPUTensor)
    if on_gpu and (written or any(tensor.ndim > 0 for tensor in host)):
        shapes = [(str(t.device), tuple(t.shape)) for t in tensors]
        raise MixedDevicesError(f"{function} of {shapes} at {_line()}")


def _line():
    frame = sys._getframe(1)
    while frame is not None:
        name = frame.f_code.co_filename
        if name.startswith(PACKAGES):
            return f"{Path(name).relative_to(Path(PACKAGES[0]).parent)}:{frame.f_lineno}"
        frame = frame.f_back
    return "elsewhere"


@contextlib.contextmanager
def pretended_gpu(monkeypatch):
    """A machine with a GPU, for as long as the context is open -> PretendedGPU."""
    mode = PretendedGPU()
    monkeypatch.setattr(torch, "Generator", GPUGenerator)
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 1)
    monkeypatch.setattr(torch.cuda, "_lazy_init", lambda: None)
    monkeypatch.setattr(torch.cuda, "current_device", lambda: 0)
    monkeypatch.setattr(torch.cuda, "get_device_name", lambda device=None: "pretended")
    monkeypatch.setattr(torch.cuda, "get_device_capability", lambda device=None: (8, 0))
    apply, module_to = torch.nn.Module._apply, torch.nn.Module.to
    monkeypatch.setattr(
        torch.nn.Module, "_apply", lambda self, *args, **kwargs: _swapping(apply, self, *args, **kwargs)
    )
    monkeypatch.setattr(torch.nn.Module, "to", lambda self, *args, **kwargs: module_to(self, *_like(args), **kwargs))
    autocast = torch.autocast
    monkeypatch.setattr(torch, "autocast", lambda device_type, **options: autocast("cpu", **options))
    monkeypatch.setattr(torch.Tensor, "pin_memory", _pinned)
    PretendedGPU.current = mode
    try:
        with torch.autograd.set_multithreading_enabled(False), _Numbered(), mode:
            yield mode
    finally:
        PretendedGPU.current = None


def _swapping(apply, *args, **kwargs):
    # Parameters stay the objects that they are, as on a GPU.
    before = torch.__future__.get_swap_module_params_on_conversion()
    torch.__future__.set_swap_module_params_on_conversion(True)
    try:
        return apply(*args, **kwargs)
    finally:
        torch.__future__.set_swap_module_params_on_conversion(before)


def _like(args):
    # `to(other)` is to its device and its dtype.
    return (args[0].device, args[0].dtype, *args[1:]) if args and isinstance(args[0], torch.Tensor) else args


def _pinned(tensor, device=None):
    other = tensor.clone()
    other.pinned = True
    return other
