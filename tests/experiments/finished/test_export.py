"""What is given away of a run: tensors to the last bit, a card that says what it is, and no more than was asked for."""

import json
import logging
import re

import numpy as np
import pytest
import torch
import yaml
from safetensors.torch import load_file, save_file

import ppvae
from experiments.finished.scoring import TRAINING
from experiments.finished.without_folders import configuration_without_folders
from experiments.weights import write_safetensors
from ppvae import UserError, read_posterior


def test_the_folder_holds_tensors_and_plain_text(trained, tmp_path):
    run = ppvae.load(trained("plain"))
    away = run.export(tmp_path / "away")
    assert {path.name for path in away.iterdir()} == {
        *("README.md", "config.yaml", "metrics.json", "model.safetensors", "training_scores.zarr")
    }
    tensors = load_file(away / "model.safetensors")  # by the format's own library
    states = {f"model.{name}": values for name, values in run.model.state_dict().items()}
    states |= {f"guide.{name}": values for name, values in run.guide.state_dict().items()}
    assert tensors.keys() == states.keys()
    assert all(torch.equal(values, states[name]) for name, values in tensors.items())


def test_whoever_may_read_files_may_read_the_tensors(trained, tmp_path):
    """As for any other file of the folder."""
    folder = ppvae.load(trained("plain")).export(tmp_path / "out")
    assert len({path.stat().st_mode & 0o777 for path in folder.iterdir() if path.is_file()}) == 1


def test_the_posterior_goes_along_if_asked_for(trained, tmp_path):
    run = ppvae.load(trained("plain"))
    bare, whole = (ppvae.load(run.export(tmp_path / str(kept), posterior=kept)) for kept in (False, True))
    assert whole.posterior["sample_stats"].to_dataset().equals(run.posterior["sample_stats"].to_dataset())
    assert whole.traverse(steps=2).equals(run.traverse(steps=2))
    with pytest.raises(UserError, match=r"has no posterior\.zarr: an export has it with posterior=True"):
        bare.traverse(steps=2)
    image = np.zeros((3, 8, 8), np.uint8)
    assert whole.score(image, draws=8).equals(run.score(image, draws=8))
    with pytest.raises(UserError, match="score with the draws that it was exported with, 64"):
        bare.score(image, draws=8)


ELSEWHERE = "/srv/elsewhere"
HELD = {"codes": "codes.csv", "posterior": "posterior.zarr"}


@pytest.mark.parametrize("asked", [(), ("codes",), ("posterior",), ("codes", "posterior")])
def test_what_goes_along_of_the_training_data_is_asked_for_and_said(trained, tmp_path, caplog, asked):
    caplog.set_level(logging.INFO, logger="experiments")
    run = ppvae.load(trained("plain"))
    away = run.export(tmp_path / "away", **dict.fromkeys(asked, True))
    for said in ((away / "README.md").read_text(), caplog.messages[-1]):
        assert "training_scores.zarr" in said
        assert [word for word, name in HELD.items() if name in said] == list(asked)
    assert [word for word, name in HELD.items() if (away / name).exists()] == list(asked)


def test_scores_go_along_without_saying_which_image_has_which(trained, tmp_path):
    run = ppvae.load(trained("plain"))
    away = run.export(tmp_path / "away")
    kept, own = (read_posterior(folder / TRAINING).to_dataset() for folder in (away, run.folder))
    assert list(kept.data_vars) == ["log_marginal"]
    assert set(kept.attrs) == {"num_samples", "weights"}
    np.testing.assert_array_equal(kept["log_marginal"], np.sort(own["log_marginal"]))


@pytest.mark.parametrize("name", HELD.values())
def test_what_the_run_has_not_cannot_go_along(copied, tmp_path, name):
    run = ppvae.load(copied("plain", name))
    word = name.partition(".")[0]
    with pytest.raises(UserError, match=f"has no {re.escape(name)} that could go along; leave {word} out"):
        run.export(tmp_path / "away", **{word: True})
    assert not (tmp_path / "away").exists()


@pytest.mark.parametrize("system", ["plain", "table", "some labels"])
def test_no_folder_of_the_trainer_is_told(copied, sources, tmp_path, system):
    """Neither of the data nor of the run, in no file, whatever is asked for; the files' own names are."""
    home = copied(system)
    words = f"data.path={sources}/images.npz 'data.table=[{sources}/a b.csv,c]' resume={ELSEWHERE}/y"
    record = {"command": f"ppvae train {words}", "state": "finished", "error": f"{ELSEWHERE}/y"}
    (home / "run.json").write_text(json.dumps(record))
    away = ppvae.load(home).export(tmp_path / "away", codes=True, posterior=True)
    for path in away.rglob("*"):
        if path.is_file():
            content = path.read_bytes()
            assert not any(str(folder).encode() in content for folder in (sources, tmp_path, ELSEWHERE)), path
    assert yaml.safe_load((away / "config.yaml").read_text())["data"]["path"] == (
        "rows.csv" if system == "table" else "images.npz"
    )
    assert "data.path=images.npz 'data.table=[a b.csv,c]' resume=y`" in (away / "README.md").read_text()


def test_what_is_no_path_stays_in_a_configuration():
    kept = {"labels": {"factor": "width/height"}, "data": {"columns": ["a/b"], "array": "table", "size": 3}}
    placed = {"path": ["/home/me/cells", "~/more"], "cache": "/scratch", "own": "C:\\mine\\x"}
    found = configuration_without_folders({**kept, "network": placed, "resume": "runs/cells/1"})
    assert found == {**kept, "network": {"path": ["cells", "more"], "cache": None, "own": "x"}, "resume": None}


def card_of(run, folder, **options) -> tuple[dict, str]:
    """The fields of a card, and what is below them."""
    _, fields, text = (run.export(folder, **options) / "README.md").read_text().split("---\n", 2)
    return yaml.safe_load(fields), text


def test_the_card_says_what_the_run_is(trained, tmp_path):
    folder = trained("normal-gamma")
    run = ppvae.load(folder)
    fields, text = card_of(run, tmp_path / "away", license="cc-by-4.0")
    assert fields["license"] == "cc-by-4.0"
    assert fields["library_name"] == "ppvae"
    assert {"variational-autoencoder", "pyro"} <= set(fields["tags"])
    rows = dict(re.findall(r"^\| (.*?) \| (.*) \|$", text, flags=re.M))
    assert rows["data"] == run.metrics["data"]
    assert rows["image shape"] == "3 × 8 × 8 (channels, rows, columns)"
    for part, name in (
        ("prior", "NormalGammaPrior"),
        ("guide", "NormalGammaGuide"),
        ("likelihood", "NormalLikelihood"),
    ):
        assert rows[part].startswith(f"{name}(")
    assert rows["objective"].startswith("BetaELBO(")
    assert int(rows["parameters"]) == json.loads((folder / "metrics.json").read_text())["parameters"]
    assert float(rows["ELBO (nats)"]) == pytest.approx(run.metrics["elbo"], rel=1e-5)
    assert f"ppvae {ppvae_version()}" in text
    assert "ppvae.load(" in text
    assert text.rstrip().endswith("`cc-by-4.0`.")


def ppvae_version() -> str:
    from importlib.metadata import version

    return version("ppvae")


def test_a_licence_that_nobody_named_is_unknown(trained, tmp_path):
    fields, text = card_of(ppvae.load(trained("conditional")), tmp_path / "away")
    assert fields["license"] == "unknown"
    assert "No licence was named" in text
    assert 'run.encode("folder", given=0)' in text


def test_the_record_tells_how_it_was_made(trained, tmp_path):
    run = ppvae.load(trained("table"))
    record = {"state": "finished", "command": "uv run -m experiments data=table", "commit": "abc1234", "seed": "0"}
    (run.folder / "run.json").write_text(json.dumps(record))
    _, text = card_of(run, tmp_path / "away")
    (run.folder / "run.json").unlink()
    assert "| command | `uv run -m experiments data=table` |" in text
    assert "| commit | `abc1234` |" in text
    assert 'run.encode("rows.csv")' in text


@pytest.mark.parametrize("license", ["", "a b", "x\ny: z", 3])
def test_a_licence_is_a_short_name(trained, tmp_path, license):
    with pytest.raises(UserError, match=r"license=.*: expected its short name, such as apache"):
        ppvae.load(trained("plain")).export(tmp_path / "away", license=license)
    assert not (tmp_path / "away").exists()


def test_nothing_is_written_over(trained, tmp_path):
    run = ppvae.load(trained("plain"))
    (tmp_path / "away").mkdir()
    (tmp_path / "away" / "mine.txt").write_text("kept")
    for folder in (tmp_path / "away", tmp_path / "away" / "mine.txt", run.folder):
        with pytest.raises(UserError, match="is there already: give a new folder, or an empty one"):
            run.export(folder)
    assert [path.name for path in (tmp_path / "away").iterdir()] == ["mine.txt"]


def spoilt(path, kind: str) -> None:
    tensors = load_file(path)
    name = "guide.loc.weight"
    if kind == "cut":
        path.write_bytes(path.read_bytes()[:-8])
    elif kind == "a bit":
        content = bytearray(path.read_bytes())
        content[-1] ^= 1
        path.write_bytes(content)
    elif kind == "of another":
        save_file({**tensors, name: tensors[name] + 1}, path)
    else:
        path.write_bytes(b"")


@pytest.mark.parametrize(
    ("kind", "match"),
    [
        ("cut", r"model\.safetensors cannot be read \("),
        ("empty", r"model\.safetensors cannot be read \("),
        ("a bit", "differs from its checksum"),
        ("of another", "differs from its checksum, it is damaged or was not exported by ppvae"),
    ],
)
def test_a_damaged_export_is_refused_in_one_line(trained, tmp_path, kind, match):
    away = ppvae.load(trained("plain")).export(tmp_path / "away")
    spoilt(away / "model.safetensors", kind)
    with pytest.raises(UserError, match=match) as error:
        ppvae.load(away)
    assert "\n" not in str(error.value)


def test_parameters_that_diverged_are_refused(trained, tmp_path):
    run = ppvae.load(trained("plain"))
    away = run.export(tmp_path / "away")
    with torch.no_grad():
        run.guide.loc.bias[0] = float("nan")
    write_safetensors(away / "model.safetensors", run.model, run.guide)
    with pytest.raises(UserError, match=r"model\.safetensors: 'loc\.bias' of the guide has diverged"):
        ppvae.load(away)
