"""The page of a comparison: complete, true to its records, self-contained, safe and accessible."""

import base64
import copy
import html
import re
import xml.etree.ElementTree as ElementTree
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from comparison_results import ARMS, make_results

from pipelines.report import render_report, render_text, write_report
from pipelines.statistics import summarise
from pipelines.summary_tables import format_costs, format_table
from pipelines.verdict import verdict
from pretrain.exceptions import DataError

VOID = {"meta", "img", "br", "hr", "link", "input"}


@pytest.fixture
def results() -> dict[str, Any]:
    return make_results()


@pytest.fixture
def small() -> dict[str, Any]:
    """One budget: quicker to draw."""
    return make_results(labels=("all",), seeds=2)


@pytest.fixture
def filters() -> dict[str, np.ndarray]:
    rng = np.random.default_rng(0)
    return {arm: rng.normal(size=(19, 64)) for arm in ARMS}


class Page(HTMLParser):
    """Every element of a page with its attributes, its text, and whether its tags match."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.elements: list[tuple[str, dict[str, str | None]]] = []
        self.words: list[str] = []
        self._open: list[str] = []
        self.feed(page)
        self.close()
        assert self._open == []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.append((tag, dict(attrs)))
        if tag not in VOID:
            self._open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.append((tag, dict(attrs)))

    def handle_endtag(self, tag: str) -> None:
        assert self._open.pop() == tag

    def handle_data(self, data: str) -> None:
        if self._open and self._open[-1] not in ("style", "title"):
            self.words += data.split()

    def all(self, tag: str) -> list[dict[str, str | None]]:
        return [attributes for name, attributes in self.elements if name == tag]

    @property
    def text(self) -> str:
        return " ".join(self.words)  # no-break spaces become spaces, too


def test_page_says_what_the_records_say(results: dict[str, Any], filters: dict[str, np.ndarray]) -> None:
    text = Page(render_report(results, filters)).text
    rows = summarise(results["records"], ARMS)
    for sentence in verdict(rows):
        assert sentence in text
    for line in (*format_table(rows), *format_costs(rows)):
        assert " ".join(line) in text
    for fact in ("Abacus 9000", "2.13.0", "d1" * 32, "19, 11", results["command"], "about relu-bn", "0, 1, 2"):
        assert fact in text
    assert "favours the side with more arms" in text
    assert "finetuning" in text
    assert "training.learning_rate 0.001 0.001 0.001" in text
    assert "not finished" not in text


def test_page_comes_in_its_order(results: dict[str, Any], filters: dict[str, np.ndarray]) -> None:
    page = render_report(results, filters)
    headings = [
        "<h1>",
        "Results",
        "Errors and time",
        "Cost",
        "Learning curves",
        "First-layer filters",
        "Arms",
        "Provenance",
    ]
    places = [page.index(f"<h2>{heading}" if heading != "<h1>" else heading) for heading in headings]
    assert places == sorted(places)
    assert page.index("is better than") < page.index("<h2>Results")


def test_page_fetches_nothing_and_runs_nothing(results: dict[str, Any], filters: dict[str, np.ndarray]) -> None:
    page = render_report(results, filters)
    parsed = Page(page)
    assert parsed.all("script") == parsed.all("link") == parsed.all("iframe") == []
    for _, attributes in parsed.elements:
        assert not any(name.startswith("on") for name in attributes)
        for name in ("src", "href", "xlink:href"):
            assert (attributes.get(name) or "#").startswith(("#", "data:image/png;base64,"))
    assert all(target.startswith("#") for target in re.findall(r"url\(([^)]*)\)", page))
    assert "@import" not in page


def test_every_picture_has_a_caption_and_a_text_alternative(
    results: dict[str, Any], filters: dict[str, np.ndarray]
) -> None:
    page = render_report(results, filters)
    parsed = Page(page)
    svgs = re.findall(r"<svg.*?</svg>", page, flags=re.DOTALL)
    # labels, seconds a budget, curves at all labels, supervised ones at 30, gradients, activations
    assert len(svgs) == 1 + 2 + 3 + 1 + 4 + 3
    for svg in svgs:
        assert ElementTree.fromstring(svg).get("aria-label")
    images = parsed.all("img")
    filters_of = [f"The first 19 of 19 first-layer filters of {arm}." for arm in ARMS]
    assert [image["alt"] for image in images[:3]] == filters_of
    assert all(f"{arm}: " in (image["alt"] or "") for arm, image in zip(ARMS, images[3:], strict=True))
    assert "6 of 33 test rows confused; most often odd as even (3), even as odd (3)" in (images[3]["alt"] or "")
    assert all(base64.b64decode((image["src"] or "").split(",")[1]).startswith(b"\x89PNG") for image in images)
    assert len(parsed.all("figure")) == len(parsed.all("figcaption")) == 8
    ids = re.findall(r'\bid="([^"]*)"', page)
    assert len(ids) == len(set(ids))


def test_names_and_paths_are_text_and_never_markup(small: dict[str, Any], filters: dict[str, np.ndarray]) -> None:
    evil = '<script>alert("1")</script>'
    text = html.escape(evil)
    hostile = copy.deepcopy(small)
    hostile["name"] = hostile["command"] = hostile["data"]["name"] = hostile["machine"]["processor"] = evil
    hostile["settings"]["arms"] = {
        evil if arm == "dbn" else arm: {**about, "summary": evil} for arm, about in small["settings"]["arms"].items()
    }
    for record in hostile["records"]:
        record["arm"] = evil if record["arm"] == "dbn" else record["arm"]
    page = render_report(hostile, {evil: filters["dbn"]})
    assert "<script" not in page
    assert Page(page).all("script") == []
    assert page.count(text) + page.count(text.replace("&#34;", "&quot;")) > 8


def test_curves_are_means_over_the_seeds(results: dict[str, Any], monkeypatch: pytest.MonkeyPatch) -> None:
    drawn: list[dict[str, list[dict[str, Any]]]] = []
    monkeypatch.setattr("pipelines.report_figures.curves_figures", lambda histories: drawn.append(histories) or [])
    for record in results["records"]:  # seed 1 stops early
        if record["seed"] == 1:
            record["history"] = [entry for entry in record["history"] if entry["epoch"] < 3]
    render_report(results, {})
    largest, smallest = drawn
    losses = {(r["stage"], r["layer"], r["epoch"]): r["loss"] for r in largest["dbn"]}
    assert losses["finetune", None, 1] == pytest.approx(np.mean([2, 3, 4]))
    assert losses["pretrain", 1, 3] == pytest.approx(np.mean([2, 4]) / 3)
    assert {r["stage"] for r in smallest["dbn"]} == {"finetune"}


def test_figures_of_several_seeds_are_means(results: dict[str, Any], monkeypatch: pytest.MonkeyPatch) -> None:
    drawn: list[dict[str, Any]] = []
    monkeypatch.setattr(
        "pipelines.report_figures.gradient_flow_figures", lambda points, _: drawn.append(points) or []
    )
    for record in results["records"]:
        record["diagnostics"][0]["gradient_norms"] = [float(record["seed"]), 1.0, 1.0]
        if record["seed"] == 2:
            del record["diagnostics"][-1]  # another number of epochs: no mean can be taken with it
    render_report(results, {})
    assert drawn[0]["dbn"][0]["gradient_norms"] == [0.5, 1.0, 1.0]
    assert [point["epoch"] for point in drawn[0]["dbn"]] == [0, 1, 3]


def test_seconds_of_several_jobs_are_not_those_of_one(small: dict[str, Any]) -> None:
    assert "at a time, so that" not in render_text(small)
    small["n_jobs"] = 3
    assert "3 cells were trained at a time, so that each took longer" in render_text(small)


def test_cells_of_an_earlier_version_have_no_figures(small: dict[str, Any]) -> None:
    for record in small["records"]:
        del record["diagnostics"], record["confusion"]
    page = render_report(small, {})
    assert "Gradients and activations" not in page
    assert "Confusions" not in page


def test_one_budget_is_shown_by_arm(filters: dict[str, np.ndarray]) -> None:
    page = render_report(make_results(labels=("all",)), filters)
    assert "Mean test error (%) by arm." in page
    assert "against the number of labels" not in page


def test_one_seed_supports_nothing(filters: dict[str, np.ndarray]) -> None:
    text = Page(render_report(make_results(seeds=1), filters)).text
    assert "in 1 seed, which supports no statement" in text
    assert not re.search(r"\bnan\b", text)


def test_unfinished_comparisons_are_shown_as_such(results: dict[str, Any]) -> None:
    results["records"] = [r for r in results["records"] if r["seed"] == 0 or r["arm"] == "relu"][:7]
    assert "not finished: 7 of 18 cells" in Page(render_report(results, {})).text
    results["records"] = []
    text = Page(render_report(results, {})).text
    assert "not finished: 0 of 18 cells" in text
    assert "nothing to say yet" in text


def test_regression_has_the_units_of_the_target(small: dict[str, Any]) -> None:
    small["data"].update(task="regression", n_classes=None)
    text = Page(render_report(small, {})).text
    assert "root of the mean squared error over the test rows, in the units of the target" in text
    assert "test root mean squared error (units of the target) ± std" in text
    assert "test error (%)" not in text
    assert "points" not in text


def test_filters_of_no_images_are_drawn(small: dict[str, Any], filters: dict[str, np.ndarray]) -> None:
    small["data"]["image_shape"] = None
    assert len(Page(render_report(small, filters)).all("img")) == 3 + 3
    assert "First-layer filters" not in render_report(small, {})


def test_use_of_test_and_validation_rows_is_told(small: dict[str, Any]) -> None:
    text = Page(render_report(small, {})).text
    assert "The 360 test rows were drawn from the data by the split's seed and trained nothing" in text
    assert "No validation rows were read" in text
    small["split"].update(test_source="own", n_validation=143)
    for record in small["records"]:
        record["history"] = [{**entry, "validation_loss": 1.0} for entry in record["history"]]
    text = Page(render_report(small, {})).text
    assert "The 360 test rows are the data's own" in text
    assert "The 143 validation rows trained nothing; they drew the validation curves and chose nothing" in text
    small["settings"]["arms"]["relu"]["settings"]["finetuning"]["training"]["early_stopping"] = True
    assert "chose the epoch that counts in relu." in Page(render_report(small, {})).text
    trials = [{"settings": {}, "validation_error": 5.0, "seconds": 1.0}] * 3
    small["searches"] = [{"arm": "relu", "labels": "all", "space": {}, "trials": trials}]
    text = Page(render_report(small, {})).text
    assert "chose the settings of every arm, each of 3 trials and the epoch that counts in relu." in text


def test_missing_parts_are_named(results: dict[str, Any]) -> None:
    del results["split"], results["versions"]
    with pytest.raises(DataError, match=r"split, versions is missing; give records\.json"):
        render_report(results, {})


def test_pages_of_images_stay_small(small: dict[str, Any]) -> None:
    noise = np.random.default_rng(0).normal(size=(500, 784))  # compresses worst
    small["data"].update(image_shape=[28, 28])
    page = render_report(small, {f"arm {n}": noise for n in range(7)})
    assert len(page.encode()) < 3e6


def test_write_replaces_the_files_and_is_repeatable(small: dict[str, Any], tmp_path: Path) -> None:
    (tmp_path / "report.html").write_text("old")
    write_report(small, {}, tmp_path)
    assert (tmp_path / "report.html").read_text(encoding="utf-8") == render_report(small, {})
    assert (tmp_path / "report.md").read_text(encoding="utf-8") == render_text(small)
    assert len(list(tmp_path.iterdir())) == 2
    with pytest.raises(DataError, match="cannot be written"):
        write_report(small, {}, tmp_path / "missing")


def unmarked(text: str) -> str:
    return re.sub(r"\\(.)", r"\1", text)


def test_text_says_what_the_page_says(results: dict[str, Any]) -> None:
    text = unmarked(render_text(results))
    rows = summarise(results["records"], ARMS)
    for sentence in verdict(rows):
        assert f"- {sentence}\n" in text
    for line in (*format_table(rows), *format_costs(rows)):
        assert f"| {' | '.join(line)} |" in text
    for fact in (
        "Abacus 9000",
        "d1" * 32,
        f"    {results['command']}\n",
        "| training.learning_rate | 0.001 | 0.001 |",
    ):
        assert fact in text
    assert "favours the side with more arms" in text


def test_tables_of_the_text_are_tables(results: dict[str, Any]) -> None:
    lines = render_text(results).splitlines()
    rules = [place for place, line in enumerate(lines) if line.startswith("| ---")]
    assert len(rules) == 1 + 1 + 3 + 5  # results, costs, settings by group, facts
    for place in rules:
        assert lines[place - 2] == ""  # Markdown wants a table to stand alone
        assert lines[place - 1].count("|") == lines[place].count("|") == lines[place + 1].count("|")


def test_nothing_in_the_text_is_markup(small: dict[str, Any]) -> None:
    small["settings"]["arms"]["dbn"]["summary"] = "<b>a|b\n# c*</b>"
    assert "\\<b\\>a\\|b \\# c\\*\\</b\\>" in render_text(small)


def test_a_text_without_a_finished_cell(results: dict[str, Any]) -> None:
    results["records"] = []
    text = render_text(results)
    assert "0 of 18 cells" in text
    assert "nothing to say yet" in text
    assert "## Results" not in text
