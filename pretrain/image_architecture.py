"""What a convolutional network is, short of its weights.

References
----------
.. [1] LeCun, Y., Bottou, L., Bengio, Y. & Haffner, P. (1998). Gradient-based learning applied to document
       recognition. Proceedings of the IEEE 86.
.. [2] He, K., Zhang, X., Ren, S. & Sun, J. (2016). Deep residual learning for image recognition. CVPR, section 4.2.
.. [3] He, K., Zhang, X., Ren, S. & Sun, J. (2016). Identity mappings in deep residual networks. ECCV.
.. [4] Huang, G., Sun, Y., Liu, Z., Sedra, D. & Weinberger, K. (2016). Deep networks with stochastic depth. ECCV.
.. [5] Huang, G., Liu, Z., van der Maaten, L. & Weinberger, K. (2017). Densely connected convolutional networks. CVPR.
"""

import dataclasses
import math
from typing import NamedTuple

from pretrain._validation import require_choice, require_flag, require_number, require_sequence
from pretrain.architecture import OUTPUT_ACTIVATIONS
from pretrain.exceptions import SettingsError

FAMILIES = ("lenet", "plain", "residual", "densely_connected")
LENET_KERNEL, LENET_IMAGE = 5, 32
SMALLEST_LENET_IMAGE = 12  # what is left after both convolutions and poolings must be a pixel
SMALLEST_DENSE_IMAGE = 4
LARGEST = 10_000  # of sides, channels and depths: beyond all that is of use


class LayerPlan(NamedTuple):
    """One layer: its kind, channels (or units) in and out, and the step of its window."""

    kind: str
    n_inputs: int
    n_units: int
    stride: int = 1


@dataclasses.dataclass(frozen=True)
class ImageArchitecture:
    """A network for images.

    Parameters
    ----------
    image_shape : tuple of int
        Height and width, and channels if there are any, of a row before it was flattened.
    n_outputs : int
    family : {"lenet", "plain", "residual", "densely_connected"}
        "lenet" [1]_, with rectified linear units and maxima; "residual" [2]_: three stages of residual blocks, each
        of twice the channels and half the side of the one before; "plain": the same without shortcuts;
        "densely_connected" [5]_: three blocks of layers that see all layers before them in the block.
    depth : int
        Layers with weights: 6n + 2 of a residual or plain network; 3n + 4 of a densely connected one, 6n + 4 with
        bottlenecks. LeNet has 5.
    width : int
        Channels of the first stage; of a densely connected network the growth rate, channels a layer.
    preactivation : bool
        Of a residual network: norm and activation stand before each convolution [3]_.
    bottleneck : bool
        Of a densely connected network: 1 x 1 convolutions to 4 growth rates before each 3 x 3, twice the growth rate
        of channels at first instead of 16, and half of the channels after each block: DenseNet-BC.
    survival_probability : float
        Stochastic depth [4]_ of a residual network, see `Architecture`.
    output_activation, task, input_dropout, dropout
        As in `Architecture`; dropout follows each convolution of a residual or densely connected block but a block's
        last, and each dense layer of LeNet.
    """

    image_shape: tuple[int, ...]
    n_outputs: int
    family: str = "residual"
    depth: int = 20
    width: int = 16
    preactivation: bool = False
    bottleneck: bool = False
    survival_probability: float = 1.0
    output_activation: str = "softmax"
    task: str = "classification"
    input_dropout: float = 0.0
    dropout: float = 0.0

    def __post_init__(self) -> None:
        owner = "an image network"
        require_sequence(owner, "image_shape", self.image_shape)
        if len(self.image_shape) not in (2, 3):
            raise SettingsError(
                f"image_shape of {owner} must be height and width, and channels if there are any; got "
                f"{tuple(self.image_shape)}."
            )
        for side in self.image_shape:
            require_number(owner, "image_shape", side, at_least=1, at_most=LARGEST, integer=True)
        for name in ("n_outputs", "depth", "width"):
            require_number(owner, name, getattr(self, name), at_least=1, at_most=LARGEST, integer=True)
        require_choice(owner, "family", self.family, FAMILIES)
        require_choice(owner, "task", self.task, OUTPUT_ACTIVATIONS)
        require_choice(owner, "output_activation", self.output_activation, [OUTPUT_ACTIVATIONS[self.task]])
        for name in ("preactivation", "bottleneck"):
            require_flag(owner, name, getattr(self, name))
        for name in ("dropout", "input_dropout"):
            require_number(owner, name, getattr(self, name), at_least=0, below=1)
        require_number(owner, "survival_probability", self.survival_probability, above=0, at_most=1)
        self._require_consistency(owner)

    def _require_consistency(self, owner: str) -> None:
        residual_only = {"preactivation": self.preactivation, "survival_probability": self.survival_probability != 1}
        for name, given in {**residual_only, "bottleneck": self.bottleneck}.items():
            family = "densely_connected" if name == "bottleneck" else "residual"
            if given and self.family != family:
                raise SettingsError(f"{name} of {owner} is for the family {family!r}; got {self.family!r}.")
        per, rest = {
            "lenet": (1, self.depth - 5),
            "densely_connected": (6 if self.bottleneck else 3, 4),
        }.get(self.family, (6, 2))
        if (self.family == "lenet" and rest) or (self.family != "lenet" and (self.depth - rest) % per):
            legal = "5" if self.family == "lenet" else f"{per}n + {rest}"
            raise SettingsError(f"depth of {owner} of family {self.family!r} must be {legal}; got {self.depth}.")
        if self.n_blocks < 1 and self.family != "lenet":
            raise SettingsError(f"depth of {owner} of family {self.family!r} must be at least {per + rest}.")
        smallest = {"lenet": SMALLEST_LENET_IMAGE, "densely_connected": SMALLEST_DENSE_IMAGE}.get(self.family, 1)
        if min(self.image_shape[:2]) < smallest:
            raise SettingsError(
                f"A network of family {self.family!r} needs images of at least {smallest} x {smallest} pixels; got "
                f"{self.image_shape[0]} x {self.image_shape[1]}."
            )

    @property
    def n_features(self) -> int:
        """Numbers of an image."""
        return math.prod(self.image_shape)

    @property
    def n_channels(self) -> int:
        """Numbers of a pixel."""
        return self.image_shape[2] if len(self.image_shape) == 3 else 1

    @property
    def n_blocks(self) -> int:
        """Residual blocks of a stage, or layers of a dense block: the n of the depth."""
        if self.family == "densely_connected":
            return (self.depth - 4) // (6 if self.bottleneck else 3)
        return (self.depth - 2) // 6

    @property
    def n_encoder_layers(self) -> None:
        """None: it is no autoencoder."""
        return None

    @property
    def hidden_layer_sizes(self) -> tuple[int, ...]:
        """Channels, or units, that come out of each hidden layer."""
        return tuple(layer.n_units for layer in self.plan())

    @property
    def activations(self) -> tuple[str, ...]:
        """One for each hidden layer."""
        return ("relu",) * len(self.plan())

    @property
    def widths(self) -> tuple[int, ...]:
        """Channels, or units, that each hidden layer sees, and the output layer."""
        return (*(layer.n_inputs for layer in self.plan()), self.plan()[-1].n_units)

    @property
    def n_layers(self) -> int:
        """Hidden layers, counted without making any."""
        if self.family == "lenet":
            return 4
        more = 3 if self.family == "densely_connected" else int(self.preactivation)  # transitions and the last norm
        return 1 + 3 * self.n_blocks + more

    def plan(self) -> list[LayerPlan]:
        """The hidden layers from the image upwards."""
        if self.family == "lenet":
            return self._lenet()
        return self._dense() if self.family == "densely_connected" else self._residual()

    def _lenet(self) -> list[LayerPlan]:
        sides = self.image_shape[:2]
        sides = tuple((side - LENET_KERNEL + 1 + 2 * self.padding) // 2 for side in sides)
        sides = tuple((side - LENET_KERNEL + 1) // 2 for side in sides)
        return [
            LayerPlan("convolution", self.n_channels, 6),
            LayerPlan("convolution", 6, 16),
            LayerPlan("dense", 16 * math.prod(sides), 120),
            LayerPlan("dense", 120, 84),
        ]

    @property
    def padding(self) -> int:
        """Zeros around the images of LeNet: 2 where they are smaller than those of the paper, 28 x 28 say."""
        return LENET_KERNEL // 2 if min(self.image_shape[:2]) < LENET_IMAGE else 0

    def _residual(self) -> list[LayerPlan]:
        layers, n_inputs = [LayerPlan("convolution", self.n_channels, self.width)], self.width
        for stage in range(3):
            n_units = self.width * 2**stage
            for block in range(self.n_blocks):
                stride = 2 if stage > 0 and block == 0 else 1
                layers.append(LayerPlan("block", n_inputs, n_units, stride))
                n_inputs = n_units
        return [*layers, *([LayerPlan("norm", n_inputs, n_inputs)] if self.preactivation else [])]

    def _dense(self) -> list[LayerPlan]:
        n_inputs = 2 * self.width if self.bottleneck else 16
        layers = [LayerPlan("convolution", self.n_channels, n_inputs)]
        for block in range(3):
            for _ in range(self.n_blocks):
                layers.append(LayerPlan("growth", n_inputs, n_inputs + self.width))
                n_inputs += self.width
            if block < 2:
                n_units = n_inputs // 2 if self.bottleneck else n_inputs
                layers.append(LayerPlan("transition", n_inputs, n_units, 2))
                n_inputs = n_units
        return [*layers, LayerPlan("norm", n_inputs, n_inputs)]
