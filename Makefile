# The commands of this house; `make help` lists them.
#
# Only python3-venv and make are needed beforehand.  Everything Python goes into .venv; the servers that the tests
# talk to come from Debian packages, and only their installation asks for root.

SHELL := /bin/bash
.DEFAULT_GOAL := help
.DELETE_ON_ERROR:
MAKEFLAGS += --no-print-directory

VENV := .venv
BIN := $(VENV)/bin
UV := $(BIN)/uv pip
# A filter that inspects TLS, as schools have one, is known to the system's certificate store and not to uv's own.
# uv compiles no bytecode by itself, and a start would then compile three hundred modules each time.
UV_FLAGS := --system-certs --quiet --compile-bytecode
PYTHON ?= $(firstword $(foreach name,python3 python3.13 python3.12 python3.11,$(shell $(name) -c \
	'import sys; (3, 11) <= sys.version_info < (3, 14) and print("$(name)")' 2>/dev/null)))
# Two workers: each starts its own servers, and a file's tests stay together, so that they share them; in their own order,
# since the few tests that take minutes would otherwise all come last.
PYTEST := $(BIN)/pytest --numprocesses 2 --dist loadfile --no-loadscope-reorder

.PHONY: help demo test check release-test bench pictures servers lock clean

help: ## list the targets
	@sed -n 's/^\([a-z][a-z-]*\):.*## /\1\t/p' $(MAKEFILE_LIST) | expand -t 16

demo: $(VENV)/.installed ## show the daemon at work on a school morning; KEEP=1 leaves it running
	@$(BIN)/supportd demo $(if $(KEEP),--keep)

test: $(VENV)/.installed servers ## everything: ruff, mypy, pytest with real servers
	$(BIN)/ruff check
	$(BIN)/mypy
	$(PYTEST) -m "not release"

check: $(VENV)/.installed ## the fast part of `make test`, in seconds
	$(BIN)/ruff check
	$(BIN)/mypy
	$(PYTEST) -m "not servers and not browser and not release"

release-test: $(VENV)/.installed servers ## the long runs of one part: PART=end_to_end
	@test -n "$(PART)" || { echo "make release-test: say which part, for example PART=end_to_end" >&2; exit 2; }
	$(BIN)/pytest -m release -k "$(PART)" --timeout 7200

bench: $(VENV)/.installed servers ## measure against peers and floors: MAILS=1000 ROUNDS=5; RECORD=1 keeps the figures
	PYTHONPATH=tests $(BIN)/python bench/run.py --mails $(or $(MAILS),1000) --rounds $(or $(ROUNDS),5) $(if $(RECORD),--record)

pictures: $(VENV)/.installed servers ## photograph every letter for the docs, in Chromium
	$(BIN)/python tests/browser/pictures.py docs/pictures

servers: ## install the mail servers, database and browser that the tests talk to
	@tests/servers/install-packages

lock: $(VENV)/.installed ## pin the newest versions that pyproject.toml and requirements.in allow
	$(UV) compile --all-extras --system-certs --universal --python-version 3.11 --no-header --no-annotate --no-emit-index-url \
	  --no-emit-find-links --upgrade --output-file requirements.txt pyproject.toml requirements.in

clean: ## remove what the other targets made
	rm -rf $(VENV) build dist demo-out *.egg-info .mypy_cache .ruff_cache .pytest_cache .hypothesis

# The stamp is older than what it was made from when the pins or the package's shape change; then it is made again.
$(VENV)/.installed: requirements.txt pyproject.toml
	@test -n "$(PYTHON)" || { echo "No Python 3.11, 3.12 or 3.13 was found.  On Debian 12 or Ubuntu 24.04:" \
	  "sudo apt-get install python3-venv" >&2; exit 1; }
	@$(PYTHON) -c 'import ensurepip' 2>/dev/null || { echo "$(PYTHON) cannot make virtual environments." \
	  "On Debian and Ubuntu: sudo apt-get install python3-venv" >&2; exit 1; }
	@test -x $(BIN)/pip || $(PYTHON) -m venv --clear $(VENV)
	@echo "Installing the pinned libraries into $(VENV) ..."
	@{ test -x $(BIN)/uv || $(BIN)/pip install --quiet --disable-pip-version-check uv; } && \
	  $(UV) sync --python $(BIN)/python $(UV_FLAGS) requirements.txt && \
	  $(UV) install --python $(BIN)/python $(UV_FLAGS) --no-deps --editable . || \
	{ echo "uv did not manage it; pip tries." >&2; \
	  $(BIN)/pip install --quiet --disable-pip-version-check --requirement requirements.txt && \
	  $(BIN)/pip install --quiet --disable-pip-version-check --no-deps --editable .; }
	@touch $@
