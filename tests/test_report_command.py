"""`pretrain report`: the report of a run folder, drawn again from its records."""

import json

import pytest
from click.testing import CliRunner
from comparison_results import make_results

from pipelines.cli import main
from pipelines.run_folder import KIND, RunFolder


@pytest.fixture
def run(tmp_path):
    """A run folder as a finished comparison leaves it, but for the report."""
    results = make_results(labels=("all",), seeds=2)
    results["settings"]["kind"] = KIND
    folder = RunFolder(tmp_path / "run")
    folder.open(results["settings"], overwrite=False)
    for record in results["records"]:
        folder.write_cell(record)
    folder.write_records(results)
    return folder.path


def report(*arguments):
    return CliRunner().invoke(main, ["report", *map(str, arguments)])


def test_report_is_drawn_from_the_records(run):
    result = report(run)
    assert result.exit_code == 0, result.output
    assert "dbn is better than the best from-scratch arm" in result.stdout.replace("\n", " ")
    assert "dbn is better than" in (run / "report.html").read_text()
    assert "dbn is better than" in (run / "report.md").read_text()
    assert len((run / "records.csv").read_text().splitlines()) == 1 + 6


def test_a_second_report_is_the_same(run):
    report(run)
    before = {name: (run / name).read_text() for name in ("report.html", "report.md", "records.csv", "records.json")}
    report(run)
    assert before == {name: (run / name).read_text() for name in before}


def test_cells_that_the_records_do_not_know_yet_count(run):
    records = json.loads((run / "records.json").read_text())
    (run / "records.json").write_text(json.dumps({**records, "records": []}))  # as a killed comparison leaves it
    (run / "cells" / "relu-all-seed1.json").unlink()
    summary = json.loads(report(run, "--json").stdout)["summary"]
    assert {row["arm"]: row["n_seeds"] for row in summary} == {"dbn": 2, "relu": 1, "relu-bn": 2}
    assert "not finished: 5 of 6 cells" in (run / "report.html").read_text()


def test_records_alone_are_enough(run):
    for cell in (run / "cells").iterdir():
        cell.unlink()
    (run / "cells").rmdir()
    assert report(run).exit_code == 0
    assert "dbn is better than" in (run / "report.md").read_text()


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("records.json", "{", "records.json is damaged"),
        ("records.json", "[]", "records.json is damaged"),
        ("records.json", '{"kind": "other"}', "not the folder of a comparison"),
        ("records.json", '{"settings": []}', "not the folder of a comparison"),
        (
            "records.json",
            f'{{"settings": {{"kind": "{KIND}", "arms": []}}}}',
            "it lacks command, data, split, machine",
        ),
        ("records.json", f'{{"settings": {{"kind": "{KIND}", "arms": []}}}}', "settings.labels, settings.seeds"),
        ("cells/relu-all-seed1.json", "{", "relu-all-seed1.json is damaged"),
        ("cells/relu-all-seed1.json", "{}", "relu-all-seed1.json is damaged: its 'arm' is None; expected 'relu'"),
    ],
)
def test_damage_is_named(run, name, content, message):
    (run / name).write_text(content)
    result = report(run)
    assert result.exit_code == 2
    assert message in result.stderr


@pytest.mark.parametrize(
    ("name", "value", "message"),
    [
        ("seed", 77, "its 'seed' is 77; expected 1. Remove it to run this cell again."),
        ("test_error", "low", "its 'test_error' is 'low'; expected a number"),
        ("n_parameters", None, "its 'n_parameters' is None; expected a number"),
    ],
)
def test_a_cell_that_says_something_else_is_named(run, name, value, message):
    cell = run / "cells" / "relu-all-seed1.json"
    cell.write_text(json.dumps({**json.loads(cell.read_text()), name: value}))
    result = report(run)
    assert result.exit_code == 2
    assert f"relu-all-seed1.json is damaged: {message}" in result.stderr


def test_damaged_records_without_cells_are_named(run):
    for cell in (run / "cells").iterdir():
        cell.unlink()
    (run / "cells").rmdir()
    records = json.loads((run / "records.json").read_text())
    del records["records"][0]["seconds"]
    (run / "records.json").write_text(json.dumps(records))
    assert "records.json is damaged: its 'seconds' is None; expected a number" in report(run).stderr
    (run / "records.json").write_text(json.dumps({**records, "records": [3]}))
    assert "records.json is damaged: the record of a cell is no object" in report(run).stderr
    (run / "records.json").write_text(json.dumps({**records, "records": None}))
    assert "records.json is damaged: its 'records' are no list" in report(run).stderr


def test_a_folder_of_something_else(run, tmp_path):
    for cell in (run / "cells").iterdir():
        cell.unlink()
    assert "no cell is finished" in report(run).stderr
    (tmp_path / "other").mkdir()
    result = report(tmp_path / "other")
    assert result.exit_code == 2
    assert "`pretrain compare` makes such folders" in result.stderr
    assert report(tmp_path / "nothing").exit_code == 2
