"""Reconstructions and their errors against formulas by hand."""

import re

import numpy as np
import pytest
import torch
from deep_oracles import CLASSES, small_dbn
from oracles import arrays_of, small_rbm
from scipy.special import expit, softmax
from stacks import make_stack, rows

from pipelines.evaluation import evaluate
from pretrain.exceptions import DataError, SettingsError
from pretrain.rbm import RBM
from pretrain.reconstruction import reconstruct, reconstruction_errors
from pretrain.scaling import Scaling
from pretrain.stack import Stack
from pretrain.unrolling import unroll

EYE = torch.eye(len(CLASSES), dtype=torch.float64)
DOCUMENTS = np.array([[4.0, 1, 0], [0, 0, 1]])


@pytest.mark.parametrize("n_layers", [0, 1, 2])
def test_documents_are_reconstructed_in_their_own_length(n_layers):
    rbm = small_rbm(0, "replicated_softmax")
    weight, b, c = arrays_of(rbm)
    words = DOCUMENTS.sum(axis=1, keepdims=True)
    code = expit(DOCUMENTS @ weight.T + words * c)
    module = rbm if n_layers == 0 else Stack([rbm])
    if n_layers == 2:
        top = RBM(rbm.n_hidden, 3, generator=torch.Generator().manual_seed(0)).double()
        above = top.weight.numpy(force=True)
        module, code = Stack([rbm, top]), expit(expit(code @ above.T) @ above)
    expected = words * softmax(code @ weight + b, axis=1)
    rebuilt = reconstruct(module, torch.from_numpy(DOCUMENTS)).numpy(force=True)
    np.testing.assert_allclose(rebuilt, expected, rtol=1e-6)
    errors = ((expected - DOCUMENTS) ** 2).sum(axis=1)
    np.testing.assert_allclose(reconstruction_errors(module, DOCUMENTS), errors, rtol=1e-6)
    if n_layers:
        assert evaluate(module, DOCUMENTS, None)["test_error"] == pytest.approx(errors.mean(), rel=1e-6)


@pytest.mark.parametrize("into", ["stack", "autoencoder"])
@pytest.mark.parametrize(("dtype", "rtol"), [(np.float32, 1e-5), (np.float64, 1e-9)])
def test_there_and_back_in_the_units_of_the_data(into, dtype, rtol):
    scaling = Scaling.fit("standard", 5 * rows(1) + 2)
    stack = make_stack("Gaussian data", scaling=scaling)
    module = stack if into == "stack" else unroll(stack, "autoencoder")
    raw = (5 * rows() + 2).astype(dtype)
    scaled = (raw.astype(float) - scaling.offset) / scaling.scale
    rebuilt = reconstruct(stack.double(), torch.from_numpy(scaled)).numpy(force=True)
    module.float()
    back = module.inverse_transform(module.transform(raw))
    assert back.dtype == dtype
    np.testing.assert_allclose(back, rebuilt * scaling.scale + scaling.offset, rtol=rtol)
    errors = ((rebuilt - scaled) ** 2).sum(axis=1)
    np.testing.assert_allclose(reconstruction_errors(module, module.scaled(raw)), errors, rtol=10 * rtol)
    assert evaluate(module, raw, None)["test_error"] == pytest.approx(errors.mean(), rel=10 * rtol)


@pytest.mark.parametrize("classes", [None, CLASSES])
def test_a_belief_net_goes_to_the_top_of_its_memory(classes):
    net = small_dbn(3, classes=classes)
    x = torch.from_numpy(rows(6)[:, : net.n_visible]).double()
    seen = net.encode(x)
    if classes is not None:
        scores = [-net.memory.free_energy(torch.cat([seen, one.expand(len(x), -1)], dim=1)) for one in EYE]
        seen = torch.cat([seen, torch.softmax(torch.stack(scores, dim=1), dim=1)], dim=1)
    top = torch.sigmoid(seen @ net.memory.weight.T + net.memory.hidden_bias)
    below = torch.sigmoid((top @ net.memory.weight + net.memory.visible_bias)[:, : net.n_codes])
    expected = net.decode(below)
    torch.testing.assert_close(reconstruct(net, x), expected)
    errors = (expected - x).square().sum(dim=1).numpy(force=True)
    np.testing.assert_allclose(reconstruction_errors(net, x), errors)
    if classes is None:
        assert evaluate(net, x.numpy(), None)["test_error"] == pytest.approx(errors.mean())


def test_what_cannot_be_decoded():
    stack = make_stack("binary RBMs")
    for module in (stack, unroll(stack, "autoencoder")):
        with pytest.raises(DataError, match=re.escape("inverse_transform takes codes of 3 units; got (11, 13).")):
            module.inverse_transform(rows())
    classifier = unroll(stack, n_outputs=2, generator=torch.Generator().manual_seed(0))
    with pytest.raises(SettingsError, match="inverse_transform needs a network for reconstruction; this one is for"):
        classifier.inverse_transform(rows())
