"""The page of good models says what the reports' table says, and of every data set of it."""

import re
from pathlib import Path

from pages.good_models import reached_table

from experiments.reached import AFTER_OTHERS, ALONE, DATA, Reached, reached_rows

PAGE = Path(__file__).parents[2] / "docs/howto/good_models.md"


def test_a_cell_is_a_range_of_the_table():
    head, _, *lines = reached_table("binarised MNIST").splitlines()
    assert head.startswith(f"| test | {ALONE}; runs: ")
    assert head.endswith(f" | {AFTER_OTHERS}; runs: 16, draws: 128, `autoregressive_mnist.md` |")
    cells = {line.split(" | ")[0].removeprefix("| "): line.removesuffix(" |").split(" | ")[1:] for line in lines}
    for row in reached_rows():
        if row["data"] == "binarised MNIST":
            assert cells[row["test"]][row["decoder"] == AFTER_OTHERS] == Reached.of(row).said()
    assert cells["width"][1] == "–"


def test_the_page_has_every_data_set_of_the_table():
    shown = re.findall(r"```{good_models} (.*)", PAGE.read_text())
    assert sorted(shown) == sorted(DATA)
