"""What a report's words mean: each of a name that the report has, with the numbers that the code has."""

import inspect
import re

import pytest

from experiments.meanings import columns, metrics, notes, parts
from experiments.meanings import tests as asked
from experiments.reached import MARGIN
from ppvae.diagnostics import informative_latents
from ppvae.diagnostics.diagnosis import TESTS
from ppvae.diagnostics.grades import GRADES
from ppvae.nouns import IMAGE, ROW

DEFAULTS = {name: one.default for name, one in inspect.signature(informative_latents).parameters.items()}


def test_every_number_has_a_meaning_but_one_whose_name_says_it():
    terms = metrics(IMAGE)
    assert {name for name, term in terms.items() if not term.meaning} == {
        name for name in terms if name.startswith("rate_z_")
    }
    assert len({term.name for term in terms.values()}) == len(terms)
    assert set(TESTS) < set(asked(IMAGE))


@pytest.mark.parametrize(
    ("metric", "default", "words", "number"),
    [
        ("informative_by_probability", "max_probability", "one half", 0.5),
        ("informative_by_kl", "min_kl", "0.1 nats", 0.1),
        ("informative_by_ablation", "min_relative", "1 %", 0.01),
        ("informative_by_relevance", "min_share", "99 %", 0.99),
        ("informative_active_units", "min_activity", "0.01", 0.01),
    ],
)
def test_a_bound_in_words_is_the_bound_in_the_code(metric, default, words, number):
    assert words in metrics(IMAGE)[metric].meaning
    assert DEFAULTS[default] == number


def test_grades_and_the_margin_are_told_as_they_are():
    assert re.findall("|".join(GRADES), asked(IMAGE)["verdict"]) == list(GRADES)
    assert ("a tenth" in asked(IMAGE)["beside them"]) == (MARGIN == 0.1)


@pytest.mark.parametrize("noun", [IMAGE, ROW])
def test_meanings_say_what_the_name_does_not(noun):
    for name, meaning in (notes(metrics(noun)) | notes(parts(noun)) | notes(columns(noun)) | asked(noun)).items():
        assert len(meaning) > 10
        assert meaning.lower() != name.lower()
