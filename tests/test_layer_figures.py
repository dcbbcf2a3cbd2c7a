"""Figures of codes and weights, and the linear probe."""

import numpy as np
import pytest
import torch
from sklearn.datasets import load_digits

from pipelines.health import why_not_probed
from pretrain.layer_figures import code_figures, copied_share
from pretrain.linear_probe import probe, probe_gains
from pretrain.weight_change import weight_structure


def test_code_figures_by_type_of_unit():
    codes = torch.tensor([[0.001, 0.5, 0.999, 0.0, 0.0], [0.002, 0.9, 0.999, 0.0, 3.0]])
    figures = code_figures(codes, "sigmoid:3+relu:2")
    assert figures == pytest.approx({"dead_units": 2 / 5, "saturated_units": 1 / 5, "stiff_codes": 4 / 6})
    assert code_figures(codes, "identity")["stiff_codes"] is None


def test_copies_are_found_across_blocks_and_not_by_chance():
    generator = torch.Generator().manual_seed(0)
    codes = torch.rand(200, 1500, generator=generator)
    codes[:, 1400] = 0.5 * codes[:, 3] + 0.1
    codes[:, 1401:1403] = 0.3 + 1e-3 * codes[:, 4:5]  # two that hardly vary
    assert copied_share(codes) == pytest.approx(1 / 1500)
    assert copied_share(codes[:20]) is None


def test_noise_has_no_structure():
    generator = torch.Generator().manual_seed(0)
    noise = torch.randn(97, 61, generator=generator)
    assert weight_structure(noise) == pytest.approx(1.0, abs=0.05)
    assert weight_structure(noise + 1) > 2
    assert weight_structure(noise[:5]) is None
    assert weight_structure(torch.zeros(97, 61)) is None


def test_the_probe_compares_rows():
    X, y = load_digits(return_X_y=True)
    wrong = [probe(X[:400], y[:400]), probe(np.zeros((400, 3)), y[:400])]
    assert wrong[0].mean() < 0.15
    assert wrong[1].mean() > 0.8
    ((gain, error),) = probe_gains(wrong)
    assert gain == pytest.approx(100 * (wrong[0].mean() - wrong[1].mean()))
    assert 0 < error < 5


def test_labels_that_cannot_be_probed():
    assert why_not_probed(np.arange(200) % 2) is None
    assert "no labels" in why_not_probed(None)
    assert "regression" in why_not_probed(np.linspace(0, 1, 200))
    assert "two classes" in why_not_probed(np.zeros(200, dtype=int))
    assert "50 rows" in why_not_probed(np.arange(40) % 2)
