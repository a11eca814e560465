"""The README's scripts run as printed, on fewer images, each alone in a process of its own."""

import re
from pathlib import Path

import numpy as np
from PIL import Image

ROOT = Path(__file__).parents[1]
README = (ROOT / "README.md").read_text()
SCRIPT, LOOP, FINISHED = re.findall(r"```python\n(.*?)```", README, flags=re.DOTALL)
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


def test_readme_is_read_in_one_sitting():
    assert len(README.splitlines()) <= 150


def test_readme_script_trains_by_plain_pyro(tmp_path, fresh, smaller):
    """In a Python without anything of ours behind it."""
    script = smaller(SCRIPT)
    script += "\nassert not list(pyro.get_param_store().keys()), 'parameters leaked into the global store'\n"
    done = fresh(tmp_path, script + "print(tree['posterior'].sizes)")
    assert done.returncode == 0, done.stderr
    assert "'image': 16, 'latent': 15" in done.stdout


def test_readme_loop_trains_and_is_judged(tmp_path, forked, smaller):
    done = forked(tmp_path, smaller(LOOP) + "\nprint(log_p.sizes)")
    assert done.returncode == 0, done.stderr
    assert "k̂" in done.stdout
    assert "'image': 12" in done.stdout
    assert (tmp_path / "runs/mine/checkpoint.pt").is_file()


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
