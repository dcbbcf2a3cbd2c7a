"""Names for groups of columns, and the activations of layers that are made of several types of units."""

import pytest
import torch

from pretrain.activations import ACTIVATIONS, LAYER_ACTIVATIONS, activation_function, require_activation
from pretrain.column_groups import ColumnGroup, group_names, parse_groups, require_groups
from pretrain.exceptions import SettingsError

CHOICES = ("red", "dark_blue")


def test_groups_are_counted_from_the_left():
    groups = parse_groups("columns", "red:3+dark_blue:2+red:1", 6, CHOICES)
    assert groups == [
        ColumnGroup("red", slice(0, 3)),
        ColumnGroup("dark_blue", slice(3, 5)),
        ColumnGroup("red", slice(5, 6)),
    ]
    assert [group.width for group in groups] == [3, 2, 1]
    assert group_names("red:3+dark_blue:2+red:1") == ["red", "dark_blue", "red"]


@pytest.mark.parametrize("text", ["red", "red:6", "red:06"])
def test_one_group_may_be_a_bare_name(text):
    assert parse_groups("columns", text, 6, CHOICES) == [ColumnGroup("red", slice(0, 6))]
    assert group_names(text) == ["red"]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("green", "columns must be one of red, dark_blue, or name:width.name:width of them; got 'green'"),
        ("", "columns must be one of red, dark_blue, .*got ''"),
        ("red:3+green:3", r"columns must be one of red, dark_blue, .*got 'red:3\+green:3'"),
        ("red+dark_blue", r"name:width\+name:width of them; got 'red\+dark_blue'"),
        ("red:3+dark_blue", r"name:width\+name:width of them; got 'red:3\+dark_blue'"),
        ("red:3+", "columns must be one of"),
        ("+red:3", "columns must be one of"),
        (" red", "columns must be one of"),
        (":6", "columns must be one of"),
        *(
            (f"red:{width}", f"columns must have a width of 1 or more after each colon; got 'red:{width}'")
            for width in ("", "0", "-1", "x", " 6", "6 ", "6.0", "6:1", "1_0", "٣", "²")
        ),
        ("red:5", "columns 'red:5' describe 5 columns, but there are 6"),
        ("red:3+dark_blue:4", r"columns 'red:3\+dark_blue:4' describe 7 columns, but there are 6"),
        (None, "columns must be one of red, dark_blue; got None"),
        (3, "columns must be one of red, dark_blue; got 3"),
        (["red"], "columns must be one of red, dark_blue; got "),
    ],
)
def test_what_describes_no_columns(text, message):
    with pytest.raises(SettingsError, match=message):
        parse_groups("columns", text, 6, CHOICES)


def test_without_a_number_of_columns_the_sum_is_open():
    require_groups("columns", "red:3+dark_blue:400", CHOICES)
    with pytest.raises(SettingsError, match=r"columns must be one of red, or name:width\+name"):
        require_groups("columns", "red:3+dark_blue:4", ("red",))


def test_every_activation_acts_on_its_own_columns(generator):
    x = torch.randn(5, 7, generator=generator, dtype=torch.float64)
    kept = x.clone()
    found = activation_function("sigmoid:2+softmax:3+identity:1+relu:1")(x)
    expected = [
        1 / (1 + torch.exp(-x[:, :2])),
        x[:, 2:5].exp() / x[:, 2:5].exp().sum(dim=1, keepdim=True),
        x[:, 5:6],
        x[:, 6:].clamp(min=0),
    ]
    torch.testing.assert_close(found, torch.cat(expected, dim=1))
    assert torch.equal(x, kept)
    # Groups of softmax columns are normalised each by itself, and widths count for other leading dimensions too.
    groups = activation_function("softmax:3+softmax:4")(x)
    torch.testing.assert_close(groups[:, :3].sum(dim=1), torch.ones(5, dtype=torch.float64))
    torch.testing.assert_close(groups[:, 3:].sum(dim=1), torch.ones(5, dtype=torch.float64))
    assert torch.equal(activation_function("tanh:3+identity:4")(x[0]), activation_function("tanh:3+identity:4")(x)[0])


@pytest.mark.parametrize("name", LAYER_ACTIVATIONS)
def test_a_bare_name_is_the_function_itself(name, generator):
    x = torch.randn(5, 3, generator=generator)
    assert activation_function(name) is LAYER_ACTIVATIONS[name]
    assert torch.equal(activation_function(f"{name}:3")(x), LAYER_ACTIVATIONS[name](x))


def test_gradients_pass_through_every_group(generator):
    x = torch.randn(5, 6, generator=generator, dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradcheck(activation_function("sigmoid:2+softmax:3+softplus:1"), [x])


def test_illegal_activations():
    assert "softmax" not in ACTIVATIONS  # a function of several columns is none of single units
    for name in ("mish", "sigmoid+tanh", "sigmoid:0", None):
        with pytest.raises(SettingsError, match=r"activation must (be one of sigmoid, tanh|have a width)"):
            activation_function(name)
        with pytest.raises(SettingsError, match=r"activations of a network must (be one of sigmoid, |have a width)"):
            require_activation("activations of a network", name)
    with pytest.raises(SettingsError, match=r"activation 'sigmoid:2\+tanh:3' describe 5 columns, but there are 4"):
        activation_function("sigmoid:2+tanh:3")(torch.zeros(1, 4))
