"""The arms of a comparison: each is a way to initialise and train one network of the same size.

All arms fine-tune through the same loop with the same default settings (Adam, rate 1e-3 along a cosine, "auto"
batches and epochs), on the same labelled rows in the same order. An arm adds only what its name says.
"""

from dataclasses import dataclass, field
from typing import Any

from pretrain.baselines import BASELINES
from pretrain.exceptions import SettingsError
from pretrain.image_networks import IMAGE_BASELINES
from pretrain.settings import (
    AutoencoderSettings,
    FinetuneSettings,
    LayerSettings,
    RBMSettings,
    SupervisedSettings,
    to_dict,
)


@dataclass(frozen=True)
class Arm:
    """One arm.

    Parameters
    ----------
    name, summary : str
    layer : LayerSettings or None
        How each layer is pretrained: on all training rows, or, with labels, on the labelled rows of the budget; None
        for a network from scratch.
    kind : str or None
        A name in `pretrain.baselines.BASELINES` (or, from scratch and of images, in `IMAGE_BASELINES` of
        `pretrain.image_networks`): of a network from scratch, or, of layers that are pretrained, one that begins with
        their weights, see `pretrain.pretrained_networks`. None: the layers are unrolled.
    finetune : FinetuneSettings
    dropout, input_dropout : float
        Of an unrolled network in fine-tuning.
    """

    name: str
    summary: str
    layer: LayerSettings | None = None
    kind: str | None = None
    finetune: FinetuneSettings = field(default_factory=FinetuneSettings)
    dropout: float = 0.0
    input_dropout: float = 0.0

    @property
    def pretrained(self) -> bool:
        """Whether the arm pretrains."""
        return self.layer is not None

    @property
    def pretrained_with_labels(self) -> bool:
        """Whether the arm pretrains on labelled rows, and so anew for every budget."""
        return isinstance(self.layer, SupervisedSettings)

    def to_dict(self) -> dict[str, Any]:
        """Everything that decides what the arm does, JSON-able."""
        network: dict[str, Any] = {"dropout": self.dropout, "input_dropout": self.input_dropout}
        if self.kind is not None:
            network |= {"kind": self.kind, **_describe(self.kind)}
        return {
            "summary": self.summary,
            "pretrained": self.pretrained,
            "settings": {
                "pretraining": None if self.layer is None else to_dict(self.layer),
                "network": network,
                "finetuning": to_dict(self.finetune),
            },
        }


def _describe(kind: str) -> dict[str, Any]:
    if kind in IMAGE_BASELINES:
        return IMAGE_BASELINES[kind].options
    baseline = BASELINES[kind]
    return {"activation": baseline.activation, "initialisation": baseline.initialisation, **baseline.options}


ARMS: dict[str, Arm] = {
    arm.name: arm
    for arm in (
        Arm("dbn", "deep belief net: RBMs by CD-1, unrolled and fine-tuned", layer=RBMSettings()),
        Arm(
            "dbn-dropout",
            "deep belief net fine-tuned with dropout 0.2 on inputs and 0.5 on hidden units",
            layer=RBMSettings(),
            dropout=0.5,
            input_dropout=0.2,
        ),
        Arm("sdae", "stacked denoising autoencoders, masking 0.25", layer=AutoencoderSettings()),
        Arm(
            "greedy-supervised",
            "sigmoid layers pretrained greedily with the labels of the budget, unrolled and fine-tuned",
            layer=SupervisedSettings(),
        ),
        *(Arm(name, baseline.summary, kind=name) for name, baseline in BASELINES.items()),
        *(Arm(name, baseline.summary, kind=name) for name, baseline in IMAGE_BASELINES.items()),
        *(
            Arm(f"pretrained-{kind}", f"RBMs as the first weights of: {BASELINES[kind].summary}", RBMSettings(), kind)
            for kind in ("relu", "relu-dropout", "relu-bn", "residual")
        ),
    )
}
DEFAULT_ARMS = ("dbn", "sdae", "sigmoid", "relu", "relu-dropout", "relu-bn", "residual", "dense")


def arms_named(names: tuple[str, ...]) -> list[Arm]:
    """The arms with these names, each once; SettingsError names one that does not exist."""
    for name in names:
        if name not in ARMS:
            raise SettingsError(f"There is no arm {name!r}; the arms are {', '.join(ARMS)}.")
    return [ARMS[name] for name in dict.fromkeys(names)]
