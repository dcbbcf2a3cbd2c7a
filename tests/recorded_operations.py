"""What a CUDA graph does, on a CPU: the operations of a step are recorded and repeated, without its Python."""

import torch
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves


class OperationRecorder:
    """A recorder for `StepGraphs` that repeats every operation on the very tensors that it was recorded with.

    Python's part of the step (numbers, branches, attributes that are set) is left out of a replay, as on a GPU.
    """

    def __init__(self):
        self.replays = 0

    def warm_up(self, step):
        step()

    def record(self, step):
        with _Operations() as mode:
            step()

        def replay():
            self.replays += 1
            for function, args, kwargs, outputs in mode.operations:
                again = tree_leaves(function(*args, **kwargs))
                for old, new in zip(tree_leaves(outputs), again, strict=True):
                    if isinstance(old, torch.Tensor) and old.data_ptr() != new.data_ptr():
                        old.view(new.shape).copy_(new)  # some results are squeezed in place afterwards

        return torch.no_grad()(replay)


class Allocations(TorchDispatchMode):
    """Bytes of every tensor that comes into being, `sizes`."""

    def __init__(self):
        super().__init__()
        self.sizes = []

    def __torch_dispatch__(self, function, types, args=(), kwargs=None):
        result = function(*args, **(kwargs or {}))
        known = {storage_of(leaf) for leaf in tree_leaves((args, kwargs)) if isinstance(leaf, torch.Tensor)}
        new = [leaf for leaf in tree_leaves(result) if isinstance(leaf, torch.Tensor)]
        self.sizes += [leaf.untyped_storage().nbytes() for leaf in new if storage_of(leaf) not in known]
        return result


class _Operations(TorchDispatchMode):
    def __init__(self):
        super().__init__()
        self.operations = []

    def __torch_dispatch__(self, function, types, args=(), kwargs=None):
        outputs = function(*args, **(kwargs or {}))
        self.operations.append((function, args, kwargs or {}, outputs))
        return outputs


def storage_of(tensor):
    return tensor.untyped_storage().data_ptr()
