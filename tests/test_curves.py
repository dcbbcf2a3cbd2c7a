"""Curves: three points make an image, and a seed makes the points."""

import numpy as np
import pytest
from sklearn.decomposition import PCA

from pipelines.curves import INK_WIDTH, SIDE, SMALLEST_GAP, X_RANGE, Y_RANGE, draw_curves, make_curves

LARGEST_STEP = 0.6  # between neighbouring places of a curve, in pixels


def test_same_seed_same_images() -> None:
    (one, points), (two, _), (other, _) = (make_curves(131, seed=seed) for seed in (0, 0, 1))
    assert (one.shape, one.dtype, points.shape) == ((131, SIDE, SIDE), np.uint8, (131, 3, 2))
    assert np.array_equal(one, two)
    assert not np.array_equal(one, other)
    assert make_curves(0, seed=0)[0].shape == (0, SIDE, SIDE)


def test_points_lie_in_their_range_with_increasing_x() -> None:
    _, points = make_curves(5000, seed=3)
    x, y = points[..., 0], points[..., 1]
    assert np.diff(x, axis=1).min() >= SMALLEST_GAP
    for values, (low, high) in ((x, X_RANGE), (y, Y_RANGE)):
        assert low <= values.min() < low + 0.1
        assert high - 0.1 < values.max() <= high


def test_six_numbers_make_the_image_and_each_of_them_matters() -> None:
    images, points = make_curves(67, seed=2)
    assert np.array_equal(draw_curves(points), images)
    assert np.array_equal(draw_curves(points[40:43]), images[40:43])  # whatever else is drawn
    for point in range(3):
        for axis in range(2):
            moved = points.copy()
            moved[:, point, axis] += 0.5
            changed = np.abs(draw_curves(moved).astype(int) - images).max(axis=(1, 2))
            assert changed.min() > 0  # least where the middle of a straight stroke moves along it
            assert np.median(changed) > 40


def test_ink_lies_on_the_three_points_and_on_the_parabola_between_them() -> None:
    images, points = make_curves(500, seed=1)
    rows = np.arange(500)
    for k in range(3):
        column, row = np.floor(points[:, k]).astype(int).T
        distance = np.hypot(*(points[:, k] - np.floor(points[:, k]) - 0.5).T)
        at_least = 255 * np.exp(-((distance + LARGEST_STEP / 2) ** 2) / (2 * INK_WIDTH**2))
        assert (images[rows, row, column] >= np.floor(at_least)).all()
    first, second, third = points.transpose(1, 0, 2)
    between = -0.125 * first + 0.75 * second + 0.375 * third, 0.375 * first + 0.75 * second - 0.125 * third
    for place in between:  # p(3/4) and p(1/4)
        column, row = np.floor(place).astype(int).T
        assert images[rows, row, column].min() > 255 * np.exp(-((0.71 + LARGEST_STEP / 2) ** 2) / (2 * INK_WIDTH**2))


def test_ink_falls_off_with_the_distance_from_the_curve() -> None:
    flat = np.array([[[6.5, 10.5], [14.5, 10.5], [22.5, 10.5]]])  # along the centres of row 10
    [image] = draw_curves(flat)
    expected = 255 * np.exp(-((np.arange(SIDE) - 10.0) ** 2) / (2 * INK_WIDTH**2))
    np.testing.assert_allclose(image[:, 14], expected, atol=2)
    assert image[10, 7:22].min() >= 250
    assert image[10, [2, 26]].max() <= 1


def test_no_curve_leaves_the_page_and_none_is_empty() -> None:
    images, _ = make_curves(2000, seed=5)
    edge = np.concatenate([images[:, [0, -1]].reshape(2000, -1), images[:, :, [0, -1]].reshape(2000, -1)], axis=1)
    assert edge.max() == 0
    assert images.max(axis=(1, 2)).min() > 150
    assert (images > 127).sum(axis=(1, 2)).min() >= 3


def test_they_are_as_hard_for_principal_components_as_the_documentation_says() -> None:
    train, test = (make_curves(n, seed=seed)[0].reshape(n, -1) / 255 for seed, n in ((0, 6000), (1, 2000)))
    pca = PCA(18, svd_solver="covariance_eigh").fit(train)
    codes = pca.transform(test)
    assert np.square(test - train.mean(axis=0)).sum(axis=1).mean() == pytest.approx(17.56, rel=0.02)
    for n, error in ((6, 10.99), (18, 5.93)):
        rebuilt = pca.mean_ + codes[:, :n] @ pca.components_[:n]
        assert np.square(test - rebuilt).sum(axis=1).mean() == pytest.approx(error, rel=0.02)
