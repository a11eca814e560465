"""The documentation is built without a warning."""

import subprocess
import sys
from pathlib import Path

DOCS = Path(__file__).parents[2] / "docs"


def test_the_pages_are_built(tmp_path):
    """By the builder that readers use; 20 seconds of a core."""
    options = ["--builder", "html", "--fail-on-warning", "--keep-going", "--quiet"]
    command = [sys.executable, "-m", "sphinx", *options, str(DOCS), str(tmp_path)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    ngvae = (tmp_path / "systems/ngvae.html").read_text()
    assert "NormalGammaGuide" in ngvae
    assert "2.56 ± 0.06" in ngvae
    prior = (tmp_path / "api/priors.html").read_text()
    assert "p(λ) p(z | λ) = Gamma(λ; shape, rate)" in prior
