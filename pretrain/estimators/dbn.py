"""Deep belief nets as classifiers and regressors."""

from typing import Any

from sklearn.base import is_classifier

from pretrain.estimators.classification import NetworkClassifier, takes_classifier_parameters
from pretrain.estimators.inputs import initial_momentum, training_settings
from pretrain.estimators.pretrained import RBM_PARAMETERS, PretrainedEstimator
from pretrain.estimators.regression import NetworkRegressor
from pretrain.settings import LayerSettings, RBMSettings

CLASSIFIER_SPARSITY = 0.05  # mean activation


class DBNEstimator(PretrainedEstimator):
    """A deep belief net [1]_: restricted Boltzmann machines stacked greedily, unrolled and fine-tuned.

    Parameters
    ----------
    hidden_layer_sizes : tuple of int, default=(256, 256)
    visible_units : str, default="bernoulli"
        Units on the data: "bernoulli" for values in [0, 1], "gaussian" or "gaussian_learned" for real values (which
        "auto" scaling standardises), "softmax", "replicated_softmax" for word counts, "noisy_relu", "spin", or types
        with widths for the columns of a table, "bernoulli:3+gaussian:2+softmax:4".
    n_gibbs_steps : int, default=1
        The k of CD-k.
    pretrain_epochs : int or "auto", default="auto"
        Epochs a layer; "auto" is 10 on large data, more on small (see `pretrain.budget`).
    pretrain_learning_rate : float or "auto", default="auto"
        "auto" is 0.1, and less for a layer whose units are not binary (`RBM.default_learning_rate`).
    pretrain_batch_size : int or "auto", default="auto"
        "auto" is a fiftieth of the rows, between 10 and 100.
    pretrain_momentum : float, default=0.9
        0.5 in the first 5 epochs, then this.
    pretrain_weight_decay : float, default=2e-4
    sparsity_target : float, None or "auto", default="auto"
        Mean activation that hidden units are pulled to in pretraining; None: wherever they go. "auto" is 0.05 for a
        classifier, since codes of which few are on tell classes apart with fewer labels, and None for regression.
    sparsity_cost : float, default=0.1
        Weight of that penalty.
    kind : str or None, default=None
        Of the network that is fine-tuned: None for the stack unrolled; or a name in `pretrain.baselines.BASELINES`,
        such as "relu-bn" or "residual", whose first weights are those of the stack, rescaled (see
        `pretrain.pretrained_networks`).
    head_epochs : int or "auto", default="auto"
        Epochs in which the output layer learns alone, before `max_iter` epochs of fine-tuning. "auto" is what makes
        1,000 steps, at most as many as `max_iter` comes to; none where a fit goes on from the last (`warm_start`).
    solver : {"adam", "adamw", "sgd", "adagrad", "rmsprop", "lbfgs"}, default="adam"
        torch's optimiser for fine-tuning.
    learning_rate_init : float, default=1e-3
    schedule : {"cosine", "constant", "step", "exponential", "inverse_time"}, default="cosine"
        Course of the learning rate over `max_iter` epochs.
    momentum : float, default=0.9
        For "sgd" and "rmsprop".
    max_iter : int or "auto", default="auto"
        Epochs of fine-tuning; "auto" is 20 on large data, more on small (see `pretrain.budget`).
    batch_size : int or "auto", default="auto"
        "auto" is a fiftieth of the labelled rows, between 10 and 100.
    alpha : float, default=0.0
        L2 penalty on the weights in fine-tuning.
    max_norm : float or None, default=None
        Largest norm of the weights into one unit in fine-tuning.
    dropout, input_dropout : float or "auto", default="auto"
        Probability of dropping a hidden unit, an input, in fine-tuning. "auto": the rates of the `kind`; without one
        0.2 for the hidden units of a classifier, and 0 for inputs, for regression and for `solver="lbfgs"`.
    early_stopping : bool, default=False
        Hold out `validation_fraction` of the labelled rows, stop after `n_iter_no_change` epochs without an
        improvement by `tol`, and keep the best weights.
    validation_fraction : float, default=0.1
    n_iter_no_change : int, default=10
    tol : float, default=0.0
    scaling : {"auto", "none", "minmax", "standard"}, default="auto"
        Learned on the training rows and applied to every input; "auto" is what the visible units need.
    warm_start : bool, default=False
        Fine-tune the fitted network further instead of beginning anew.
    memory : None, str or joblib.Memory, default=None
        Folder where pretraining is kept by its rows and settings, as in scikit-learn's `Pipeline`: with an integer as
        `random_state`, a search over settings of fine-tuning pretrains once a fold.
    device : {"auto", "cpu", "cuda"}, default="auto"
    precision : {"auto", "float32", "bfloat16"}, default="auto"
    verbose : bool, default=False
        Show a bar in a terminal or a notebook, and print one line an epoch elsewhere.
    random_state : int, RandomState, Generator or None, default=None

    References
    ----------
    .. [1] Hinton, G. E. & Salakhutdinov, R. R. (2006). Science 313, 504-507.
    """

    def __init__(
        self,
        hidden_layer_sizes: Any = (256, 256),
        *,
        visible_units: str = "bernoulli",
        n_gibbs_steps: int = 1,
        pretrain_epochs: Any = "auto",
        pretrain_learning_rate: Any = "auto",
        pretrain_batch_size: Any = "auto",
        pretrain_momentum: float = 0.9,
        pretrain_weight_decay: float = 2e-4,
        sparsity_target: Any = "auto",
        sparsity_cost: float = 0.1,
        kind: str | None = None,
        head_epochs: Any = "auto",
        solver: str = "adam",
        learning_rate_init: float = 1e-3,
        schedule: str = "cosine",
        momentum: float = 0.9,
        max_iter: Any = "auto",
        batch_size: Any = "auto",
        alpha: float = 0.0,
        max_norm: float | None = None,
        dropout: Any = "auto",
        input_dropout: Any = "auto",
        early_stopping: bool = False,
        validation_fraction: float = 0.1,
        n_iter_no_change: int = 10,
        tol: float = 0.0,
        scaling: str = "auto",
        warm_start: bool = False,
        memory: Any = None,
        device: str = "auto",
        precision: str = "auto",
        verbose: bool = False,
        random_state: Any = None,
    ) -> None:
        self.hidden_layer_sizes = hidden_layer_sizes
        self.visible_units = visible_units
        self.n_gibbs_steps = n_gibbs_steps
        self.pretrain_epochs = pretrain_epochs
        self.pretrain_learning_rate = pretrain_learning_rate
        self.pretrain_batch_size = pretrain_batch_size
        self.pretrain_momentum = pretrain_momentum
        self.pretrain_weight_decay = pretrain_weight_decay
        self.sparsity_target = sparsity_target
        self.sparsity_cost = sparsity_cost
        self.kind = kind
        self.head_epochs = head_epochs
        self.solver = solver
        self.learning_rate_init = learning_rate_init
        self.schedule = schedule
        self.momentum = momentum
        self.max_iter = max_iter
        self.batch_size = batch_size
        self.alpha = alpha
        self.max_norm = max_norm
        self.dropout = dropout
        self.input_dropout = input_dropout
        self.early_stopping = early_stopping
        self.validation_fraction = validation_fraction
        self.n_iter_no_change = n_iter_no_change
        self.tol = tol
        self.scaling = scaling
        self.warm_start = warm_start
        self.memory = memory
        self.device = device
        self.precision = precision
        self.verbose = verbose
        self.random_state = random_state

    def _layer_settings(self) -> LayerSettings:
        return RBMSettings(
            visible_units=self.visible_units,
            n_gibbs_steps=self.n_gibbs_steps,
            sparsity_target=self._sparsity_target(),
            sparsity_cost=self.sparsity_cost,
            training=training_settings(
                self, RBM_PARAMETERS, initial_momentum=initial_momentum(self.pretrain_momentum)
            ),
        )

    def _sparsity_target(self) -> float | None:
        if self.sparsity_target == "auto":
            return CLASSIFIER_SPARSITY if is_classifier(self) else None
        target: float | None = self.sparsity_target
        return target


@takes_classifier_parameters
class DBNClassifier(DBNEstimator, NetworkClassifier):
    __doc__ = DBNEstimator.__doc__


class DBNRegressor(DBNEstimator, NetworkRegressor):
    __doc__ = DBNEstimator.__doc__
