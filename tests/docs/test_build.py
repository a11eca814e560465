"""The documentation is built without a warning."""

import pickle
import subprocess
import sys
from pathlib import Path

import pytest

DOCS = Path(__file__).parents[2] / "docs"


def built(builder: str, out: Path) -> Path:
    options = ["--builder", builder, "--fail-on-warning", "--keep-going", "--quiet"]
    command = [sys.executable, "-m", "sphinx", *options, str(DOCS), str(out)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return out


def test_the_pages_are_read_and_their_links_lead_somewhere(tmp_path):
    """By the builder that writes nothing: it warns of all that the other warns of, in two thirds of the time."""
    folder = built("dummy", tmp_path) / ".doctrees"
    ngvae, priors = (
        pickle.loads((folder / f"{page}.doctree").read_bytes()).astext() for page in ("systems/ngvae", "api/priors")
    )
    assert "NormalGammaGuide" in ngvae
    assert "2.56 ± 0.06" in ngvae
    assert "p(λ) p(z | λ) = Gamma(λ; shape, rate)" in priors


@pytest.mark.long
def test_the_pages_are_built(tmp_path):
    assert "NormalGammaGuide" in (built("html", tmp_path) / "systems/ngvae.html").read_text()
