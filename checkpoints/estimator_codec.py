"""How a fitted estimator is stored: its class by name, its parameters, its model, its fitted attributes.

The class is looked up among `pretrain.estimators.__all__`; a file never names anything that is imported.
"""

from typing import Any

import numpy as np
from sklearn.exceptions import NotFittedError

import pretrain.estimators
from checkpoints import format as spec
from checkpoints.documents import document_array, read_document, read_document_array, tag, untag
from checkpoints.label_arrays import build_labels, check_labels, encode_labels
from checkpoints.requirements import blaming, require_attribute, require_keys, require_kind, require_names
from checkpoints.tree import Group, new_object
from pretrain.exceptions import CheckpointError

KIND, VERSION = "estimator", 1
CLASS, MODEL = "class", "model"
ATTRIBUTES, ARRAYS = "attributes", "arrays"

ESTIMATORS: dict[str, Any] = {name: getattr(pretrain.estimators, name) for name in pretrain.estimators.__all__}


def fitted_state(estimator: Any) -> dict[str, Any]:
    """The model, attributes and history of a fitted estimator; CheckpointError where it is not fitted."""
    try:
        return estimator.fitted_state()
    except NotFittedError as error:
        raise CheckpointError(f"The {type(estimator).__name__} is not fitted; call fit before saving it.") from error


def encode_estimator(estimator: Any, attributes: dict[str, Any]) -> Group:
    """The group of an estimator, short of its model, which has a group of its own beside this one."""
    name = type(estimator).__name__
    params = {
        key: tag(value, f"The parameter {key!r} of {name}") for key, value in estimator.get_params(deep=False).items()
    }
    require_names(attributes, f"the attributes of {name}")
    arrays, plain = Group(), {}
    for key, value in attributes.items():
        owner = f"The attribute {key!r} of {name}"
        if isinstance(value, np.ndarray):
            arrays.groups[key] = encode_labels(value, owner)
        else:
            plain[key] = tag(value, owner)
    group = new_object(KIND, VERSION, params, groups={ARRAYS: arrays})
    group.attributes[CLASS] = name
    group.datasets[ATTRIBUTES] = document_array(plain, f"the attributes of {name}")
    return group


def check_estimator(group: Group, path: str) -> dict[str, Any]:
    """Raise unless the group is a legal estimator; its class and parameters."""
    require_kind(group, path, {KIND: VERSION})
    require_keys(
        group,
        path,
        attributes=(spec.KIND, spec.KIND_VERSION, spec.CONFIG, CLASS),
        datasets=(ATTRIBUTES,),
        groups=(ARRAYS,),
    )
    name = require_attribute(group, path, CLASS, str)
    if name not in ESTIMATORS:
        raise CheckpointError(
            f"The attribute {CLASS!r} of {path} must be one of {', '.join(sorted(ESTIMATORS))}; got {name!r}."
        )
    params = _params(group, path)
    legal = ESTIMATORS[name]().get_params(deep=False)
    for key in params:
        if key not in legal:
            raise CheckpointError(f"{name} in {path} has no parameter {key!r}; it has {', '.join(legal)}.")
    require_names(_plain_attributes(group, path), f"{path}/{ATTRIBUTES}")
    arrays = group.groups[ARRAYS]
    require_names(arrays.groups, f"{path}/{ARRAYS}")
    require_keys(arrays, f"{path}/{ARRAYS}", groups=arrays.groups)
    for key, array in arrays.groups.items():
        check_labels(array, f"{path}/{ARRAYS}/{key}")
    return {"class": name, "params": params}


def build_estimator(group: Group, path: str, model: Any, history: list[dict[str, Any]]) -> Any:
    """The fitted estimator of a checked group around its model."""
    arrays = {
        key: build_labels(array, f"{path}/{ARRAYS}/{key}") for key, array in group.groups[ARRAYS].groups.items()
    }
    state = {"model": model, "attributes": {**_plain_attributes(group, path), **arrays}, "history": history}
    with blaming(path):
        return ESTIMATORS[str(group.attributes[CLASS])].from_fitted_state(_params(group, path), state)


def _params(group: Group, path: str) -> dict[str, Any]:
    where = f"the attribute {spec.CONFIG!r} of {path}"
    params = read_document(require_attribute(group, path, spec.CONFIG, str), where)
    if not isinstance(params, dict):
        raise CheckpointError(f"{where} must be a JSON object; got {type(params).__name__}.")
    return {key: untag(value, f"{key!r} in {where}") for key, value in params.items()}


def _plain_attributes(group: Group, path: str) -> dict[str, Any]:
    document = read_document_array(group.datasets[ATTRIBUTES], f"{path}/{ATTRIBUTES}")
    return {key: untag(value, f"{key!r} in {path}/{ATTRIBUTES}") for key, value in document.items()}
