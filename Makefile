# Everything one does with a checkout. Needs make, and a Python from 3.11 to 3.14; `make help` lists the targets.
#
# Paths are relative, so that a checkout may lie below a folder with spaces in its name. The stamps in .venv say
# which requirement files it holds: what is up to date is not installed again.

SHELL := /bin/sh
.DELETE_ON_ERROR:
.DEFAULT_GOAL := help
unexport PYTHONPATH PYTHONHOME
# Bytecode is kept, whatever the shell says: each process of a stack and of the tests would compile everything.
unexport PYTHONDONTWRITEBYTECODE
export PIP_DISABLE_PIP_VERSION_CHECK := 1
export PIP_USER := 0

VENV := .venv
BIN := $(VENV)/bin
CREATED := $(VENV)/created.stamp
RUN := $(VENV)/run.stamp
DEV := $(VENV)/dev.stamp
PIP = $(BIN)/python -m pip install --quiet

# The first of these that is there, can start (a pyenv shim may not), is 3.11 to 3.14 and can make environments.
# What pyenv has installed is looked for too: its shims start only what the user has chosen with `pyenv global`.
NAMES := python3 python3.14 python3.13 python3.12 python3.11 python
PYENV := $(or $(PYENV_ROOT),$(HOME)/.pyenv)
PYTHONS := $(NAMES) $(wildcard $(foreach minor,14 13 12 11,$(PYENV)/versions/3.$(minor).*/bin/python))
SUITABLE := import ensurepip, sys, venv; sys.exit(not (3, 11) <= sys.version_info[:2] <= (3, 14))

# A removed or replaced interpreter leaves a dangling .venv/bin/python behind: begin again. The same where the
# user names a Python of another version than that of .venv.
ifeq ($(wildcard $(BIN)/python),)
$(CREATED): again
else ifdef PYTHON
VERSION = $(shell "$(1)" -c 'import platform; print(platform.python_version())' 2>&1)
ifneq ($(call VERSION,$(PYTHON)),$(call VERSION,$(BIN)/python))
$(CREATED): again
endif
endif

.PHONY: again help pythons install wheel demo up test databases coverage check format bench chaos audit pins

help: ## list the targets
	@sed -n 's/^\([a-z]*\):.*## /  \1	/p' Makefile | expand -t 14

install: $(RUN) ## create .venv and install what running needs; nothing when it is up to date

$(CREATED):
	@for python in $(or $(PYTHON),$(PYTHONS)); do \
	    if "$$python" -c '$(SUITABLE)' >/dev/null 2>&1; then \
	        echo "creating $(VENV) with $$python ($$("$$python" -V 2>&1))"; \
	        "$$python" -m venv --clear $(VENV) && touch $@; exit; \
	    fi; \
	done; \
	echo "make: no Python from 3.11 to 3.14 with the venv module found (tried: $(or $(PYTHON),$(PYTHONS)));" \
	    "install one, or name it: make PYTHON=/path/to/python3.13" >&2; \
	exit 1

pythons: ## the Pythons of this machine that can be used, one of each version, oldest first
	@for python in $(PYTHONS); do \
	    if "$$python" -c '$(SUITABLE)' >/dev/null 2>&1; then \
	        "$$python" -c 'import platform, sys; print(platform.python_version(), sys.executable)'; \
	    fi; \
	done | sort --version-sort --unique --key 1,1

$(RUN): requirements/run.txt pyproject.toml setup.py $(CREATED)
	@echo "installing requirements/run.txt (about a minute when nothing is cached)"
	@$(PIP) --require-hashes -r requirements/run.txt
	@$(PIP) --no-index --no-deps --no-build-isolation --editable .
	@touch $@
	@echo "installed: $(BIN)/imagequeue"

$(DEV): requirements/dev.txt $(RUN)
	@echo "installing requirements/dev.txt: what tests and checks need"
	@$(PIP) --require-hashes -r requirements/dev.txt
	@touch $@

# `build` may hold files that the checkout has no more, and setuptools would pack them.
wheel: install ## the wheel of this checkout, in dist/
	@rm -rf build dist
	@$(BIN)/python -m pip wheel --quiet --no-index --no-deps --no-build-isolation --wheel-dir dist .
	@ls dist/*.whl

demo: install ## the whole stack with the simulator: real jobs, images in demo/, then everything stops
	@$(BIN)/imagequeue demo --output demo

up: install ## run the whole stack until Ctrl-C
	@$(BIN)/imagequeue up

# Four processes on two cores, because much of the suite waits. tests/conftest.py says what stays together, and
# begins with what takes long.
SPREAD := -n 4 --dist loadscope --no-loadscope-reorder

test: $(DEV) ## the whole test suite
	@$(BIN)/python -m pytest $(SPREAD)

# What depends on the server: every statement, and one run of all processes. What takes real seconds waits for no
# server, and stays with `make test`. A statement that the oldest Postgres takes is taken by later ones, so a
# second server gets less: `make databases DATABASES=tests/store`.
DATABASES := tests/store tests/lifecycle tests/house/test_processes.py

databases: $(DEV) ## what depends on Postgres, on another one: make databases TEST_POSTGRES=/usr/lib/postgresql/15
	@TEST_POSTGRES="$(TEST_POSTGRES)" $(BIN)/python -m pytest $(SPREAD) -m "not long or server" $(DATABASES)

coverage: $(DEV) ## the whole test suite, with branch coverage
	@$(BIN)/python -m pytest $(SPREAD) --cov --cov-report=term-missing:skip-covered

check: $(DEV) ## format, lint, types, import contracts
	@$(BIN)/ruff format --check .
	@$(BIN)/ruff check .
	@$(BIN)/basedpyright --pythonpath $(BIN)/python
	@$(BIN)/lint-imports

format: $(DEV) ## format, and mend what ruff can mend
	@$(BIN)/ruff check --fix .
	@$(BIN)/ruff format .

bench: $(DEV) ## benchmark rows, as one table: make bench ROWS=a,b RUNS=3
	@$(BIN)/python -m bench $(if $(ROWS),--rows $(ROWS)) $(if $(RUNS),--runs $(RUNS))

chaos: $(DEV) ## a bounded run on the real stack under faults, then the checker
	@$(BIN)/python -m chaos

# In an environment of its own, because it asks for packages that the tools of the tests pin otherwise. Not a part of
# `check`, which needs no network.
AUDIT = $(VENV)/audit
audit: requirements/audit.txt $(CREATED) ## known vulnerabilities of the pinned packages, as far as the package index tells them
	@$(BIN)/python -m venv $(AUDIT)
	@$(AUDIT)/bin/python -m pip install --quiet --require-hashes -r requirements/audit.txt
	@$(BIN)/python requirements/audit.py $(AUDIT)/bin/pip-audit requirements/dev.txt requirements/audit.txt

# After a change of requirements/*.in. uv (0.8 or later) is needed for this alone. The files hold hashes for every
# platform and name no index, so whoever installs uses the index that pip is set up with.
UV_COMPILE = uv pip compile --quiet --universal --python-version 3.11 --generate-hashes --no-annotate --no-header \
    --no-emit-index-url --no-emit-find-links --no-strip-extras
pins: $(CREATED) ## recompile requirements/*.txt with uv and check their wheels: make pins UPGRADE=--upgrade
	@cd requirements && $(UV_COMPILE) $(UPGRADE) run.in --output-file run.txt
	@cd requirements && $(UV_COMPILE) $(UPGRADE) dev.in --constraint run.txt --output-file dev.txt
	@cd requirements && $(UV_COMPILE) $(UPGRADE) audit.in --constraint run.txt --output-file audit.txt
	@sh requirements/check_wheels.sh $(BIN)/python -m pip
