"""The curves data: images of smooth curves through three random points, drawn from a seed.

The images of 2006 [1]_ are not at hand. These follow their description: three random points with increasing x, a
smooth curve through them, inked on 28 x 28 pixels, so that an image has six true degrees of freedom. They are ours,
and an error on them is no reproduction of a published one. What the description leaves open, where the points lie and
how wide the ink is, was chosen so that principal components have about as much trouble with them as with the
original's. Fitted on the training images, squared error of a test image, summed over its pixels in [0, 1]:

===================  ============  ==============
model                these images  published [1]_
===================  ============  ==============
mean image           17.56
PCA, 6 components    10.99
PCA, 18 components   5.93          5.90
===================  ============  ==============

References
----------
.. [1] Hinton, G. E. & Salakhutdinov, R. R. (2006). Reducing the dimensionality of data with neural networks.
       Science 313, 504-507, and its supporting material.
"""

import numpy as np

SIDE = 28
N_TRAIN, N_TEST = 20_000, 10_000
X_RANGE, Y_RANGE = (6.0, 22.0), (7.0, 21.0)  # where the points lie, in pixels from the upper left corner
SMALLEST_GAP = 1.0  # between the x of neighbouring points, in pixels
INK_WIDTH = 0.8  # standard deviation of the profile of a stroke, in pixels
PLACES_ON_A_CURVE = 128  # neighbours are at most 0.6 pixels apart: no gaps show
CHUNK = 64  # images at a time: what is computed of them stays in the processor's cache


def make_curves(n: int, *, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Draw images of curves, and the points that made them.

    Parameters
    ----------
    n : int
        Number of images.
    seed : int

    Returns
    -------
    images : uint8 ndarray of shape (n, 28, 28)
        From 0, no ink, to 255.
    points : float64 ndarray of shape (n, 3, 2)
        The x and y of the three points of each curve, as `draw_curves` takes them.
    """
    rng = np.random.default_rng(seed)
    points = np.empty((n, 3, 2))
    room = X_RANGE[1] - X_RANGE[0] - 2 * SMALLEST_GAP  # sorted within it, then moved apart
    points[:, :, 0] = X_RANGE[0] + np.sort(rng.uniform(0, room, size=(n, 3)), axis=1) + SMALLEST_GAP * np.arange(3)
    points[:, :, 1] = rng.uniform(*Y_RANGE, size=(n, 3))
    return draw_curves(points), points


def draw_curves(points: np.ndarray) -> np.ndarray:
    """Ink the parabola p(t) through p(0), p(1/2), p(1): the three points and nothing else decide the image.

    The ink of a pixel is exp(-d**2 / (2 INK_WIDTH**2)), d the distance of its centre from the curve.

    Parameters
    ----------
    points : ndarray of shape (n, 3, 2)
        x and y in pixels from the upper left corner; the pixel in row 0 and column 0 has its centre at (0.5, 0.5).

    Returns
    -------
    uint8 ndarray of shape (n, 28, 28)
    """
    t = np.linspace(0, 1, PLACES_ON_A_CURVE)
    first, second, third = (2 * t - 1) * (t - 1), 4 * t * (1 - t), t * (2 * t - 1)  # Lagrange's polynomials
    images = np.empty((len(points), SIDE, SIDE), dtype=np.uint8)
    for start in range(0, len(points), CHUNK):
        p = points[start : start + CHUNK, :, :, None]  # (chunk, 3, 2, 1)
        curve = p[:, 0] * first + p[:, 1] * second + p[:, 2] * third  # (chunk, 2, places)
        square = _squared_distance(curve.astype(np.float32))
        ink = np.exp(square / (-2 * INK_WIDTH**2), dtype=np.float64)
        images[start : start + CHUNK] = np.rint(255 * ink)
    return images


def _squared_distance(curve: np.ndarray) -> np.ndarray:
    """Of every pixel's centre from the nearest place on its curve: (n, 2, places) -> (n, 28, 28).

    Sums and minima of single numbers, no matrix product, whose last bits differ from machine to machine: models
    know their data by a digest of the bytes.
    """
    centres = np.arange(SIDE, dtype=np.float32) + np.float32(0.5)
    squares = np.square(curve[..., None] - centres)  # (n, 2, places, 28)
    nearest = np.full((len(curve), SIDE, SIDE), np.inf, dtype=np.float32)
    total = np.empty_like(nearest)
    for place in range(curve.shape[2]):
        across, down = squares[:, 0, place, None, :], squares[:, 1, place, :, None]
        np.minimum(nearest, np.add(across, down, out=total), out=nearest)
    return nearest
