"""Images that are shifted, mirrored, cropped, turned and made noisy in training."""

import numpy as np
import pytest
import torch

from pretrain import Finetuning
from pretrain.augmentation import Augmentation, ImageCrop, ImageFlip, ImageRotation, ImageShift, RowNoise, rotated
from pretrain.baselines import scratch_autoencoder
from pretrain.exceptions import SettingsError
from pretrain.random_streams import RandomStreams
from pretrain.settings import FinetuneSettings, TrainingSettings


def shifted(image, down, right):
    """The image moved by hand, edges repeated."""
    L = max(abs(down), abs(right), 1)
    padded = np.pad(image, [(L, L), (L, L), *[(0, 0)] * (image.ndim - 2)], mode="edge")
    height, width = image.shape[:2]
    return padded[L - down : L - down + height, L - right : L - right + width]


@pytest.mark.parametrize("shape", [(3, 4), (4, 3, 2)])
def test_images_are_moved_by_whole_pixels_and_half_of_them_stay(shape):
    n = 4000
    image = np.random.default_rng(0).normal(size=shape).astype(np.float32)
    X = torch.from_numpy(np.tile(image.reshape(1, -1), (n, 1)))
    before = X.clone()
    out = ImageShift(shape, 1, generator=torch.Generator().manual_seed(0))(X)
    assert torch.equal(X, before)
    offsets = [(down, right) for down in (-1, 0, 1) for right in (-1, 0, 1)]
    counts = [int((out == torch.from_numpy(shifted(image, *o).copy()).view(1, -1)).all(dim=1).sum()) for o in offsets]
    assert sum(counts) == n
    expected = n * np.where([o == (0, 0) for o in offsets], 0.5 + 0.5 / 9, 0.5 / 9)
    assert (np.abs(counts - expected) < 5 * np.sqrt(expected)).all()


def test_an_autoencoder_reconstructs_the_shifted_image_that_it_saw():
    """With the rate at zero nothing but the rows decides the loss: here that of images moved by at most one pixel."""
    X = np.zeros((40, 25), dtype=np.float32)
    X[:, 0] = 1  # a corner: moved inwards it is repeated by the edge, outwards it stays or leaves
    network = scratch_autoencoder("sigmoid", 25, [3], generator=torch.Generator().manual_seed(0))
    losses = {}
    for shift in (0, 1):
        training = TrainingSettings(epochs=1, learning_rate=1e-30, batch_size=40, precision="float32")
        settings = FinetuneSettings(training=training, shift=shift)
        [record] = Finetuning(network, X, None, settings, seed=0, device="cpu", image_shape=(5, 5))
        losses[shift] = record["loss"]
    rows = ImageShift((5, 5), 1, generator=RandomStreams(0).generator("shift"))(torch.from_numpy(X))
    with torch.no_grad():
        outputs = network(rows)
        expected = torch.nn.functional.binary_cross_entropy_with_logits(outputs, rows, reduction="none")
    assert losses[1] == pytest.approx(float(expected.sum(dim=1).mean()), rel=1e-5)
    assert losses[1] != pytest.approx(losses[0], rel=1e-3)


@pytest.mark.parametrize("shape", [(3, 4), (4, 3, 2)])
def test_half_of_the_images_are_mirrored_left_to_right(shape):
    n = 4000
    images = np.random.default_rng(0).normal(size=(n, *shape)).astype(np.float32)
    X = torch.from_numpy(images.reshape(n, -1))
    before = X.clone()
    out = ImageFlip(shape, generator=torch.Generator().manual_seed(0))(X).view(n, *shape).numpy()
    assert torch.equal(X, before)
    stay, mirrored = ((out == of).reshape(n, -1).all(axis=1) for of in (images, images[:, :, ::-1]))
    assert (stay ^ mirrored).all()
    assert abs(mirrored.sum() - n / 2) < 5 * np.sqrt(n / 4)


def test_augmentations_follow_one_another_and_continue_exactly():
    X = torch.rand(50, 16)

    def make():
        shift = ImageShift((4, 4), 2, generator=torch.Generator().manual_seed(1))
        return Augmentation([shift, ImageFlip((4, 4), generator=torch.Generator().manual_seed(2))])

    augmentation = make()
    shift, flip = make().transforms
    assert torch.equal(augmentation(X), flip(shift(X)))
    state, expected = augmentation.state_dict(), augmentation(X)
    resumed = make()
    resumed.load_state_dict(state)
    assert torch.equal(resumed(X), expected)
    assert not torch.equal(make()(X), expected)


def test_the_setting_flip_mirrors_what_an_autoencoder_sees():
    X = np.zeros((40, 25), dtype=np.float32)
    X[:, 0] = 1
    network = scratch_autoencoder("sigmoid", 25, [3], generator=torch.Generator().manual_seed(0))
    training = TrainingSettings(epochs=1, learning_rate=1e-30, batch_size=40, precision="float32")
    settings = FinetuneSettings(training=training, flip=True)
    [record] = Finetuning(network, X, None, settings, seed=0, device="cpu", image_shape=(5, 5))
    rows = ImageFlip((5, 5), generator=RandomStreams(0).generator("flip"))(torch.from_numpy(X))
    with torch.no_grad():
        expected = torch.nn.functional.binary_cross_entropy_with_logits(network(rows), rows, reduction="none")
    assert record["loss"] == pytest.approx(float(expected.sum(dim=1).mean()), rel=1e-5)
    with pytest.raises(SettingsError, match="flip is for rows that are images"):
        Finetuning(network, X, None, settings, seed=0, device="cpu")


@pytest.mark.parametrize(
    ("shape", "largest", "message"), [(None, 1, "images"), ((5,), 1, "images"), ((5, 5), 5, "below")]
)
def test_rows_that_cannot_be_shifted_are_refused(shape, largest, message):
    with pytest.raises(SettingsError, match=message):
        ImageShift(shape, largest, generator=torch.Generator())


def test_shifts_are_drawn_anew_and_from_their_generator_alone():
    X = torch.rand(50, 16)
    draws = [ImageShift((4, 4), 2, generator=torch.Generator().manual_seed(1)) for _ in range(2)]
    first, again = draws[0](X), draws[1](X)
    assert torch.equal(first, again)
    assert not torch.equal(first, draws[0](X))


@pytest.mark.parametrize("shape", [(3, 4), (4, 3, 2)])
def test_crops_come_from_everywhere_around_the_image(shape):
    n = 4000
    image = np.random.default_rng(0).normal(size=shape).astype(np.float32)
    X = torch.from_numpy(np.tile(image.reshape(1, -1), (n, 1)))
    out = ImageCrop(shape, 1, generator=torch.Generator().manual_seed(0))(X)
    padded = np.pad(image, [(1, 1), (1, 1), *[(0, 0)] * (len(shape) - 2)])
    cuts = [padded[i : i + shape[0], j : j + shape[1]].reshape(1, -1) for i in range(3) for j in range(3)]
    counts = np.array([int((out == torch.from_numpy(cut.copy())).all(dim=1).sum()) for cut in cuts])
    assert counts.sum() == n
    assert (np.abs(counts - n / 9) < 5 * np.sqrt(n / 9)).all()


@pytest.mark.parametrize("channels", [(), (2,)])
def test_quarter_turns_are_exact(channels):
    images = np.random.default_rng(0).normal(size=(3, 5, 5, *channels)).astype(np.float32)
    X = torch.from_numpy(images.reshape(3, -1))
    turned = rotated(X, (5, 5, *channels), torch.tensor([0.0, 90.0, 180.0])).numpy().reshape(images.shape)
    for k in range(3):
        np.testing.assert_allclose(turned[k], np.rot90(images[k], k), atol=1e-5)
    wide = np.random.default_rng(1).normal(size=(1, 3, 5, *channels)).astype(np.float32)
    half = rotated(torch.from_numpy(wide.reshape(1, -1)), (3, 5, *channels), torch.tensor([180.0]))
    np.testing.assert_allclose(half.numpy().reshape(wide.shape), wide[:, ::-1, ::-1], atol=1e-5)


def test_a_turned_dot_lies_where_it_should_in_an_oblong_image():
    image = torch.zeros(1, 21, 41)
    image[0, 10, 35] = 1  # 15 to the right of the centre; nothing comes in from the corners
    angle = np.deg2rad(30)
    turned = rotated(image.view(1, -1), (21, 41), torch.tensor([30.0])).view(21, 41).double()
    places = torch.stack(torch.meshgrid(torch.arange(21.0), torch.arange(41.0), indexing="ij")).double()
    centre = (places * turned).sum(dim=(1, 2)) / turned.sum()
    expected = [10 - 15 * np.sin(angle), 20 + 15 * np.cos(angle)]  # up and to the right
    np.testing.assert_allclose(centre.numpy(), expected, atol=0.2)


def test_angles_and_noise_have_the_size_that_was_asked_for():
    X = torch.zeros(500, 81)
    noise = RowNoise(0.3, generator=torch.Generator().manual_seed(0))(X)
    assert float(noise.std()) == pytest.approx(0.3, rel=0.02)
    assert not X.any()
    rotation = ImageRotation((9, 9), 10.0, generator=torch.Generator().manual_seed(0))
    row = torch.rand(1, 81, generator=torch.Generator().manual_seed(1))
    out = rotation(row.expand(500, 81).contiguous())
    angles = torch.empty(500).uniform_(-10, 10, generator=torch.Generator().manual_seed(0))
    torch.testing.assert_close(out, rotated(row.expand(500, 81).contiguous(), (9, 9), angles))
    assert len(out.unique(dim=0)) > 400


@pytest.mark.parametrize("setting", ["crop", "rotation", "noise"])
def test_settings_of_augmentation_change_the_training(setting):
    X = np.random.default_rng(0).random((40, 25)).astype(np.float32)
    losses = []
    for value in (0, 2):
        network = scratch_autoencoder("sigmoid", 25, [3], generator=torch.Generator().manual_seed(0))
        settings = FinetuneSettings(training=TrainingSettings(epochs=1), **{setting: value})
        losses.append(
            Finetuning(network, X, None, settings, seed=0, device="cpu", image_shape=(5, 5)).__next__()["loss"]
        )
    assert losses[0] != losses[1]
    if setting != "noise":
        with pytest.raises(SettingsError, match=f"{setting} is for rows that are images"):
            Finetuning(network, X, None, settings, seed=0, device="cpu")
    if setting == "crop":
        settings = FinetuneSettings(crop=5)
        with pytest.raises(SettingsError, match="crop must be below the images' 5 pixels; got 5"):
            Finetuning(network, X, None, settings, seed=0, device="cpu", image_shape=(5, 5))


def test_each_augmentation_has_its_own_random_numbers(seed):
    network = scratch_autoencoder("sigmoid", 25, [3], generator=torch.Generator().manual_seed(0))
    settings = FinetuneSettings(shift=1, flip=True, crop=1, rotation=5.0, noise=0.1)
    X = np.zeros((4, 25), dtype=np.float32)
    run = Finetuning(network, X, None, settings, seed=seed, device="cpu", image_shape=(5, 5))
    names = ("shift", "flip", "crop", "rotation", "noise")
    for name, state in zip(names, run._augment.state_dict()["generators"], strict=True):
        assert torch.equal(state, RandomStreams(seed).generator(name).get_state())
