"""The source of batches: every kind of rows gives the same batches."""

import numpy as np
import pytest
import torch
from scipy import sparse
from stacks import pretrained, same

from pretrain.batches import BatchSource, as_dense_tensor
from pretrain.exceptions import DataError
from pretrain.settings import AutoencoderSettings, RBMSettings, TrainingSettings

N_ROWS, N_FEATURES, BATCH = 23, 5, 7
CPU = torch.device("cpu")


def integers(dtype=np.float32):
    return np.random.default_rng(0).integers(0, 9, size=(N_ROWS, N_FEATURES)).astype(dtype)


def read_only(array):
    array.flags.writeable = False
    return array


def memory_map(tmp_path, mode):
    np.save(tmp_path / "rows.npy", integers())
    return np.load(tmp_path / "rows.npy", mmap_mode=mode)


def wide(dtype=np.float32):
    padded = np.zeros((N_ROWS, 2 * N_FEATURES), dtype=dtype)
    padded[:, ::2] = integers()
    return padded[:, ::2]


DTYPES = (
    "float16",
    "float32",
    "float64",
    "longdouble",
    ">f4",
    ">f8",
    "int8",
    "uint8",
    "int16",
    "uint16",
    "int64",
    "uint64",
    "bool",
)
SOURCES = {
    **{dtype: lambda tmp, dtype=dtype: integers(dtype) for dtype in DTYPES if dtype != "bool"},
    "read-only": lambda tmp: read_only(integers()),
    "read-only memory map": lambda tmp: memory_map(tmp, "r"),
    "copy-on-write memory map": lambda tmp: memory_map(tmp, "c"),
    "Fortran order": lambda tmp: np.asfortranarray(integers()),
    "negative strides": lambda tmp: integers()[::-1].copy()[::-1],
    "reversed columns": lambda tmp: integers(np.float64)[:, ::-1].copy()[:, ::-1],
    "every other column": lambda tmp: wide(),
    "tensor": lambda tmp: torch.from_numpy(integers()),
    "double tensor": lambda tmp: torch.from_numpy(integers(np.float64)),
    "byte tensor": lambda tmp: torch.from_numpy(integers(np.uint8)),
    "tensor with a gradient": lambda tmp: torch.from_numpy(integers()).requires_grad_(),
    "csr": lambda tmp: sparse.csr_matrix(integers()),
    "csr array of integers": lambda tmp: sparse.csr_array(integers(np.int32)),
    "csc": lambda tmp: sparse.csc_matrix(integers(np.float64)),
    "coo": lambda tmp: sparse.coo_matrix(integers()),
    "lil": lambda tmp: sparse.lil_matrix(integers()),
}


def source_of(X, y=None, *, seed=3, batch_size=BATCH, **options):
    generator = torch.Generator().manual_seed(seed)
    return BatchSource(X, y, batch_size=batch_size, generator=generator, device=CPU, **options)


def epoch(source):
    source.shuffle()
    return [(b.X.clone(), None if b.y is None else b.y.clone()) for b in map(source.batch, range(source.n_batches))]


def as_bytes(X):
    if sparse.issparse(X):
        return X.toarray().tobytes()
    return np.asarray(X.detach() if isinstance(X, torch.Tensor) else X).tobytes()


@pytest.mark.parametrize("name", SOURCES)
def test_every_source_gives_the_same_batches(name, tmp_path):
    X = SOURCES[name](tmp_path)
    before = as_bytes(X)
    expected, source = source_of(integers()), source_of(X)
    for _ in range(2):
        for (ours, _), (reference, _) in zip(epoch(source), epoch(expected), strict=True):
            assert ours.dtype == torch.float32
            assert not ours.requires_grad
            assert torch.equal(ours, reference)
    assert as_bytes(X) == before


@pytest.mark.parametrize("name", SOURCES)
def test_dense_tensor_of_rows(name, tmp_path):
    X = SOURCES[name](tmp_path)
    X = X.tocsr() if sparse.issparse(X) else X
    for dtype in (torch.float32, torch.float64):
        rows = as_dense_tensor(X[2:7], dtype)
        assert rows.dtype == dtype
        assert torch.equal(rows.detach(), torch.from_numpy(integers()[2:7]).to(dtype))


def test_boolean_rows():
    X = integers() > 4
    (first, _) = epoch(source_of(X))[0]
    assert torch.equal(first, epoch(source_of(X.astype(np.float32)))[0][0])


@pytest.mark.parametrize("batch_size", [1, 7, 23, 100])
def test_each_row_once_an_epoch_and_a_short_last_batch(batch_size, seed):
    X = np.arange(N_ROWS, dtype=np.float64)[:, None]
    y = torch.arange(N_ROWS)
    source = source_of(X, y, seed=seed, batch_size=batch_size)
    orders = []
    for _ in range(2):
        batches = epoch(source)
        lengths = [len(rows) for rows, _ in batches]
        assert sum(lengths) == N_ROWS
        assert set(lengths[:-1]) <= {min(batch_size, N_ROWS)}
        orders.append(torch.cat([rows[:, 0] for rows, _ in batches]).tolist())
        assert sorted(orders[-1]) == list(range(N_ROWS))
        assert torch.cat([labels for _, labels in batches]).tolist() == orders[-1]
    assert orders[0] != orders[1]
    assert len(batches) == source.n_batches == -(-N_ROWS // min(batch_size, N_ROWS))


def test_labels_are_left_alone(seed):
    y = torch.arange(N_ROWS)
    epoch(source_of(integers(), y, seed=seed))
    assert torch.equal(y, torch.arange(N_ROWS))


def test_the_seed_decides_the_order(seed):
    first = torch.cat([rows for rows, _ in epoch(source_of(integers(), seed=seed))])
    assert torch.equal(first, torch.cat([rows for rows, _ in epoch(source_of(integers(), seed=seed))]))
    assert not torch.equal(first, torch.cat([rows for rows, _ in epoch(source_of(integers(), seed=seed + 5))]))


def test_resumed_in_the_middle_of_an_epoch(seed):
    source = source_of(integers(), seed=seed)
    source.shuffle()
    source.batch(0)
    state = source.state_dict()
    expected = [source.batch(k).X.clone() for k in (1, 2, 3)] + [rows for rows, _ in epoch(source)]
    fresh = source_of(integers(), seed=99)
    fresh.load_state_dict(state)
    found = [fresh.batch(k).X.clone() for k in (1, 2, 3)] + [rows for rows, _ in epoch(fresh)]
    assert all(torch.equal(a, b) for a, b in zip(expected, found, strict=True))


@pytest.mark.parametrize(
    ("X", "y", "message"),
    [
        (np.zeros((0, 5)), None, r"must have shape \(n_samples, n_features\) with rows; got \(0, 5\)"),
        (np.zeros(5), None, r"got \(5,\)"),
        (np.zeros((5, 3, 2)), None, r"got \(5, 3, 2\)"),
        (np.zeros((5, 3)), torch.zeros(4), "X has 5 rows but y has 4"),
    ],
)
def test_errors(X, y, message):
    with pytest.raises(DataError, match=message):
        source_of(X, y)


# Weights of rows ---


WEIGHTS = {
    "list": lambda w: w.tolist(),
    "array": lambda w: w,
    "float32": lambda w: w.astype(np.float32),
    "big-endian": lambda w: w.astype(">f8"),
    "read-only": lambda w: read_only(w.copy()),
    "negative strides": lambda w: w[::-1].copy()[::-1],
    "tensor": lambda w: torch.from_numpy(w),
    "any scale": lambda w: 1000 * w,
}


@pytest.mark.parametrize("name", WEIGHTS)
def test_weights_go_with_their_rows_and_have_mean_one(name, seed):
    given = np.random.default_rng(seed).integers(0, 5, size=N_ROWS).astype(np.float64)
    weight = WEIGHTS[name](given)
    before = as_bytes(weight)
    X = np.arange(N_ROWS, dtype=np.float32)[:, None]
    source = source_of(X, seed=seed, sample_weight=weight)
    source.shuffle()
    batches = [source.batch(k) for k in range(source.n_batches)]
    rows = torch.cat([source.batch(k).X[:, 0].clone() for k in range(source.n_batches)]).long().numpy()
    found = torch.cat([batch.weight for batch in batches])
    assert found.dtype == torch.float32
    np.testing.assert_allclose(found, (given / given.mean())[rows], rtol=1e-6)
    assert found.mean().item() == pytest.approx(1, rel=1e-6)
    assert as_bytes(weight) == before


def test_without_weights_there_are_none():
    source = source_of(integers())
    source.shuffle()
    assert source.batch(0).weight is None


@pytest.mark.parametrize(
    ("weight", "message"),
    [
        (np.ones(5), r"must have one entry a row, \(23,\); got \(5,\)"),
        (np.ones((23, 1)), r"got \(23, 1\)"),
        (1.0, r"got \(\)"),
        (np.zeros(23), "above 0 for at least one row"),
        (np.full(23, np.nan), "must be finite, 0 or more"),
        (np.r_[np.ones(22), np.inf], "must be finite"),
        (np.r_[np.ones(22), -1], "0 or more"),
    ],
)
def test_illegal_weights(weight, message):
    with pytest.raises(DataError, match=f"sample_weight.*{message}"):
        source_of(integers(), sample_weight=weight)


# Training ---


@pytest.mark.parametrize("cls", [RBMSettings, AutoencoderSettings])
@pytest.mark.parametrize("weighted", [False, True])
@pytest.mark.parametrize("name", SOURCES)
def test_every_source_trains_the_same_stack(name, weighted, cls, tmp_path):
    units = {"visible_units": "gaussian"} if cls is RBMSettings else {}
    settings = cls(**units, training=TrainingSettings(epochs=2, batch_size=7, learning_rate=1e-3))
    weight = np.arange(N_ROWS) if weighted else None
    X = SOURCES[name](tmp_path)
    before = as_bytes(X)
    one, _ = pretrained(integers(), (3, 2), settings, sample_weight=weight)
    other, _ = pretrained(X, (3, 2), settings, sample_weight=weight)
    assert as_bytes(X) == before
    first, second = (run.stack.layers for run in (one, other))
    assert same(first[0], second[0])
    if X.dtype in (np.float64, torch.float64, np.dtype(">f8")):  # codes in float64 reach the next layer unrounded
        for name, value in first[1].state_dict().items():
            torch.testing.assert_close(second[1].state_dict()[name], value, rtol=1e-5, atol=1e-6)
    else:
        assert same(first[1], second[1])


def test_every_batch_holds_each_stratum_in_its_share():
    strata = torch.tensor([7] * 40 + [-1] * 20 + [3] * 40)[torch.randperm(100, generator=torch.Generator())]
    rows = torch.arange(100.0)[:, None]
    source = BatchSource(
        rows, strata=strata, batch_size=20, generator=torch.Generator().manual_seed(3), device=torch.device("cpu")
    )
    orders = []
    for _ in range(2):
        source.shuffle()
        batches = [source.batch(k).X[:, 0].long().clone() for k in range(5)]
        for batch in batches:
            counts = [int((strata[batch] == value).sum()) for value in (7, -1, 3)]
            assert max(abs(found - share) for found, share in zip(counts, (8, 4, 8), strict=True)) <= 1
        orders.append(torch.cat(batches))
        assert sorted(orders[-1].tolist()) == list(range(100))
    assert not torch.equal(*orders)
