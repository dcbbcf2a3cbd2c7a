"""What fine-tuning would refuse is refused before pretraining, by every way that leads from one to the other."""

import numpy as np
import pytest
from click.testing import CliRunner
from stacks import rows

import checkpoints
from pipelines.cli import main
from pretrain import RBM, DBNClassifier, DBNRegressor, DeepAutoencoder, SDAEClassifier, Stack
from pretrain.exceptions import SettingsError
from pretrain.training import TrainingRun

N_ROWS = 23
LABELS = np.arange(N_ROWS) % 3
TRAINING = {"hidden_layer_sizes": (5, 3), "random_state": 0}
BY_ENTROPY = "autoencoder digits --scaling standard --reconstruction-loss cross_entropy"


@pytest.fixture(autouse=True)
def no_training(monkeypatch):
    """No run takes a step."""
    monkeypatch.setattr(TrainingRun, "__next__", lambda _: pytest.fail("something was trained"))


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"visible_units": "gaussian", "reconstruction_loss": "cross_entropy"}, "needs sigmoid outputs.*'identity'"),
        ({"kind": "autoencoder", "scaling": "standard", "reconstruction_loss": "cross_entropy"}, "sigmoid outputs"),
        ({"solver": "rprop", "alpha": 0.1}, "^alpha of DeepAutoencoder must be 0 with optimizer 'rprop'"),
    ],
)
def test_deep_autoencoders(options, message):
    with pytest.raises(SettingsError, match=message):
        DeepAutoencoder(**TRAINING, **options).fit(rows(n=N_ROWS))


@pytest.mark.parametrize("cls", [DBNClassifier, DBNRegressor, SDAEClassifier])
@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"solver": "cg", "dropout": 0.5}, "optimizer 'cg' needs a loss that is the same each time"),
        ({"solver": "lbfgs", "input_dropout": 0.5, "head_epochs": 1}, "optimizer 'lbfgs' needs a loss"),
        ({"solver": "rprop", "alpha": 0.1}, "^alpha of .* must be 0 with optimizer 'rprop'"),
    ],
)
def test_pretrained_estimators(cls, options, message):
    with pytest.raises(SettingsError, match=message):
        cls(**TRAINING, **options).fit(rows(n=N_ROWS), LABELS)


def test_validation_rows_that_cannot_be_drawn():
    lone = np.where(np.arange(N_ROWS) == 7, 3, LABELS)
    with pytest.raises(ValueError, match="least populated class"):
        DBNClassifier(**TRAINING, early_stopping=True).fit(rows(n=N_ROWS), lone)


@pytest.mark.parametrize(
    ("command", "words"),
    [
        (f"{BY_ENTROPY} --visible-units gaussian", "sigmoid outputs"),
        (f"{BY_ENTROPY} --kind autoencoder", "sigmoid outputs"),
        ("autoencoder digits --optimizer rprop --weight-decay 0.1", "weight_decay"),
        ("autoencoder digits --early-stopping true --validation-fraction 0", "early_stopping needs validation rows"),
        ("autoencoder digits --optimizer cg --shift 1", "optimizer 'cg' needs a loss"),
        ("autoencoder d.npz --shift 1", "shift"),
        ("compare digits --arms relu,dbn-dropout --optimizer cg", "optimizer 'cg' needs a loss"),
        ("stack digits --hidden-units gaussian,bernoulli --binarize true", "binarize"),
        ("dbn digits --up-down-optimizer cg", "optimizer 'cg' needs a loss"),
        ("dbn digits --up-down-early-stopping true", "early_stopping needs validation rows"),
        ("stack digits --kind autoencoder --corruption none,masking --optimizer cg", "optimizer 'cg' needs a loss"),
    ],
)
def test_the_command_line(tmp_path, monkeypatch, command, words):
    monkeypatch.chdir(tmp_path)
    np.savez("d.npz", X=rows(n=N_ROWS))
    result = CliRunner().invoke(main, [*command.split(), "--layers", "5,3", "-o", "out"])
    assert result.exit_code == 2, result.output
    assert words in result.stderr
    assert [path.name for path in tmp_path.iterdir()] == ["d.npz"]


def test_the_second_stage_of_fine_tuning(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    checkpoints.save(Stack([RBM(64, 5), RBM(5, 3)]), "stack.h5")
    options = "--head-epochs 2 --early-stopping true --validation-fraction 0 -o net.h5"
    result = CliRunner().invoke(main, ["finetune", "stack.h5", "digits", *options.split()])
    assert result.exit_code == 2, result.output
    assert "early_stopping needs validation rows" in result.stderr
    assert [path.name for path in tmp_path.iterdir()] == ["stack.h5"]
