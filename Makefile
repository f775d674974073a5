# The two commands of the README are `make demo` and `make test`. Each does all of its own set-up on a fresh Debian 12
# machine and asks nothing. Packages are installed only where they are missing, and only if this is root.

SHELL := /bin/bash
PYTHON ?= /usr/bin/python3
VENV := .venv
SOURCES := $(shell find src -name '*.py' -o -name '*.toml' -o -name '*.j2' -o -name '*.txt' 2>/dev/null) pyproject.toml
CLEAN_ENV := env -u PIP_FIND_LINKS -u PYTHONPATH -u PYTHONHOME

.PHONY: help
help:
	@sed -n 's/^## //p' $(MAKEFILE_LIST)

## make demo              the whole way on this machine: keystone built with no internet (root; IMAGES=base for less)
##   STORES=real          the same through a real Nexus, Gerrit, Zuul and registry; KEEP=1 leaves them up to look at
.PHONY: demo
ifeq ($(STORES),real)
demo: install .cache/boxes/.zuul-made
	@IMAGES="$(IMAGES)" KEEP="$(KEEP)" $(VENV)/bin/python -m demo
else
demo: install
	@IMAGES="$(IMAGES)" scripts/demo
endif

## make demo-validate     the proof of completeness on the demo's factory alone
.PHONY: demo-validate
demo-validate: install
	$(VENV)/bin/airlock validate --factory .demo/factory .demo/factory/definition

## make clean-demo        remove all that the demo made
.PHONY: clean-demo
clean-demo:
	@test ! -d .demo/real || $(VENV)/bin/python -m demo clean
	@scripts/demo --clean

## make install           the command into .venv/bin/airlock
.PHONY: install
install: $(VENV)/.installed

$(VENV)/.packages: scripts/packages
	@mkdir -p $(VENV) && scripts/packages && touch $@

$(VENV)/.runtime: requirements/runtime.txt requirements/build.txt $(VENV)/.packages
	@test -x $(VENV)/bin/python || $(PYTHON) -m venv $(VENV)
	@$(CLEAN_ENV) $(VENV)/bin/python -m pip install -q --disable-pip-version-check --require-hashes -r requirements/build.txt -r requirements/runtime.txt
	@touch $@

$(VENV)/.installed: $(VENV)/.runtime $(SOURCES)
	@rm -rf dist && $(CLEAN_ENV) $(VENV)/bin/python -m pip wheel -q --disable-pip-version-check --no-deps --no-build-isolation -w dist .
	@$(CLEAN_ENV) $(VENV)/bin/python -m pip install -q --disable-pip-version-check --no-deps --no-index --force-reinstall dist/*.whl
	@touch $@ && echo "installed $(VENV)/bin/airlock"

$(VENV)/.dev: requirements/dev.txt $(VENV)/.runtime
	@$(CLEAN_ENV) $(VENV)/bin/python -m pip install -q --disable-pip-version-check --require-hashes -r requirements/dev.txt
	@touch $@

## make boxes             what real servers are made of (Nexus, Gerrit, a registry): into .cache/boxes, once
.PHONY: boxes
boxes: install .cache/boxes/.made

.cache/boxes/.made: scripts/packages requirements/boxes.txt boxes/maven.toml
	@scripts/packages boxes && $(VENV)/bin/python -m boxes fetch && mkdir -p $(@D) && touch $@

.cache/boxes/.zuul-made: scripts/packages requirements/zuul.txt requirements/zuul-ansible.txt .cache/boxes/.made
	@scripts/packages zuul && $(VENV)/bin/python -m boxes fetch --zuul && mkdir -p $(@D) && touch $@

## make test-zuul         with a real Gerrit and Zuul, in a namespace of their own; dated in docs/results/ (root)
.PHONY: test-zuul
test-zuul: install .cache/boxes/.zuul-made $(VENV)/.dev
	@$(VENV)/bin/python scripts/test-zuul

## make test              lint, types, unit and integration tests, one sealed build (under 30 minutes; root)
.PHONY: test
test: install boxes $(VENV)/.dev $(VENV)/.window-packages
	@scripts/test

## make test-window       the firewall's windows alone, in namespaces, at full counts (root)
.PHONY: test-window
test-window: install $(VENV)/.dev $(VENV)/.window-packages
	@$(VENV)/bin/python -m pytest tests/unit/firewall tests/integration/firewall -m "" -q

$(VENV)/.window-packages: scripts/packages
	@scripts/packages window tests && touch $@

## make test-full         everything at the stated counts, resumable; results dated in docs/results/
.PHONY: test-full
test-full: install boxes .cache/boxes/.zuul-made $(VENV)/.dev $(VENV)/.window-packages
	@scripts/test --full

## make lock-all          lock every image of examples/all-debian, into .cache/all-images/ (ARCHES="x86_64 aarch64")
.PHONY: lock-all
lock-all: install
	@scripts/lock-all

## make validate-all      fetch what these locks name (a gigabyte an architecture) and prove them
.PHONY: validate-all
validate-all: install
	@scripts/lock-all --validate

## make rehearse          build them, sealed, from these files; goes on where it was (root; IMAGES='^nova ^glance' FOR=40m)
.PHONY: rehearse
rehearse: install
	@IMAGES="$(IMAGES)" FOR="$(FOR)" scripts/rehearse

## make lint              ruff, mypy, import-linter
.PHONY: lint
lint: install $(VENV)/.dev
	$(VENV)/bin/ruff format --check src tests boxes demo scripts/stand-in-base
	$(VENV)/bin/ruff check src tests boxes demo scripts/stand-in-base
	$(VENV)/bin/mypy
	$(VENV)/bin/lint-imports

## make requirements      pin the dependencies anew (hashed; names no host)
.PHONY: requirements
requirements: $(VENV)/.runtime
	scripts/pin
