"""Deep Boltzmann machines in files: they come back, damage is refused by place, and commands say what they take."""

import json

import h5py
import numpy as np
import pytest
import torch
from click.testing import CliRunner
from dbm_oracles import EVERY_SIZE, small_dbm

import checkpoints
from pipelines.cli import main
from pretrain import DBM
from pretrain.exceptions import CheckpointError
from pretrain.scaling import Scaling


def make_dbm(sizes=(4, 3, 2), **options):
    dbm = small_dbm(3, sizes, dtype=torch.float32, **options)
    dbm.scaling = Scaling.fit("standard", np.random.default_rng(3).normal(3, 2, (17, sizes[0])))
    return dbm


@pytest.mark.parametrize("visible_units", ["bernoulli", "gaussian"])
@pytest.mark.parametrize("sizes", EVERY_SIZE, ids=str)
def test_models_come_back(tmp_path, sizes, visible_units):
    dbm = make_dbm(sizes, visible_units=visible_units)
    for name in ("one.h5", "two.h5"):
        checkpoints.save(dbm, tmp_path / name)
    assert (tmp_path / "one.h5").read_bytes() == (tmp_path / "two.h5").read_bytes()
    loaded = checkpoints.load(tmp_path / "one.h5")
    assert isinstance(loaded, DBM)
    assert loaded.visible_units.name == visible_units
    assert loaded.state_dict().keys() == dbm.state_dict().keys()
    assert all(torch.equal(loaded.state_dict()[name], value) for name, value in dbm.state_dict().items())
    X = np.random.default_rng(4).normal(3, 2, (7, sizes[0]))
    np.testing.assert_array_equal(loaded.scaled(X), dbm.scaled(X))


def test_what_a_file_tells(tmp_path):
    checkpoints.save(make_dbm(), tmp_path / "dbm.h5", history=[{"stage": "joint", "epoch": 1}])
    told = checkpoints.describe(tmp_path / "dbm.h5")
    assert (told["kind"], told["model"], told["scaling"]) == ("dbm", "dbm", "standard")
    assert told["n_parameters"] == 4 + 4 * 3 + 3 + 3 * 2 + 2
    assert told["layers"] == [
        {"kind": "undirected", "n_visible": 4, "n_hidden": 3, "visible_units": "bernoulli", "n_parameters": 19},
        {"kind": "undirected", "n_visible": 3, "n_hidden": 2, "visible_units": "bernoulli", "n_parameters": 8},
    ]
    assert checkpoints.verify(tmp_path / "dbm.h5")


def text(value):
    return np.array(value.encode(), dtype=h5py.string_dtype("utf-8", len(value.encode())))


def sizes(n_visible, n_hidden):
    return text(json.dumps({"n_visible": n_visible, "n_hidden": n_hidden}))


def units(name):
    return text(json.dumps({"visible_units": name}))


def add_layer(file):
    file.copy("dbm/layers/01", "dbm/layers/02")
    file["dbm/layers"].attrs["count"] = 3


DAMAGE = [
    (lambda f: f["dbm"].attrs.create("config", units("gaussian_learned")), "no generative layer of gaussian_learned"),
    (lambda f: f["dbm"].attrs.create("config", units("bernoulli:3+gaussian:2")), "/dbm/layers/00 cannot be used"),
    (lambda f: f["dbm"].attrs.create("config", units("magnetic")), "visible_units of a dbm"),
    (lambda f: f["dbm/layers/00"].attrs.create("config", sizes(4, 2)), r"weight must have shape \(2, 4\)"),
    (lambda f: f["dbm/layers/00"].attrs.create("config", sizes(4, 0)), "n_hidden of undirected must be an integer"),
    (lambda f: f["dbm/layers/00"].attrs.create("kind", text("rbm")), "/dbm/layers/00 is of kind 'rbm'"),
    (add_layer, "Layer 3 of /dbm must have the 2 units of the layer below as visible units; got 3"),
    (lambda f: f.__delitem__("dbm/layers/00/visible_bias"), "/dbm/layers/00 lacks the dataset 'visible_bias'"),
    (lambda f: f["dbm/layers/01"].create_dataset("visible_bias", data=np.zeros(3, "f4")), "unexpected dataset"),
    (lambda f: f["dbm/layers/01/weight"].__setitem__((0, 0), np.nan), "01/weight must hold finite numbers"),
]


@pytest.mark.parametrize(("change", "words"), DAMAGE, ids=[words for _, words in DAMAGE])
def test_damaged_files_are_refused_with_the_place(tmp_path, change, words):
    checkpoints.save(make_dbm(), tmp_path / "dbm.h5")
    with h5py.File(tmp_path / "dbm.h5", "r+") as file:
        change(file)
    with pytest.raises(CheckpointError, match=words):
        checkpoints.load(tmp_path / "dbm.h5")


COMMANDS = {
    "evaluate dbm.h5 digits": "holds a deep Boltzmann machine, which `pretrain inspect` alone takes",
    "evaluate dbm.h5 digits --likelihood": "deep Boltzmann machine",
    "plot filters dbm.h5 -o a.png": "deep Boltzmann machine",
    "plot reconstructions dbm.h5 --data digits -o a.png": "deep Boltzmann machine",
    "sample dbm.h5 -o a.png": "deep Boltzmann machine",
    "finetune dbm.h5 digits -o net.h5": "holds a DBM; finetune takes a stack",
    "inspect dbm.h5 --health digits": "holds a DBM; --health takes a stack",
    "export dbm.h5 -o a.pt --to torch": "A DBM is a generative model",
}


def test_commands_say_that_they_do_not_take_it(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    checkpoints.save(make_dbm(), "dbm.h5")
    for command, words in COMMANDS.items():
        result = CliRunner().invoke(main, command.split())
        assert result.exit_code == 2, result.output
        assert words in " ".join(result.output.split())
    told = CliRunner().invoke(main, ["inspect", "dbm.h5", "--json"])
    assert json.loads(told.output)["kind"] == "dbm"
