"""What an estimator shows: its layers in a notebook, the progress of its training."""

import io
import sys
from html.parser import HTMLParser

import pytest
from IPython.core.formatters import DisplayFormatter
from sklearn import config_context
from small_estimators import every_estimator, every_pretrained, every_supervised, fitted, make, rows, targets

from pretrain.estimators.progress_line import LINE


class Table(HTMLParser):
    """The cells of the table of layers, row by row."""

    def __init__(self, html):
        super().__init__()
        self.rows, self.inside, self.cell = [], False, False
        self.feed(html)

    def handle_starttag(self, tag, attributes):
        self.inside |= ("class", "pretrain-layers") in attributes
        self.cell = self.inside and tag in ("td", "th")
        if self.inside and tag == "tr":
            self.rows.append([])
        if self.cell:
            self.rows[-1].append("")

    def handle_endtag(self, tag):
        self.inside &= tag != "table"
        self.cell = False

    def handle_data(self, data):
        if self.cell:
            self.rows[-1][-1] += data


def table(estimator):
    bundle = estimator._repr_mimebundle_()
    assert bundle["text/plain"] == repr(estimator)
    assert "sk-top-container" in bundle["text/html"]  # scikit-learn's own picture stands above
    return Table(bundle["text/html"]).rows


class TestHtml:
    @every_estimator
    def test_before_and_after_a_fit(self, name):
        planned = table(make(name))
        assert planned[0] == ["layer", "units", "parameters", "state"]
        assert {row[3] for row in planned[1:]} == {"not fitted"}
        found = table(fitted(name))
        assert [row[1] for row in found[1:]][: len(planned) - 1] == [row[1] for row in planned[1:]]
        assert all(int(row[2]) > 0 for row in found[1:])
        model = fitted(name).fitted_state()["model"]
        assert sum(int(row[2]) for row in found[1:]) == sum(p.numel() for p in model.parameters())

    def test_a_pretrained_network(self):
        assert table(fitted("DBNClassifier", head_epochs=1))[1:] == [
            ["hidden 1, sigmoid", "5", "40", "pretrained, fine-tuned"],
            ["hidden 2, sigmoid", "3", "18", "pretrained, fine-tuned"],
            ["output, softmax", "3", "12", "trained alone, fine-tuned"],
        ]
        untrained = fitted("DBNClassifier", pretrain_epochs=0, max_iter=0)
        assert {row[3] for row in table(untrained)[1:]} == {"not trained"}
        assert {row[3] for row in table(fitted("ScratchRegressor"))[1:]} == {"trained from scratch"}
        assert {row[3] for row in table(fitted("StackTransformer"))[1:]} == {"pretrained"}

    def test_units_that_are_none(self):
        assert table(make("DBNClassifier", hidden_layer_sizes=("<script>", 7)))[1:] == [
            ["hidden 1", "7", "", "not fitted"]
        ]
        assert table(make("DBNClassifier", hidden_layer_sizes=None)) == []

    def test_as_scikit_learn_is_told_to(self):
        with config_context(display="text"):
            assert list(fitted("DBNClassifier")._repr_mimebundle_()) == ["text/plain"]
            assert not hasattr(fitted("DBNClassifier"), "_repr_html_")
        data, _ = DisplayFormatter().format(fitted("DBNClassifier"))
        assert "pretrain-layers" in data["text/html"]
        assert "pretrain-layers" in fitted("DBNClassifier")._repr_html_()


class Terminal(io.StringIO):
    def isatty(self):
        return True


Notebook = type("Notebook", (io.StringIO,), {"__module__": "ipykernel.iostream"})


class TestProgress:
    @pytest.mark.parametrize("stream", [Terminal, Notebook])
    @every_pretrained
    def test_a_bar_that_moves(self, name, stream, monkeypatch):
        monkeypatch.setattr(sys, "stdout", stream())
        found = fitted(name, verbose=True)
        written = sys.stdout.getvalue()
        monkeypatch.undo()
        assert written.endswith("\n")
        lines = written[:-1].split("\n")
        assert len(lines) == 3  # two layers and fine-tuning
        shown = [state for line in lines for state in line.split("\r")[1:]]
        assert len(shown) == len(found.report_)
        assert all(len(state) <= LINE for state in shown)
        assert f"{name} pretrain layer 1 [##########----------] 1/2 loss" in shown[0]
        assert f"{name} finetune [####################] 3/3 loss {found.loss_curve_[-1]:.4g}" in shown[-1]

    @every_supervised
    def test_a_run_that_stops_early_leaves_its_line(self, name, monkeypatch):
        monkeypatch.setattr(sys, "stdout", Terminal())
        fitted(name, verbose=True, early_stopping=True, tol=1e6, n_iter_no_change=2, max_iter=50)
        assert sys.stdout.getvalue().endswith("\n")
        make(name, verbose=True, max_iter=0).fit(rows(), targets(name, rows()))  # no epoch, no line
