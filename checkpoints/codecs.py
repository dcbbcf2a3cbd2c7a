"""A whole checkpoint as a tree: the header, the object, its history and its provenance.

A new kind of object is one codec module and one row in `MODEL_CODECS`.
"""

import dataclasses
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from checkpoints import format as spec
from checkpoints.dbm_codec import build_dbm, check_dbm, encode_dbm
from checkpoints.dbn_codec import build_dbn, check_dbn, encode_dbn
from checkpoints.documents import document_array, read_document_array
from checkpoints.estimator_codec import (
    ESTIMATORS,
    build_estimator,
    check_estimator,
    encode_estimator,
    fitted_state,
)
from checkpoints.history import build_history, check_history, encode_history
from checkpoints.image_codec import build_image_network, check_image_network, encode_image_network
from checkpoints.network_codec import build_network, check_network, encode_network
from checkpoints.requirements import require_keys
from checkpoints.run_state import RunState, build_run_state, check_run_state, encode_run_state
from checkpoints.stack_codec import build_stack, check_stack, encode_stack
from checkpoints.tree import (
    BackgroundDigests,
    Group,
    digest_of_table,
    digest_of_version_1,
    digests_of,
    digests_of_version_2,
    no_digests,
)
from pretrain import __version__
from pretrain.dbm import DBM
from pretrain.dbn import DBN
from pretrain.exceptions import CheckpointError, FormatVersionError
from pretrain.image_networks import ImageNetwork
from pretrain.network import Network
from pretrain.stack import Stack


@dataclasses.dataclass(frozen=True)
class ModelCodec:
    """One kind of object in files: object to group, group to what is wrong with it or its layers, group to object."""

    model: type
    encode: Callable[[Any], Group]
    check: Callable[[Group, str], list[dict[str, Any]]]
    build: Callable[[Group, str], Any]


MODEL_CODECS: dict[str, ModelCodec] = {
    spec.STACK: ModelCodec(Stack, encode_stack, check_stack, build_stack),
    spec.IMAGE_NETWORK: ModelCodec(
        ImageNetwork, encode_image_network, check_image_network, build_image_network
    ),  # before its base
    spec.NETWORK: ModelCodec(Network, encode_network, check_network, build_network),
    spec.DBN: ModelCodec(DBN, encode_dbn, check_dbn, build_dbn),
    spec.DBM: ModelCodec(DBM, encode_dbm, check_dbm, build_dbm),
    spec.TRAINING: ModelCodec(RunState, encode_run_state, check_run_state, build_run_state),
}
KINDS = (*MODEL_CODECS, spec.ESTIMATOR)


def encode_root(obj: Any, history: Sequence[Mapping[str, Any]], provenance: Mapping[str, Any] | None) -> Group:
    """The tree of a checkpoint of `obj`, which `seal` has to check and to put the digests into."""
    name = type(obj).__name__
    kind = _model_kind(obj)
    groups: dict[str, Group] = {}
    if kind is not None:
        groups[kind] = MODEL_CODECS[kind].encode(obj)
    elif ESTIMATORS.get(name) is type(obj):
        kind, state = spec.ESTIMATOR, fitted_state(obj)
        groups[spec.ESTIMATOR] = encode_estimator(obj, state["attributes"])
        history = history or state["history"]
        model_kind = _model_kind(state["model"])
        assert model_kind is not None
        groups[model_kind] = MODEL_CODECS[model_kind].encode(state["model"])
    else:
        raise CheckpointError(
            f"A checkpoint holds a Stack, a Network, a DBN, a DBM, a fitted estimator of pretrain.estimators "
            f"({', '.join(sorted(ESTIMATORS))}) or a RunState; got {name}."
        )
    groups[spec.HISTORY] = encode_history(list(history))
    root = Group(_header(kind), groups=groups)
    if provenance is not None:
        root.datasets[spec.PROVENANCE] = document_array(provenance, "The provenance")
    put_digests(root, no_digests(root))
    return root


def seal(root: Group) -> None:
    """Raise unless the tree can be loaded, and put the digests of everything in it in the place of others."""
    with BackgroundDigests() as background:
        background.begin(root)
        check_root(root)
        put_digests(root, background.of(root))


def put_digests(root: Group, table: dict[str, str]) -> None:
    """Make these the digests of a tree."""
    root.datasets[spec.DIGESTS] = document_array(table, "The digests")
    root.attributes[spec.DIGEST] = digest_of_table(root.datasets[spec.DIGESTS])


def check_header(attributes: Mapping[str, Any]) -> None:
    """Raise unless the root's attributes say that this is a checkpoint of a version and kind that we read."""
    if attributes.get("format") != spec.FORMAT:
        raise CheckpointError(
            f"The file is HDF5, but no checkpoint: the root attribute 'format' must be {spec.FORMAT!r}; "
            f"got {attributes.get('format')!r:.100}."
        )
    version = attributes.get("format_version")
    if type(version) is not int or version < 1:
        raise CheckpointError(f"The root attribute 'format_version' must be an integer from 1; got {version!r:.100}.")
    if version > spec.FORMAT_VERSION:
        raise FormatVersionError(
            f"The file is in version {version} of the format, written by {attributes.get('created_by')!r:.100}; "
            f"this is pretrain {__version__}, which reads up to version {spec.FORMAT_VERSION}. Update pretrain."
        )
    if attributes.get("kind") not in KINDS:
        raise CheckpointError(
            f"The root attribute 'kind' must be one of {', '.join(KINDS)}; got {attributes.get('kind')!r:.100}."
        )


def check_root(root: Group) -> dict[str, Any]:
    """Raise unless the tree is a checkpoint in every member, setting, shape, type and number; what it holds.

    The digest is not looked at: a wrong member is better named than told by it.
    """
    check_header(root.attributes)
    kind, model = _kinds(root)
    groups = (model, spec.HISTORY) + ((spec.ESTIMATOR,) if kind == spec.ESTIMATOR else ())
    require_keys(
        root,
        "/",
        attributes=spec.ROOT_ATTRIBUTES,
        datasets=(spec.DIGESTS,) if root.attributes["format_version"] != 1 else (),
        groups=groups,
        optional_datasets=(spec.PROVENANCE,),
    )
    layers = MODEL_CODECS[model].check(root.groups[model], f"/{model}")
    estimator = {}
    if kind == spec.ESTIMATOR:
        estimator = check_estimator(root.groups[spec.ESTIMATOR], f"/{spec.ESTIMATOR}")
    check_history(root.groups[spec.HISTORY], f"/{spec.HISTORY}")
    build_provenance(root)
    return {"kind": kind, "model": model, "layers": layers, "estimator": estimator or None}


def check_digest(root: Group, of_datasets: Mapping[str, str]) -> None:
    """Raise unless the tree, whose datasets have these digests, has those that the file tells; the first is named."""
    stored, version = root.attributes[spec.DIGEST], root.attributes["format_version"]
    if version == 1:
        _require_digest("The content", stored, digest_of_version_1(root))
        return
    where = f"/{spec.DIGESTS}"
    _require_digest(where, stored, digest_of_table(root.datasets[spec.DIGESTS]))
    table = read_document_array(root.datasets[spec.DIGESTS], where)
    found = digests_of_version_2(root) if version == 2 else digests_of(root, of_datasets)
    if set(table) != set(found):
        raise CheckpointError(
            f"{where} must name every group and dataset; it differs in "
            f"{', '.join(sorted(set(table) ^ set(found))):.300}."
        )
    for path, value in found.items():
        _require_digest(path, table[path], value)


def _require_digest(where: str, stored: Any, found: str) -> None:
    if stored != found:
        raise CheckpointError(
            f"{where} does not have the digest that the file tells: expected {stored!r:.80}, got {found!r}. It has "
            "been damaged or changed; take another copy of the file."
        )


def build_root(root: Group) -> Any:
    """The object of a checked tree."""
    kind, model = _kinds(root)
    built = MODEL_CODECS[model].build(root.groups[model], f"/{model}")
    if kind != spec.ESTIMATOR:
        return built
    history = build_history(root.groups[spec.HISTORY], f"/{spec.HISTORY}")
    return build_estimator(root.groups[spec.ESTIMATOR], f"/{spec.ESTIMATOR}", built, history)


def build_provenance(root: Group) -> dict[str, Any] | None:
    """The provenance as it was given, with lists for tuples; None where none was."""
    if spec.PROVENANCE not in root.datasets:
        return None
    return read_document_array(root.datasets[spec.PROVENANCE], f"/{spec.PROVENANCE}")


def _header(kind: str) -> dict[str, str | int]:
    return {
        "format": spec.FORMAT,
        "format_version": spec.FORMAT_VERSION,
        "kind": kind,
        "created_by": f"pretrain {__version__}",
    }


def _kinds(root: Group) -> tuple[str, str]:
    kind = str(root.attributes["kind"])
    if kind != spec.ESTIMATOR:
        return kind, kind
    return kind, next((name for name in MODEL_CODECS if name in root.groups), spec.NETWORK)


def _model_kind(obj: Any) -> str | None:
    return next((kind for kind, codec in MODEL_CODECS.items() if isinstance(obj, codec.model)), None)
