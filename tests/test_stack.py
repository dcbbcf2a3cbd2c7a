"""Stacks: encoding, decoding and inference."""

import copy

import numpy as np
import pytest
import torch
from scipy import sparse
from stacks import KINDS, SIZES, make_stack, rows

from pretrain.exceptions import SettingsError
from pretrain.rbm import RBM
from pretrain.scaling import Scaling
from pretrain.stack import LAYER_KINDS, MOST_ENCODE_ROWS, Layer, Stack, encode_rows

kinds = pytest.mark.parametrize("kind", KINDS)
layer_kinds = pytest.mark.parametrize("kind", LAYER_KINDS)


@kinds
def test_shapes(kind, seed):
    stack = make_stack(kind, seed)
    sizes = stack.hidden_layer_sizes
    assert sizes == SIZES[1 : len(sizes) + 1]
    assert (stack.n_visible, stack.n_hidden) == (SIZES[0], sizes[-1])
    code = stack.encode(torch.from_numpy(rows(seed)))
    assert code.shape == (11, sizes[-1])
    assert stack.decode(code).shape == (11, SIZES[0])
    assert stack.inverse_transform(stack.transform(rows(seed))).shape == (11, SIZES[0])
    for layer in stack.layers:
        assert isinstance(layer, Layer)
        assert layer.weight.shape == (layer.n_hidden, layer.n_visible)
        assert layer.decoder_weight.shape == (layer.n_visible, layer.n_hidden)


@kinds
def test_encoding_and_decoding_go_through_the_layers_in_order(kind, seed):
    stack = make_stack(kind, seed)
    code = torch.from_numpy(rows(seed))
    for layer in stack.layers:
        code = layer.encode(code)
    assert torch.equal(stack.encode(torch.from_numpy(rows(seed))), code)
    x = code
    for layer in list(stack.layers)[::-1]:
        x = layer.decode(x)
    assert torch.equal(stack.decode(code), x)


@kinds
def test_transform_is_the_same_twice_and_in_parts(kind, seed):
    stack, X = make_stack(kind, seed), rows(seed)
    whole = stack.transform(X)
    np.testing.assert_array_equal(stack.transform(X), whole)
    for dtype, tol in ((np.float32, 1e-5), (np.float64, 1e-13)):
        whole = stack.transform(X.astype(dtype))
        parts = np.concatenate([stack.transform(X[i : i + 1].astype(dtype)) for i in range(len(X))])
        np.testing.assert_allclose(parts, whole, rtol=tol, atol=tol)


@kinds
def test_float64_rows_are_answered_in_float64(kind, seed):
    stack, X = make_stack(kind, seed), rows(seed).astype(np.float64)
    exact = copy.deepcopy(stack).double()
    expected = exact.encode(torch.from_numpy(X)).detach()
    assert stack.transform(X).dtype == np.float64
    np.testing.assert_array_equal(stack.transform(X), expected)
    back = stack.inverse_transform(expected.numpy())
    assert back.dtype == np.float64
    np.testing.assert_array_equal(back, exact.decode(expected).detach())
    assert stack.layers[0].weight.dtype == torch.float32  # the stack itself stays as it is
    for narrow in (np.float32, np.uint8):
        assert stack.transform(X.astype(narrow)).dtype == np.float32


@pytest.mark.parametrize("scaling", [None, "minmax"])
@pytest.mark.parametrize(
    "convert",
    [
        torch.from_numpy,
        sparse.csr_matrix,
        sparse.csr_array,
        sparse.csc_matrix,
        sparse.coo_matrix,
        np.asfortranarray,
        lambda X: X[::-1].copy()[::-1],
        lambda X: X.astype(np.float64),
    ],
    ids=["tensor", "csr", "csr array", "csc", "coo", "Fortran", "reversed", "float64"],
)
def test_transform_takes_every_kind_of_rows(scaling, convert):
    X = rows()
    stack = make_stack("binary RBMs", scaling=None if scaling is None else Scaling.fit(scaling, 3 * X))
    np.testing.assert_allclose(stack.transform(convert(X)), stack.transform(X), rtol=1e-5)


def test_transform_scales_raw_rows_and_back():
    raw = 255 * rows()
    scaling = Scaling.fit("minmax", raw)
    stack, plain = make_stack("linear code", scaling=scaling), make_stack("linear code")
    np.testing.assert_array_equal(stack.transform(raw), plain.transform(scaling.apply(raw)))
    code = plain.transform(scaling.apply(raw))
    np.testing.assert_allclose(stack.inverse_transform(code), scaling.undo(plain.inverse_transform(code)))


def test_many_rows_are_encoded_in_parts():
    stack, X = make_stack("binary RBMs"), rows(n=MOST_ENCODE_ROWS + 3)
    codes = encode_rows(stack, X)
    assert codes.shape == (MOST_ENCODE_ROWS + 3, SIZES[-1])
    torch.testing.assert_close(codes, stack.encode(torch.from_numpy(X)).detach())
    assert not codes.requires_grad


def test_layers_that_do_not_fit():
    with pytest.raises(SettingsError, match="A Stack needs at least one layer"):
        Stack([])
    with pytest.raises(SettingsError, match=r"Layer 3 of a Stack must have as many visible units .* \(3\); got 2"):
        Stack([RBM(7, 5), RBM(5, 3), RBM(2, 11)])
