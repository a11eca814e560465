# Two commands do all the set-up: `make demo` and `make test`.
.PHONY: install demo test test-all lint types docs tutorials dist requirements clean
.DEFAULT_GOAL := help

PYTHON := .venv/bin/python
# uv where it works (a pyenv shim may exist and yet refuse), else one fetched with pip into .uv
UV := $(shell uv --version >/dev/null 2>&1 && echo uv || echo .uv/bin/uv)

help:
	@echo "make demo       how many latents do sprites need? two models side by side, and their reports"
	@echo "make test       lint, import contracts and the fast tests"
	@echo "make test-all   the long trials and the types too"
	@echo "make docs       the documentation, into docs/_build/html"
	@echo "make install    only create .venv"
	@echo "make dist       the wheel and the sdist, into dist"

.uv/bin/uv:
	python3 -m pip install --quiet --disable-pip-version-check --target .uv uv

.venv/installed: pyproject.toml requirements.txt $(filter .uv/bin/uv,$(UV))
	rm -rf .venv
	$(UV) venv --quiet --no-python-downloads .venv 2>/dev/null || $(UV) venv --quiet --python ">=3.12" .venv
	$(UV) pip install --quiet --compile-bytecode --python $(PYTHON) --requirement requirements.txt
	$(UV) pip install --quiet --python $(PYTHON) --no-deps --editable .
	@touch $@

install: .venv/installed

demo: install
	$(PYTHON) -m experiments experiment=demo

lint: install
	.venv/bin/ruff check .
	.venv/bin/ruff format --check .
	.venv/bin/lint-imports

# most of a minute where nothing is cached yet
types: install
	$(PYTHON) -m mypy

# files in parallel, the longest first, one thread each: threads that share cores slow each other; bytecode is kept, as
# many processes start
PYTEST := OMP_NUM_THREADS=1 PYTHONDONTWRITEBYTECODE= $(PYTHON) -m pytest --numprocesses auto --dist loadfile --no-loadscope-reorder

test: lint
	$(PYTEST) -m "not long"

test-all: lint types
	$(PYTEST)

docs: install
	$(PYTHON) -m sphinx --builder html --fail-on-warning --keep-going --quiet docs docs/_build/html

# their figures and what they print, which are committed; a quarter of an hour
tutorials: install
	cd docs/tutorials && for script in *.py; do PYTHONPATH=../.. ../../$(PYTHON) $$script > $${script%.py}.txt || exit 1; done

dist: install
	rm -rf dist
	$(PYTHON) -m hatchling build

# pins what was tested; no registry is named
requirements: $(filter .uv/bin/uv,$(UV))
	$(UV) pip compile --quiet --upgrade --extra test --extra docs --no-emit-index-url --no-emit-find-links --no-header --no-annotate --universal --python-version 3.12 pyproject.toml --output-file requirements.txt

clean:
	rm -rf .venv .uv dist runs multirun docs/_build
