# One command each. `make demo` and `make test` need Python 3.11 to 3.13, make and a package registry, nothing else.

SHELL := /bin/sh
PYTHON ?=
BIN := .venv/bin

# Stamps: what was installed last; newer requirements install again, otherwise nothing happens.
RUNTIME := .venv/.runtime-installed
DEV := .venv/.dev-installed
BENCH := .bench-venv/.installed

.DEFAULT_GOAL := install
.PHONY: install demo test test-slow test-all hostile hostile-l1 hostile-l0 faults fuzz bench lint types verify matrices messages docs package lock

install: $(RUNTIME)

# ---------------------------------------------------------------- environment

# The first interpreter that is in range and can make a virtual environment. Each is run, because a name on
# PATH proves little: pyenv puts python3.13 there and refuses to run it unless it was selected.
in_range := sys.exit(not (3, 11) <= sys.version_info[:2] < (3, 14))
find_python = \
	python=; found=; for candidate in $(or $(PYTHON),python3 python3.12 python3.13 python3.11 python); do \
		"$$candidate" -c 'import sys; $(in_range)' >/dev/null 2>&1 || continue; \
		found="$$candidate"; \
		if "$$candidate" -c 'import ensurepip, venv' >/dev/null 2>&1; then python="$$candidate"; break; fi; \
	done; \
	if [ -z "$$python" ] && [ -n "$$found" ]; then \
		echo "$$found cannot make a virtual environment: install its venv module (Debian, Ubuntu: apt install python3-venv)" >&2; exit 1; \
	elif [ -z "$$python" ]; then \
		echo "no Python 3.11, 3.12 or 3.13 $(if $(PYTHON),at $(PYTHON),on PATH): install one, or name one: make install PYTHON=/path/to/python3.12" >&2; exit 1; \
	fi

# On two cores uv installs these in 22 s, bytecode included (10 s without). The .pyc files matter: a sandbox sees the
# environment read-only and would compile TensorFlow anew in every cold kernel. uv does not read pip's
# settings, so a mirror that was set for pip is handed on, and like pip it is to trust the system's certificates.
# Where uv cannot work, pip installs the same files (in 80 s).
pip_install = \
	index="$${PIP_INDEX_URL:-$$($(BIN)/python -m pip config get global.index-url 2>/dev/null || true)}"; \
	if [ -n "$$index" ] && [ -z "$$UV_DEFAULT_INDEX" ]; then UV_DEFAULT_INDEX="$$index"; export UV_DEFAULT_INDEX; fi; \
	$(BIN)/uv pip install --quiet --system-certs --python $(or $(2),$(BIN))/python --compile-bytecode --require-hashes --requirement $(1) \
	|| { echo "uv could not install $(1): trying pip" >&2; $(or $(2),$(BIN))/$(PIP) install --require-hashes --requirement $(1); }
PIP := python -m pip --quiet --disable-pip-version-check

$(BIN)/uv: requirements/install.txt
	@if ! $(BIN)/python -c 'import pip, sys; $(in_range)' >/dev/null 2>&1; then \
		$(find_python); echo "making .venv with $$("$$python" --version)"; "$$python" -m venv --clear .venv; \
	fi
	@$(BIN)/$(PIP) install --require-hashes --requirement requirements/install.txt
	@touch $@

$(RUNTIME): pyproject.toml requirements/runtime.txt $(BIN)/uv
	@echo "installing requirements/runtime.txt into .venv (TensorFlow is most of it: about 0.6 GB to fetch)"
	@$(call pip_install,requirements/runtime.txt)
	@$(BIN)/$(PIP) install --no-deps --no-build-isolation --editable .
	@touch $@

$(DEV): requirements/dev.txt $(RUNTIME)
	@echo "installing requirements/dev.txt into .venv"
	@$(call pip_install,requirements/dev.txt)
	@touch $@

# The graders that ours is compared with have an environment of their own: what they need does not fit ours.
$(BENCH): requirements/bench.txt $(RUNTIME)
	@echo "installing requirements/bench.txt into .bench-venv"
	@$(BIN)/python -m venv --clear .bench-venv
	@$(call pip_install,requirements/bench.txt,.bench-venv/bin)
	@touch $@

# New pins for everything; afterwards run `make test-all` and commit the files. --universal: one file for Linux,
# macOS and Windows and for every Python in range; fewest: one version for all of them wherever there is one.
COMPILE := $(BIN)/uv pip compile --quiet --upgrade --universal --python-version 3.11 --fork-strategy fewest \
	--generate-hashes --no-emit-index-url --no-header
lock: $(BIN)/uv
	$(COMPILE) pyproject.toml --output-file requirements/runtime.txt
	$(COMPILE) requirements/install.in --constraints requirements/runtime.txt --output-file requirements/install.txt
	$(COMPILE) pyproject.toml --extra cluster --extra dev --extra docs --constraints requirements/runtime.txt \
		--constraints requirements/install.txt --output-file requirements/dev.txt
	$(COMPILE) requirements/bench.in --output-file requirements/bench.txt

# ---------------------------------------------------------------- using it

demo: $(RUNTIME)
	@status=0; $(BIN)/grader grade submissions --out report_cards || status=$$?; echo; \
	echo "The class:      $(CURDIR)/report_cards/index.html"; \
	echo "Report cards:   $(CURDIR)/report_cards/<lab>/<student>/card.html"; \
	exit $$status

verify: $(RUNTIME)
	$(BIN)/grader verify

# ---------------------------------------------------------------- developing it

test: $(DEV)
	$(BIN)/python -m pytest -m "not slow and not browser"

test-slow: $(DEV)
	$(BIN)/python -m pytest -m "slow or browser"

test-all: $(DEV)
	$(BIN)/python -m pytest

# Every attack of docs/threat-model.md, and one table of how each ended.
hostile: $(DEV)
	$(BIN)/python -m pytest -q tests/hostile

# The same notebooks at weaker levels than this machine reaches, to see what they gain there; each some ten minutes, as root.
hostile-l1: $(DEV)
	GRADER_TEST_LEVEL=1 $(BIN)/python -m pytest -q tests/hostile/test_corpus.py

hostile-l0: $(DEV)
	$(BIN)/python -m tests.hostile.weak

# A hundred faults over a class of forty: processes killed, the disk filled, the clock moved. Some ten minutes, as root.
faults: $(DEV)
	GRADER_TEST_FAULTS=100 GRADER_TEST_CLASS=40 $(BIN)/python -m pytest -q tests/hostile/test_faults.py

# A million damaged messages for what reads the wire: some two minutes, for every night.
fuzz: $(DEV)
	$(BIN)/python tools/fuzz_wire.py --inputs 1000000 --seed $$(date +%Y%m%d)

# Throughput against nbgrader and otter-grader, three turns each, and where a run's time goes; half an hour on a quiet machine.
bench: $(RUNTIME) $(BENCH)
	$(BIN)/python benchmarks/throughput.py --lab iris
	$(BIN)/python benchmarks/throughput.py --lab mnist
	$(BIN)/python benchmarks/stages.py
	$(BIN)/python benchmarks/stages.py --memory

# Style, import contracts, and requirements that name packages and hashes but no address and no machine.
lint: $(DEV)
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/lint-imports --no-logo
	@! grep -nE '://|^ *-|file:| @ |via [./~]' requirements/*.txt | grep -v -- '--hash=sha256:'

types: $(DEV)
	$(BIN)/mypy

# What verifying each lab shows, into docs/labs. Half an hour with the full data (GRADER_DATA names its folder), for all
# labs; LABS names some.
matrices: $(DEV)
	$(BIN)/python tools/matrices.py $(LABS)

# What is new in the source enters every catalogue untranslated; see docs/cards.md.
messages: $(DEV)
	$(BIN)/python tools/messages.py

# The documents as a site in build/site; a link that leads nowhere is an error.
docs: $(DEV)
	NO_MKDOCS_2_WARNING=1 $(BIN)/mkdocs build --strict

# The sdist, and the wheel built from it: it holds every file of the package (templates, translations, data), and its
# requirements are met.
package: $(DEV)
	rm -rf build/wheel dist
	$(BIN)/python -m build --no-isolation --outdir dist
	$(BIN)/python -m zipfile -e dist/*.whl build/wheel
	@(cd grader && find . -type f -not -path '*/__pycache__/*' | sort) > build/checkout.txt
	@(cd build/wheel/grader && find . -type f | sort) | diff build/checkout.txt -
	$(BIN)/python -m pip check
