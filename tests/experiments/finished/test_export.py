"""What is given away of a run: tensors to the last bit, a card that says what it is, and no more than was asked for."""

import json
import re

import numpy as np
import pytest
import torch
import yaml
from safetensors.torch import load_file, save_file

import ppvae
from experiments.weights import write_safetensors
from ppvae import UserError


def test_the_folder_holds_tensors_and_plain_text(trained, tmp_path):
    run = ppvae.load(trained("plain"))
    away = run.export(tmp_path / "away")
    assert {path.name for path in away.iterdir()} == {
        *("README.md", "codes.csv", "config.yaml", "metrics.json", "model.safetensors", "training_scores.zarr")
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
