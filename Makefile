# Two commands on a fresh machine with Python and make: `make demo` and `make test`.
# Each sets itself up first, in .venv, once for every change of pyproject.toml.

PYTHON ?= python3
BIN ?= .venv/bin
READY = $(if $(filter .venv/bin,$(BIN)),.venv/.ready)
export COVERAGE_FILE ?= $(CURDIR)/var/coverage/make

.DEFAULT_GOAL := help
.PHONY: demo serve test lint types docs build clean help

demo: $(READY) ## a guest's evening: the pub and its worker, Qerko's sandbox and what they say to each other
	$(BIN)/python -m example_project.demo

serve: $(READY) ## start the same and stay, with the addresses to open
	$(BIN)/python -m example_project.demo --serve

test: $(READY) ## all tests on SQLite, with their coverage; PYTEST='-k bill -x' to choose
	$(BIN)/python -m pytest --cov -n 3 --dist loadgroup $(PYTEST)

lint: $(READY) ## style, import contracts, missing migrations
	$(BIN)/ruff check
	$(BIN)/ruff format --check
	$(BIN)/lint-imports --no-logo
	$(BIN)/python manage.py makemigrations --check --dry-run

types: $(READY) ## mypy, strict
	$(BIN)/mypy

docs: $(READY) ## the documentation, in docs/_build/html; a warning is an error
	$(BIN)/sphinx-build -W --keep-going -q -b html -d docs/_build/doctrees docs docs/_build/html

build: $(READY) ## the wheel and the sdist, in dist
	$(BIN)/python -m build

clean: ## take away everything that these commands made
	rm -rf .venv .tox build dist docs/_build var htmlcov .coverage .coverage.*
	rm -rf .mypy_cache .ruff_cache .pytest_cache .import_linter_cache .hypothesis

help: ## this list
	@awk -F ':.*## ' '/^[a-z]+:.*## / { printf "  make %-6s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

.venv/.ready: pyproject.toml
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "Python 3.11 or newer is needed: make PYTHON=python3.12 ...")'
	@echo "Setting up .venv: a minute or two, once."
	$(PYTHON) -m venv .venv
	.venv/bin/python -m pip install --quiet --disable-pip-version-check -e '.[dev]'
	@touch $@
