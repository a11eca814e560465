"""The README's scripts run as printed, on fewer images, each in a process of its own."""

import re
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

README = (Path(__file__).parents[1] / "README.md").read_text()
BLOCKS = re.findall(r"```python\n(.*?)```", README, flags=re.S)
FINISHED, SCRIPT, LOOP, CAREFUL, INPUTS, LABELS, ROWS, TWO_VIEWS, RASTER, DEEP, LATENTS, *REST = BLOCKS
DIAGNOSTICS, AUTO_GUIDE, *_ = REST
SMALLER = {
    "size=8192": "size=96",
    "size=2048": "size=128",
    "epochs=2)": "epochs=1, compile=False)",
    "images[:1000]": "images[:16]",
    "num_samples=64": "num_samples=4",
    "levels=40, epochs=200": "levels=2, epochs=2, ablated=8, compile=False",
    "epochs=20": "epochs=1",
    "images[:100]": "images[:12], num_samples=30, simulations=20",
    "size=200": "size=12",
    "held_out)": "held_out, 30)",
    "dci_metric(codes, factors": "dci_metric(all_codes, data.factors",
    "score_interval(mig_metric, codes, factors": "score_interval(mig_metric, all_codes, data.factors, resamples=20",
}


def _smaller(block: str) -> str:
    for long, short in SMALLER.items():
        block = block.replace(long, short)
    return block


def test_readme_script_trains_and_exports(tmp_path, fresh):
    """Plain Pyro SVI, then the same pair in our loop, one script after the other as a reader would paste them."""
    script = _smaller(SCRIPT) + _smaller(LOOP + CAREFUL).replace("epochs=1,", "epochs=1, compile=False,")
    script += "\nassert not list(pyro.get_param_store().keys()), 'parameters leaked into the global store'\n"
    done = fresh(tmp_path, script)
    assert done.returncode == 0, done.stderr
    assert (tmp_path / "runs/mine/posterior.zarr").is_dir()
    assert (tmp_path / "runs/mine/checkpoint.pt").is_file()
    assert (tmp_path / "runs/careful/best.pt").is_file()


RUN = """
import runpy
sys.argv[1:] = {words}
runpy.run_module("experiments", run_name="__main__", alter_sys=True)
"""
CELLS = [
    *("data=image_folder", "data.path=cells", "hydra.run.dir=runs/cells", "prior=normal", "guide=mean_field"),
    *("network=mlp", "network.encoder.hidden=[8]", "network.decoder.hidden=[8]", "latents=2", "trainer.epochs=1"),
    *("trainer.batch_size=8", "trainer.compile=false", "information.images=0", "diagnosis.images=0"),
    *("posterior.images=8", "posterior.draws=2"),
]


def test_readme_finished_run_is_loaded(tmp_path, forked):
    """A run of the command line on a folder of pictures, then the block as printed, on a folder of others."""
    random = np.random.default_rng(0)
    for folder, number in (("cells", 20), ("new_cells", 3)):
        (tmp_path / folder).mkdir()
        for name in range(number):
            picture = random.integers(0, 256, (12, 12), dtype=np.uint8)
            Image.fromarray(picture).save(tmp_path / folder / f"{name:02}.png")
    done = forked(tmp_path, RUN.format(words=CELLS))
    assert done.returncode == 0, done.stderr
    done = forked(
        tmp_path, FINISHED + "\nprint(len(scores), ppvae.load('cells_model').encode('new_cells').equals(codes))"
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.strip().endswith("3 True")
    assert "report.html" in done.stdout


def test_readme_pairs_take_inputs_beside_images(tmp_path, forked):
    script = _smaller(INPUTS).replace("draw_given(", "found = draw_given(") + "\nprint(found.sizes)"
    done = forked(tmp_path, script)
    assert done.returncode == 0, done.stderr
    assert "'given': 3, 'draw': 8" in done.stdout


def test_readme_labels_of_some_images_name_those_of_others(tmp_path, forked):
    done = forked(tmp_path, _smaller(LABELS).replace("guide.classify", "named = guide.classify") + "\nprint(named)")
    assert done.returncode == 0, done.stderr
    assert re.match(r"tensor\(\[[012](, [012]){7}\]\)", done.stdout)


def test_readme_rows_are_imputed(tmp_path, forked):
    done = forked(tmp_path, _smaller(ROWS) + "\nprint(found.sizes)")
    assert done.returncode == 0, done.stderr
    assert "'image': 200, 'column': 40" in done.stdout


def test_readme_two_views_train_and_draw(tmp_path, forked):
    done = forked(tmp_path, _smaller(TWO_VIEWS) + "\nprint(vary(model, columns=8, rows=4, cluster=3).sizes)")
    assert done.returncode == 0, done.stderr
    assert "'z_local': 4, 'z_global': 8" in done.stdout


def test_readme_path_says_how_many_latents(tmp_path, forked):
    done = forked(tmp_path, _smaller(LATENTS) + "\nprint(found.sizes, guide.loc.out_features)")
    assert done.returncode == 0, done.stderr
    assert "'level': 2" in done.stdout
    assert done.stdout.strip().endswith(" 3")


def test_readme_autoregressive_decoder_trains_and_is_judged(tmp_path, forked):
    script = _smaller(RASTER).replace("[:12], num_samples=30, simulations=20", "[:12], others=3")
    done = forked(tmp_path, script + "\nprint(p.sample().shape)")
    assert done.returncode == 0, done.stderr
    assert re.search(r"^(collapsed|weak|used) ", done.stdout, flags=re.M)
    assert "torch.Size([3, 32, 32])" in done.stdout


def test_readme_hierarchy_trains_and_is_looked_into(tmp_path, forked):
    script = (
        _smaller(DEEP)
        .replace("objective, epochs=1", "objective, epochs=1, compile=False")
        .replace("images[:12], num_samples=30, simulations=20, num", "images[:12], num")
    )
    script = script.replace("temperature=0.7):", "temperature=0.7, batches=2):").replace("size=128", "size=64")
    done = forked(tmp_path, script + "\nprint(images.shape, tree.posterior.sizes)")
    assert done.returncode == 0, done.stderr
    assert "(16, 3, 32, 32)" in done.stdout
    assert "latent_1" in done.stdout.splitlines()[-1]
    assert "row_2" not in done.stdout.splitlines()[-1]


def test_readme_diagnostics_run_on_what_the_scripts_before_made(tmp_path, forked):
    """Of many images where the metric needs them, and for a second guide the first once more."""
    before = "import torch\ntorch.manual_seed(0)\n" + _smaller(SCRIPT).replace("size=96", "size=400")
    between = """
from ppvae import log_marginal
other_guide = guide
all_codes = from_pyro_svi(model, guide, data.images[:400], 1)["sample_stats"]["z_mean"]
"""
    script = (
        before
        + between
        + _smaller(DIAGNOSTICS).replace(" other_guide", " NormalGammaGuide(ConvEncoder(data.image_shape), 15)")
    )
    done = forked(tmp_path, script)
    assert done.returncode == 0, done.stderr
    assert "k̂" in done.stdout


def test_readme_auto_guide_script_runs(tmp_path, forked):
    script = AUTO_GUIDE.replace("num_samples=1000", "num_samples=200").replace("range(2000)", "range(300)")
    script = script.replace("guide = ", "pyro.set_rng_seed(0)\nguide = ", 1)
    done = forked(tmp_path, script)
    assert done.returncode == 0, done.stderr
    assert "theta[7]" in done.stdout


@pytest.mark.parametrize("command", re.findall(r"(?:uv run -m experiments|ppvae train) ([^#`\n]*)", README))
def test_readme_commands_name_what_exists(command):
    """Every `group=choice` of the README is a file of the configuration."""
    conf = Path(__file__).parents[1] / "experiments/conf"
    for argument in command.split():
        key, _, value = argument.partition("=")
        if (conf / key).is_dir():
            assert (conf / key / f"{value}.yaml").is_file()


def test_readme_lists_every_choice_of_every_group_to_swap():
    conf = Path(__file__).parents[1] / "experiments/conf"
    rows = dict(re.findall(r"^\| `(\w+)` \| (`.*) \|$", README, flags=re.M))
    assert set(rows) == {
        "prior",
        "guide",
        "likelihood",
        "objective",
        "annealing",
        "penalty",
        "auxiliary",
        "clusters",
        "condition",
        "labels",
        "select",
        "data",
        "model",
        "experiment",
        "launcher",
        "recipe",
    }
    for group, choices in rows.items():
        assert set(re.findall(r"`(\w+)`", choices)) == {path.stem for path in (conf / group).glob("*.yaml")}, group
