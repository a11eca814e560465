"""Finished runs at the command line: what it writes is what the library says, mistakes are one line."""

import numpy as np
import pandas as pd
import pytest
from PIL import Image

import ppvae
from experiments.finished.command import COMMANDS, _doubted, main
from experiments.own_names import named
from experiments.subcommands import SUBCOMMANDS
from ppvae import UserError

COMMAND_LINE = """
import runpy
sys.argv[1:] = {words}
runpy.run_module("experiments.finished", run_name="__main__", alter_sys=True)
"""


@pytest.fixture
def pictures(trained, tmp_path):
    """Three of the run's images as files."""
    (tmp_path / "pictures").mkdir()
    for number, image in enumerate(ppvae.load(trained("plain")).data.stored(slice(3)).numpy()):
        Image.fromarray(image.transpose(1, 2, 0)).save(tmp_path / "pictures" / f"{number}.png")
    return tmp_path / "pictures"


def test_codes_and_scores_are_tables(trained, pictures, tmp_path, capsys):
    folder = trained("plain")
    run = ppvae.load(folder)
    for word, table in (("encode", run.encode(pictures)), ("score", run.score(pictures))):
        main([word, str(folder), str(pictures), "--out", str(tmp_path / "out.csv")])
        written = pd.read_csv(tmp_path / "out.csv", index_col="image")
        pd.testing.assert_frame_equal(written, table, rtol=1e-6, check_dtype=False)
        assert capsys.readouterr().out.startswith(f"3 rows: {tmp_path}/out.csv")
    main(["encode", str(folder), *map(str, sorted(pictures.iterdir())[:2])])
    assert capsys.readouterr().out.splitlines()[0] == "image,file,z0,z1,z2,z0_std,z1_std,z2_std"


def test_scores_that_are_not_to_be_believed_are_said():
    """k̂ of 64 draws is good up to 1 − 1/log₁₀ 64 = 0.45."""
    scores = pd.DataFrame({"pareto_k": [0.1, 0.44, 0.46, np.inf]})
    assert _doubted(scores, 64).startswith("; k̂ is above 0.45 for 2: ")
    assert _doubted(scores[:2], 64) == ""


def test_draws_are_pictures_or_arrays(trained, pictures, tmp_path):
    folder = trained("plain")
    run = ppvae.load(folder)
    words = [str(folder), "-n", "5", "--temperature", "0.5", "--seed", "3", "--out"]
    main(["sample", *words, str(tmp_path / "drawn.npz")])
    expected = run.sample(5, 0.5, seed=3).values
    np.testing.assert_array_equal(np.load(tmp_path / "drawn.npz")["images"], expected)
    main(["sample", *words, str(tmp_path / "drawn.png")])
    page = np.asarray(Image.open(tmp_path / "drawn.png"))
    assert page.shape == (2 * 9 + 1, 3 * 9 + 1, 3)
    np.testing.assert_array_equal(page[10:18, 10:18], (expected[4].transpose(1, 2, 0) * 255).round())
    main(["reconstruct", str(folder), str(pictures), "--out", str(tmp_path / "redrawn.npz")])
    np.testing.assert_array_equal(np.load(tmp_path / "redrawn.npz")["images"], run.reconstruct(pictures).values)


def test_rows_are_written_as_a_table(trained, sources, tmp_path):
    folder = trained("table")
    run = ppvae.load(folder)
    main(["sample", str(folder), "-n", "4", "--out", str(tmp_path / "drawn.csv")])
    written = pd.read_csv(tmp_path / "drawn.csv", index_col="draw")
    assert list(written) == ["a", "b", "c", "d"]
    np.testing.assert_allclose(written, run.sample(4).values, rtol=1e-6)
    main(["reconstruct", str(folder), str(sources / "rows.csv"), "--out", str(tmp_path / "redrawn.csv")])
    assert len(pd.read_csv(tmp_path / "redrawn.csv")) == 40


def test_a_conditional_run_is_given_its_level(trained, tmp_path):
    folder = trained("conditional")
    for word in ("green", "1"):
        main(["sample", str(folder), "-n", "2", "--given", word, "--out", str(tmp_path / f"{word}.npz")])
    same = (np.load(tmp_path / f"{word}.npz")["images"] for word in ("green", "1"))
    np.testing.assert_array_equal(*same)


def test_an_export_is_read_again(trained, tmp_path, capsys):
    main(["export", str(trained("plain")), str(tmp_path / "away"), "--license", "apache-2.0", "--codes"])
    said = capsys.readouterr()
    assert said.out == f"Exported: {tmp_path}/away\n"
    assert "codes.csv, a row a training image: its file, factors and code" in said.err
    assert "license: apache-2.0" in (tmp_path / "away" / "README.md").read_text()
    assert not ppvae.load(tmp_path / "away").codes.empty


@pytest.mark.parametrize(
    ("words", "match"),
    [
        ([], "the following arguments are required: WORD"),
        (["decode"], "invalid choice: 'decode'"),
        (["encode", "RUN"], "the following arguments are required: images"),
        (["sample", "RUN", "--out", "a.gif"], r"--out a\.gif: expected a file that ends in \.png or \.npz"),
        (["encode", "RUN", "x", "--out", "a.png"], r"--out a\.png: expected a file that ends in \.csv"),
        (["sample", "RUN", "-n", "0", "--out", "a.npz"], "n=0: expected a whole number of at least 1"),
        (["sample", "RUN", "-n", "many", "--out", "a.npz"], "argument -n: invalid int value: 'many'"),
        (["encode", "nowhere", "x"], "nowhere does not exist; give the folder of a run"),
    ],
)
def test_mistakes_are_one_line(trained, tmp_path, monkeypatch, words, match):
    monkeypatch.chdir(tmp_path)
    run = str(trained("plain"))
    with pytest.raises(UserError, match=match) as error:
        main([run if word == "RUN" else word for word in words])
    assert "\n" not in str(error.value)
    assert not list(tmp_path.iterdir())


def test_the_command_ppvae_has_these_words(trained, tmp_path, capsys):
    assert COMMANDS.keys() <= SUBCOMMANDS.keys()
    for word in COMMANDS:
        call = named(SUBCOMMANDS[word].function)
        with pytest.raises(UserError, match=f"ppvae {word}: the following arguments are required: run"):
            call([])
    named(SUBCOMMANDS["export"].function)([str(trained("plain")), str(tmp_path / "away")])
    assert capsys.readouterr().out == f"Exported: {tmp_path}/away\n"


def test_every_word_has_help(capsys):
    for words in ([], *([word] for word in COMMANDS)):
        with pytest.raises(SystemExit) as ended:
            main([*words, "--help"])
        assert ended.value.code == 0
    assert all(command.help in " ".join(capsys.readouterr().out.split()) for command in list(COMMANDS.values())[-1:])


def test_the_module_ends_a_mistake_with_code_2(forked, tmp_path):
    done = forked(tmp_path, COMMAND_LINE.format(words=["encode", "nowhere", "x"]))
    assert done.returncode == 2
    assert done.stderr.startswith("error: run=nowhere: nowhere does not exist")
    assert done.stderr.count("\n") == 1
