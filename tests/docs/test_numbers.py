"""The page of numbers says what the results files say."""

import csv

import pytest
from pages.numbers import PUBLISHED, RESULTS, WAITING, number_rows, number_table, results_tables, seeds_of

STUDY = """# A study

- command: `uv run -m experiments experiment=thing`
- seed: [0, 1]

| metric | small | **large** |
| --- | --- | --- |
| error (nats) | 1.5 ± 0.1 [2.0] | 3 |
| training time (s) | 40 ± 2 | 80 |

| other | a \\| b |
|---|---:|
| **x** | **7** ± 1 |
"""
HEAD = "system,what,paper,results,row,column,seeds,cost\n"


@pytest.fixture
def folder(tmp_path):
    (tmp_path / "swap.md").write_text(STUDY)
    return tmp_path


def rows_of(folder, published):
    path = folder / "published.csv"
    path.write_text(HEAD + published)
    return number_rows(results=folder, published=path)


def test_tables_are_cells_without_emphasis(folder):
    first, second = results_tables(folder / "swap.md")
    assert first[0] == ["metric", "small", "large"]
    assert second == [["other", "a \\| b"], ["x", "7 ± 1"]]


@pytest.mark.parametrize(
    ("line", "seeds"),
    [
        ("- seed: 0", "0"),
        ("- seed: [0]", "0"),
        ("- seeds: 0, 1, 2; 20 epochs", "0, 1, 2"),
        ("- seed: [0, 1]", "0, 1"),
        ("", ""),
    ],
)
def test_seeds_of_every_form_of_a_head(tmp_path, line, seeds):
    path = tmp_path / "r.md"
    path.write_text(f"# Title\n\n{line}\n- commit: 1ffe963\n")
    assert seeds_of(path) == seeds


def test_a_number_in_brackets_is_the_papers(folder):
    row = next(row for row in rows_of(folder, "") if row.results == "swap.md")
    assert (row.what, row.paper, row.here) == ("error (nats): small", "2.0", "1.5 ± 0.1")
    assert (row.system, row.seeds, row.cost) == ("two_views", "0, 1", "40 ± 2 s a run")


def test_an_addressed_number_is_read_from_its_cell(folder):
    row = rows_of(folder, "nvae,thing,5,swap,error (nats),large,,=training time (s) / large\n")[-1]
    assert (row.here, row.seeds, row.cost) == ("3", "0, 1", "80 s a run")


def test_seeds_given_beside_an_address_are_those(folder):
    assert rows_of(folder, "nvae,thing,5,swap,x,a \\| b,1,a minute\n")[-1].seeds == "1"


def test_what_is_not_measured_yet_waits(folder):
    row = rows_of(folder, "nvae,thing,5,not_there,r,c,,\n")[-1]
    assert (row.paper, row.here) == ("5", WAITING)
    assert "semi_supervised_mnist.md" in {row.results for row in rows_of(folder, "") if row.what == WAITING}


def test_an_address_that_leads_nowhere_ends_the_build(folder):
    with pytest.raises(LookupError, match=r"swap.md has no table with the row 'error \(nats\)' and the column 'huge'"):
        rows_of(folder, "nvae,thing,5,swap,error (nats),huge,,\n")


def test_every_published_row_is_found_in_our_results():
    rows = number_rows()
    with PUBLISHED.open(newline="") as lines:
        published = list(csv.DictReader(lines))
    assert len(published) > 10
    assert {row.system for row in rows} == {line["system"] for line in published} | {
        "ngvae",
        "two_views",
        "semi_supervised",
    }
    assert all(row.here != WAITING for row in rows if (RESULTS / row.results).exists())
    assert "| entropy, sampled latents: ngvae | 2.3 | 2.56 ± 0.06 | 0, 1, 2 |" in number_table("ngvae")
