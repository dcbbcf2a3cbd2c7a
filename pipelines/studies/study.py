"""What a study is: a claim, the networks that are trained for it, and how their figures are judged."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any

from matplotlib.figure import Figure

from pipelines.studies.results import Results
from pretrain.settings import FinetuneSettings, LayerSettings, to_dict


@dataclass(frozen=True)
class Scale:
    """How much a study may cost: minutes of a processor core, or, `full`, a GPU; and the features of a row."""

    full: bool = False
    n_features: int = 64

    def pick(self, small: Any, full: Any) -> Any:
        """The value for this scale."""
        return full if self.full else small


@dataclass(frozen=True)
class Trial:
    """One network to train: everything but the seed.

    Parameters
    ----------
    name : str
        Within its study.
    kind : str or None
        A name in `pretrain.baselines.BASELINES`. None: the pretrained layers are unrolled, or `image` says it all.
    hidden_layer_sizes : tuple of int
    finetune : FinetuneSettings
    layer : LayerSettings or None
        How each layer is pretrained, on all training rows of the study without their labels. None: from scratch.
    labels : int or None
        Training rows that keep their labels, the same number of each class. None: all.
    activation, initialisation : str or None
        Of a network from scratch, instead of those of its kind.
    gain : str or None
        The activation whose gain the initial weights take, where it is not their own.
    dropout, input_dropout : float or None
        Instead of the rates of the kind.
    image : mapping or None
        Fields of `pretrain.image_architecture.ImageArchitecture`, of a convolutional network from scratch.
    gradients : bool
        Whether the gradient of each hidden layer is measured before training.
    dropout_draws : int
        Networks that are drawn by dropout to predict the test rows; 0: none.
    """

    name: str
    kind: str | None
    hidden_layer_sizes: tuple[int, ...]
    finetune: FinetuneSettings
    layer: LayerSettings | None = None
    labels: int | None = None
    activation: str | None = None
    initialisation: str | None = None
    gain: str | None = None
    dropout: float | None = None
    input_dropout: float | None = None
    image: Mapping[str, Any] | None = None
    gradients: bool = False
    dropout_draws: int = 0

    def to_dict(self) -> dict[str, Any]:
        """Everything that decides what the trial does, JSON-able."""
        plain = {key: value for key, value in vars(self).items() if key not in ("finetune", "layer")}
        return {
            **plain,
            "hidden_layer_sizes": list(self.hidden_layer_sizes),
            "image": None if self.image is None else dict(self.image),
            "finetune": to_dict(self.finetune),
            "layer": None if self.layer is None else to_dict(self.layer),
        }


@dataclass(frozen=True)
class Part:
    """One statement of a claim and what the figures say of it.

    Attributes
    ----------
    statement : str
    holds : bool
    evidence : str
        The numbers in words.
    numbers : dict of str to float
        The same for programs.
    """

    statement: str
    holds: bool
    evidence: str
    numbers: dict[str, float] = field(default_factory=dict)


@dataclass(frozen=True)
class Verdict:
    """What a study found.

    A claim of several parts holds where each of them is shown: tests that must all succeed need no correction for
    their number.

    Attributes
    ----------
    parts : sequence of Part
    reason : str
        Of the measured figures, those that say why a claim does not hold; not read where it does.
    """

    parts: Sequence[Part]
    reason: str = ""

    @property
    def holds(self) -> bool:
        """Whether every part is shown."""
        return all(part.holds for part in self.parts)

    @property
    def word(self) -> str:
        """ "holds" or "does not hold at this scale"."""
        return "holds" if self.holds else "does not hold at this scale"

    def to_dict(self) -> dict[str, Any]:
        """JSON-able."""
        return {
            "holds": self.holds,
            "word": self.word,
            "parts": [asdict(part) for part in self.parts],
            "reason": "" if self.holds else self.reason,
        }


@dataclass(frozen=True)
class Study:
    """One claim.

    Parameters
    ----------
    name : str
    claim, source, criterion : str
        One sentence each; the criterion was written before the recorded run.
    trials : callable
        From a `Scale` to the networks to train, each for every seed.
    judge : callable
        From the `Results` to the `Verdict`.
    draw : callable
        From the `Results` to one figure, whose label is its text alternative.
    validation_fraction : float
        Share of the training rows that is held out, for the settings that a study chooses.
    """

    name: str
    claim: str
    source: str
    criterion: str
    trials: Callable[[Scale], Sequence[Trial]]
    judge: Callable[[Results], Verdict]
    draw: Callable[[Results], Figure]
    validation_fraction: float = 0.0
