"""Unit types against sums and integrals over their states."""

import numpy as np
import pytest
import torch
from global_state import global_state
from oracles import N_WORDS, base_energy, groups_of, n_units, state_space
from scipy import stats
from scipy.special import expit, logsumexp

from pretrain.activations import activation_function
from pretrain.exceptions import SettingsError
from pretrain.gaussian_units import HIGHEST_VARIANCE, LOWEST_VARIANCE
from pretrain.random_streams import BernoulliSampler
from pretrain.unit_types import HIDDEN_UNIT_TYPES, UNIT_TYPES, MixedUnits, make_units, require_units, units_on_codes
from pretrain.units import NoisyReLUUnits

TOTAL_INPUT = torch.tensor([[-2.0, 0.3, 1.7], [0.0, 3.0, -0.4], [0.0, 0.0, 0.0]], dtype=torch.float64)
LOG_VARIANCE = np.array([-0.7, 0.2, 0.9])
LEARNED_MIXED = "bernoulli:1+gaussian_learned:1+softmax:1"
EVERY = (*UNIT_TYPES, LEARNED_MIXED, "softmax:2+spin:1", "gaussian:1+softmax:2", "noisy_relu:2+spin:1")
SOFTMAX_SHAPES = ("softmax", "softmax:2+softmax:1", "softmax:1+softmax:2")
COUNTED = ("bernoulli", "spin", "softmax", "replicated_softmax", "softmax:2+spin:1", "softmax:1+softmax:2")
every_type = pytest.mark.parametrize("name", EVERY)


def make(name, dtype=torch.float64):
    """A layer of as many units as TOTAL_INPUT has columns, with variances that are not 1."""
    units = make_units(name, 3).to(dtype)
    for columns, log_variance in units.log_variances():
        log_variance.data.copy_(torch.from_numpy(LOG_VARIANCE[columns]))
    return units


def log_variance_of(name):
    learned = [group == "gaussian_learned" for group, width in groups_of(name, 3) for _ in range(width)]
    return np.where(learned, LOG_VARIANCE, 0.0)


def totals_of(name, n_rows=3, dtype=torch.float64):
    return torch.full((n_rows, 1), float(N_WORDS), dtype=dtype) if name == "replicated_softmax" else None


def conditional(name, a):
    """States of the layer and a.t(x) - B(x), the log of p(x | a) up to its normaliser, a row for each input."""
    log_variance = log_variance_of(name)
    states, log_weight = state_space(name, 3, log_variance=log_variance)
    energy = base_energy(name, states, log_variance=log_variance)
    return states, a @ (states / np.exp(log_variance)).T - energy + log_weight


def draw(name, a, n, generator, dtype=torch.float32):
    """n states for one total input, and the mean that sampling leaves in the place of the input."""
    total_input = torch.as_tensor(a, dtype=dtype).expand(n, -1).clone()
    units, out = make(name, dtype), torch.empty_like(total_input)
    found = units.sample_(total_input, out, sampler=BernoulliSampler(generator), totals=totals_of(name, n, dtype))
    assert found is out
    return out, total_input


@every_type
class TestUnits:
    def test_log_partition(self, name):
        expected = logsumexp(conditional(name, TOTAL_INPUT.numpy())[1], axis=1)
        found = make(name).log_partition(TOTAL_INPUT, totals_of(name)).detach()
        np.testing.assert_allclose(found, expected, atol=5e-7)

    def test_mean(self, name):
        states, log_p = conditional(name, TOTAL_INPUT.numpy())
        expected = np.exp(log_p - logsumexp(log_p, axis=1, keepdims=True)) @ states
        total_input = TOTAL_INPUT.clone()
        found = make(name).mean_(total_input, totals_of(name))
        np.testing.assert_allclose(found, expected, atol=5e-7)
        assert found.data_ptr() == total_input.data_ptr()  # in place: a step of training allocates nothing

    def test_mean_of_the_statistic_is_the_slope_of_the_log_partition(self, name):
        a, units = TOTAL_INPUT.clone().requires_grad_(), make(name)
        (slope,) = torch.autograd.grad(units.log_partition(a, totals_of(name)).sum(), a)
        mean = units.mean_(TOTAL_INPUT.clone(), totals_of(name))
        torch.testing.assert_close(slope, mean / torch.exp(torch.from_numpy(log_variance_of(name))))

    def test_mean_is_the_activation_of_the_unrolled_net(self, name):
        units = make(name)
        if "noisy_relu" in name:  # whose activation is relu, not the mean
            return
        found = activation_function(units.activation)(TOTAL_INPUT)
        torch.testing.assert_close(found, units.mean_(TOTAL_INPUT.clone()), rtol=1e-14, atol=1e-14)

    def test_base_energy(self, name):
        log_variance = log_variance_of(name)
        states = state_space(name, 3, log_variance=log_variance)[0][::7]
        found = make(name).base_energy(torch.from_numpy(states)).detach()
        np.testing.assert_allclose(found, base_energy(name, states, log_variance=log_variance), atol=1e-12)

    def test_sampling_leaves_the_mean_and_draws_from_the_generator_alone(self, name):
        before = global_state()
        a = TOTAL_INPUT[0]
        runs = [draw(name, a, 64, torch.Generator().manual_seed(k)) for k in (5, 5, 6)]
        assert torch.equal(runs[0][0], runs[1][0])
        assert not torch.equal(runs[0][0], runs[2][0])
        expected = make(name, torch.float32).mean_(a.float()[None], totals_of(name, 1, torch.float32))
        torch.testing.assert_close(runs[0][1], expected.expand(64, -1))
        assert global_state() == before

    def test_bfloat16_states_are_states(self, name, generator):
        states, mean = draw(name, TOTAL_INPUT[0], 4000, generator, torch.bfloat16)
        assert states.dtype == mean.dtype == torch.bfloat16
        assert make(name).row_problem(states.double()) is None
        close = (states.double().mean(dim=0) - mean[0].double()).abs() < 0.1 * (1 + mean[0].double().abs())
        assert close.all()

    def test_biases_give_the_mean_that_they_are_of(self, name):
        mean = torch.tensor([[0.2, 0.5, 0.3]], dtype=torch.float64)
        if name == "softmax:2+spin:1":
            mean = torch.tensor([[0.2, 0.8, -0.3]], dtype=torch.float64)
        if name in (LEARNED_MIXED, "gaussian:1+softmax:2"):
            mean = torch.tensor([[0.2, 0.0, 1.0]], dtype=torch.float64)
        units = make(name)
        # Counts: the biases are of shares, which are what the mean is without a number of words.
        given = 7 * mean[0] if name == "replicated_softmax" else mean[0]
        bias = units.bias_of_mean(given)
        assert bias.shape == (3,)
        tolerance = 0.011 if "noisy_relu" in name else 1.1e-3  # softplus inverted; shares kept away from 0
        torch.testing.assert_close(units.mean_(bias[None].clone()), mean, rtol=0, atol=tolerance)

    def test_biases_of_extreme_means_are_finite(self, name):
        units = make(name, torch.float32)
        for extreme in (0.0, 1.0, 1e4):
            mean = torch.full((3,), extreme)
            if name == "replicated_softmax":
                mean[0] = 1.0
            assert torch.isfinite(units.bias_of_mean(mean)).all()


@pytest.mark.parametrize("name", COUNTED)
def test_samples_have_the_frequencies_of_the_conditional(name, generator, seed):
    n, a = 20_000, TOTAL_INPUT[seed].numpy()
    states, log_p = conditional(name, a[None])
    p = np.exp(log_p[0] - logsumexp(log_p))
    drawn = draw(name, a, n, generator)[0].numpy()
    found, inverse = np.unique(np.concatenate([states, drawn]), axis=0, return_inverse=True)
    assert len(found) == len(states)  # nothing but legal states
    inverse = inverse.ravel()
    counts = np.bincount(inverse[len(states) :], minlength=len(states))[inverse[: len(states)]]
    rare = n * p < 5
    counts, expected = [np.append(x[~rare], x[rare].sum()) if rare.any() else x for x in (counts, n * p)]
    if len(counts) > 1:
        assert stats.chisquare(counts, expected).pvalue > 1e-4


@pytest.mark.parametrize(
    ("name", "deviation"), [("gaussian", np.ones(3)), ("gaussian_learned", np.exp(LOG_VARIANCE / 2))]
)
def test_real_states_are_normal(name, deviation, generator):
    states, mean = draw(name, TOTAL_INPUT[0], 20_000, generator)
    for k, scale in enumerate(deviation):
        assert stats.kstest(states[:, k].numpy(), "norm", args=(float(mean[0, k]), scale)).pvalue > 1e-4
    assert np.abs(np.corrcoef(states.T.numpy()) - np.eye(3)).max() < 5 / np.sqrt(20_000)


@pytest.mark.parametrize("a", [-3.0, 0.0, 0.6, 4.0, 300.0])
def test_noisy_units_draw_the_number_of_copies_that_are_on(a, generator):
    n = 20_000
    x = draw("noisy_relu", [a, a, a], n, generator)[0][:, 1].double().numpy()
    # One by one: copies with the inputs a - 1/2, a - 3/2, ..., their sum by convolution.
    first = max(int(a) - 40, 0)  # as many are on for sure
    p = np.ones(1)
    for copy in range(first, first + 80):
        on = expit(a - copy - 0.5)
        p = np.convolve(p, [1 - on, on])
    expected = n * p / p.sum()
    counts = np.bincount((x - first).astype(int), minlength=len(p))
    common = expected > 5
    observed = [*counts[common], counts[~common].sum()]
    assert stats.chisquare(observed, [*expected[common], expected[~common].sum()]).pvalue > 1e-4
    assert (x == x.round()).all()


def test_noisy_units_are_sums_of_binary_copies():
    """One by one: two hundred binary units with the inputs a - 1/2, a - 3/2, ... that share their weights."""
    a = np.linspace(-9, 30, 118)
    inputs = a[:, None] - np.arange(1, 201) + 0.5
    units, tensor = make_units("noisy_relu", 1), torch.from_numpy(a)[:, None]
    np.testing.assert_allclose(units.mean_(tensor.clone())[:, 0], expit(inputs).sum(axis=1), atol=3e-7)
    np.testing.assert_allclose(units.log_partition(tensor), np.logaddexp(0, inputs).sum(axis=1), atol=3e-7)
    # Chances that n copies are on, added copy by copy, against exp(a n - B(n)).
    n = np.arange(12)
    for k in (10, 40):  # inputs -5.7 and 4.3
        chance = np.zeros(201)
        chance[0] = 1
        for p in expit(inputs[k]):
            chance[1:] = chance[1:] * (1 - p) + chance[:-1] * p
            chance[0] *= 1 - p
        energy = units.base_energy(torch.from_numpy(n[:, None]).double()).numpy()
        log_p = a[k] * n - energy - np.logaddexp(0, inputs[k]).sum()
        np.testing.assert_allclose(np.exp(log_p), chance[:12], rtol=1e-9)


def test_noisy_units_with_thousands_of_copies_stay_finite():
    units, a = make_units("noisy_relu", 1), torch.tensor([[-1e4], [1e4]])
    assert units.mean_(a.clone()).tolist() == [[0.0], [1e4]]
    torch.testing.assert_close(units.log_partition(a), torch.tensor([0.0, 0.5e8]))
    assert torch.isfinite(units.base_energy(a.clamp(min=0))).all()
    np.testing.assert_allclose(units.bias_of_mean(torch.tensor([500.0])), [500.0])
    assert isinstance(units, NoisyReLUUnits)


@pytest.mark.parametrize("name", SOFTMAX_SHAPES)
def test_softmax_groups_of_any_width(name, generator):
    units, a = make_units(name, 3).double(), TOTAL_INPUT.clone()
    mean, start = units.mean_(a.clone()), 0
    for _, width in groups_of(name, 3):
        part = TOTAL_INPUT[:, start : start + width]
        expected = part.exp() / part.exp().sum(dim=1, keepdim=True)
        torch.testing.assert_close(mean[:, start : start + width], expected)
        start += width


def test_neighbouring_softmax_groups_are_one_module():
    units = make_units("softmax:2+softmax:3+bernoulli:1+softmax:2", 8)
    assert isinstance(units, MixedUnits)
    assert [(part.name, columns) for part, columns in units.pairs()] == [
        ("softmax", slice(0, 5)),
        ("bernoulli", slice(5, 6)),
        ("softmax", slice(6, 8)),
    ]
    assert units.parts[0].widths == (2, 3)
    assert units.activation == "softmax:2+softmax:3+sigmoid:1+softmax:2"
    assert units.name == "softmax:2+softmax:3+bernoulli:1+softmax:2"


def test_certain_categories_are_always_drawn(generator):
    a = torch.tensor([[-200.0, 200, -200]])
    for name in ("softmax", "replicated_softmax"):
        states, _ = draw(name, a[0], 1000, generator)
        assert torch.equal(states, torch.tensor([0.0, N_WORDS if "replicated" in name else 1.0, 0]).expand(1000, -1))


def test_documents_keep_their_number_of_words(generator):
    units, words = make_units("replicated_softmax", 3), torch.tensor([[0.0], [1.0], [7.0], [1000.0]])
    out = torch.empty(4, 3)
    a = TOTAL_INPUT[:1].float().repeat(4, 1)
    units.sample_(a, out, sampler=BernoulliSampler(generator), totals=words)
    assert torch.equal(out.sum(dim=1, keepdim=True), words)
    torch.testing.assert_close(a.sum(dim=1, keepdim=True), words)
    assert torch.equal(units.row_totals(out), words)
    assert units.mean_(TOTAL_INPUT.clone()).sum(dim=1).tolist() == pytest.approx([1, 1, 1])


@pytest.mark.parametrize("name", [n for n in EVERY if n != "replicated_softmax"])
def test_only_documents_have_totals(name):
    assert make(name).row_totals(torch.ones(5, 3)) is None


def test_variances():
    units = make("gaussian_learned")
    np.testing.assert_allclose(units.variance(), np.exp(LOG_VARIANCE))
    assert not units.variance().requires_grad
    mixed = make(LEARNED_MIXED)
    np.testing.assert_allclose(mixed.variance(), [1.0, np.exp(LOG_VARIANCE[1]), 1.0])
    assert [columns for columns, _ in mixed.log_variances()] == [slice(1, 2)]
    for name in ("bernoulli", "gaussian", "softmax:2+spin:1"):
        assert make(name).variance() is None
        assert make(name).log_variances() == []
    units.log_variance.data = torch.tensor([-99.0, 0.0, 99.0], dtype=torch.float64)
    np.testing.assert_allclose(
        units.variance(), [LOWEST_VARIANCE, 1.0, HIGHEST_VARIANCE]
    )  # kept where single precision bears it


# What data are for which units ---


@pytest.mark.parametrize(
    ("name", "low", "high", "problem"),
    [
        ("bernoulli", 0, 1, None),
        ("bernoulli", -1e-7, 1 + 1e-7, None),
        ("bernoulli", -0.1, 1, "bernoulli units model values from 0 to 1, the data go from -0.1 to 1"),
        ("spin", -1, 1, None),
        ("spin", -1, 2, "spin units model values from -1 to 1, the data go from -1 to 2"),
        ("softmax", 0, 1.5, "softmax units model values from 0 to 1, the data go from 0 to 1.5"),
        ("replicated_softmax", 0, 1e6, None),
        (
            "replicated_softmax",
            -1,
            3,
            "replicated_softmax units model values from 0 to inf, the data go from -1 to 3",
        ),
        ("noisy_relu", -0.5, 1, "noisy_relu units model values from 0 to inf, the data go from -0.5 to 1"),
        ("gaussian", -1e9, 1e9, None),
        ("gaussian_learned", -1e9, 1e9, None),
        ("gaussian:1+softmax:2", [-9, 0, 0], [9, 1, 1], None),
        (
            "gaussian:1+softmax:2",
            [-9, 0, 0],
            [9, 1, 3],
            "softmax units model values from 0 to 1, the data go from 0 to 3",
        ),
        ("gaussian:1+softmax:2", 0, 1, None),
        (
            "noisy_relu:2+spin:1",
            [-1, 0, -2],
            [1, 1, 1],
            "noisy_relu units model values from 0 to inf, the data go from -1 to 1",
        ),
    ],
)
def test_range_problem(name, low, high, problem):
    assert make_units(name, 3).range_problem(np.atleast_1d(low), np.atleast_1d(high)) == problem


@pytest.mark.parametrize(
    ("name", "row", "problem"),
    [
        ("bernoulli", [0.3, 1, 0], None),
        ("gaussian", [-3, 1, 0], None),
        ("softmax", [0, 1, 0], None),
        ("softmax", [0.2, 0.5, 0.3], None),  # shares, as a layer below gives them
        ("softmax", [1, 1, 0], "a row of a softmax group must sum to 1 (one-hot columns); one sums to 2"),
        ("softmax", [0, 0, 0], "a row of a softmax group must sum to 1 (one-hot columns); one sums to 0"),
        ("softmax:1+softmax:2", [1, 1, 0], None),
        ("softmax:1+softmax:2", [0, 1, 0], "a row of a softmax group must sum to 1 (one-hot columns); one sums to 0"),
        ("spin:1+softmax:2", [-1, 0.5, 0.5], None),
        ("spin:1+softmax:2", [1, 1, 1], "a row of a softmax group must sum to 1 (one-hot columns); one sums to 2"),
        ("replicated_softmax", [5, 0, 2], None),
        ("replicated_softmax", [0, 0, 0], None),
        ("replicated_softmax", [5, 0.5, 2], "replicated_softmax units count words: whole numbers, 0 or more"),
        ("replicated_softmax", [5, -1, 2], "replicated_softmax units count words: whole numbers, 0 or more"),
    ],
)
def test_row_problem(name, row, problem):
    legal = {"softmax": [1, 0, 0], "replicated_softmax": [1, 0, 0], "spin:1+softmax:2": [1, 1, 0]}.get(
        name, [1, 1, 0]
    )
    rows = torch.tensor([legal, row, legal], dtype=torch.float32)
    assert make_units(name, 3).row_problem(rows) == problem


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("binary", "units must be one of bernoulli, gaussian, gaussian_learned, softmax, .*; got 'binary'"),
        ("bernoulli+gaussian", r"or name:width\+name:width of them; got 'bernoulli\+gaussian'"),
        ("bernoulli:2", "units 'bernoulli:2' describe 2 columns, but there are 3"),
        ("bernoulli:2+softmax:2", r"units 'bernoulli:2\+softmax:2' describe 4 columns, but there are 3"),
        ("bernoulli:0+softmax:3", "units must have a width of 1 or more after each colon"),
        (
            "bernoulli:1+replicated_softmax:2",
            "units cannot mix replicated_softmax with other types: its hidden biases count by the words of a row",
        ),
        ("replicated_softmax:1+replicated_softmax:2", "units cannot mix replicated_softmax with other types"),
        (None, "units must be one of bernoulli, .*; got None"),
    ],
)
def test_illegal_units(name, message):
    with pytest.raises(SettingsError, match=message):
        make_units(name, 3)


def test_hidden_units_are_no_words_and_have_no_variance_of_their_own():
    assert set(UNIT_TYPES) - set(HIDDEN_UNIT_TYPES) == {"gaussian_learned", "replicated_softmax"}
    for name in HIDDEN_UNIT_TYPES:
        require_units("hidden_units", name, hidden=True)
        require_units("hidden_units", f"{name}:2+softmax:3", hidden=True)
    for name in ("gaussian_learned", "replicated_softmax", "bernoulli:1+gaussian_learned:2"):
        require_units("visible_units", name)
        with pytest.raises(
            SettingsError, match="hidden_units must be one of bernoulli, gaussian, softmax, noisy_relu"
        ):
            require_units("hidden_units", name, hidden=True)


@pytest.mark.parametrize(
    ("activation", "units"),
    [
        ("sigmoid", "bernoulli"),
        ("tanh", "spin"),
        ("softmax", "softmax"),
        ("identity", "gaussian"),
        ("relu", "gaussian"),
        ("softplus", "gaussian"),
        ("leaky_relu", "gaussian"),
        ("sigmoid:3+relu:2+softmax:4+tanh:1", "bernoulli:3+gaussian:2+softmax:4+spin:1"),
    ],
)
def test_units_on_codes(activation, units):
    assert units_on_codes(activation) == units


@every_type
def test_every_layer_can_be_asked_for_by_its_own_name(name):
    units = make(name)
    assert units.name == name
    assert make_units(units.name, 3).activation == units.activation
    assert units.n_units == n_units(name, 3) == 3
    assert units.discrete == ("gaussian" not in name)
