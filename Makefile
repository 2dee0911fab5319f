# Datendrehscheibe: `make help` names the commands. Needs Python 3.11 or newer, its venv module, and make.

PYTHON ?= $(shell command -v python3.11 || command -v python3)
VENV := .venv
PY := $(VENV)/bin/python -P
JOBS ?= 2
COMPILE := $(PY) -m uv pip compile --quiet pyproject.toml --python-version 3.11 --generate-hashes \
	--no-emit-index-url --no-emit-find-links --no-header

# With this variable each of some thousand processes of the tests would compile the hub anew.
unexport PYTHONDONTWRITEBYTECODE

.DELETE_ON_ERROR:
.PHONY: help run test check fast torture simulate bench lint packages lock docs screenshots man clean

help:
	@echo 'make run     start the hub with its example configuration, send the examples, show where they went'
	@echo 'make test    everything that has to hold: linters, types, architecture, all tests with real services'
	@echo 'make check   the fast part of it (under a minute, no services)'
	@echo 'make torture TIER=commit|nightly|release SEED=n    kill the hub, fill its disk, cut its power and'
	@echo '             its connections, and count (docs/scoreboard.md)'
	@echo 'make simulate SEEDS=200 FIRST=1    the same with a simulated clock, dice and receivers; a failing'
	@echo '             seed can be replayed'
	@echo 'make bench   measure the hub beside its limits (docs/benchmarks.md; an hour); QUICK=1: only check'
	@echo '             that all benchmarks work, ten minutes'
	@echo 'make docs    write the pages in docs/ that come from the code and the mappings'
	@echo 'make screenshots  take the pictures in docs/screenshots/ again (Chromium)'
	@echo 'make man     write a man page for every command into dist/man/'
	@echo 'make lock    write requirements.txt and requirements-dev.txt anew from pyproject.toml'
	@echo 'make clean   remove the virtual environment and caches (var/, with the data of the example, stays)'

# --- commands -----------------------------------------------------------------------------------------------

run: $(VENV)/run
	@exec $(VENV)/bin/drehscheibe --config etc/hub.toml demo $(ARGS)

# The tests of a file run one after the other in one process, because some share a machine or the example's
# ports. (The locked pytest does not keep xdist's groups together.) The order is that of tests/conftest.py.
# There is one process more than JOBS, because many tests wait: for services, clocks, and what must not come.
test: packages lint
	$(PY) -m bandit --quiet --configfile pyproject.toml --recursive hub connectors benchmarks
	$(PY) -m pytest -n $$(($(JOBS) + 1)) --dist loadfile --no-loadscope-reorder

# The linters mostly use one core, so the tests run beside them. The output of each comes as a whole.
check: $(VENV)/dev
	@$(MAKE) --no-print-directory --jobs=2 --output-sync=target lint fast

# Temporary files are in memory where there is room: these tests make some hundred stores with 257 folders
# each, and none has to survive a power cut. `make test` uses the disk.
fast: $(VENV)/dev
	@room=$$(df -Pk /dev/shm 2>/dev/null | awk 'NR == 2 { print $$4 }'); \
	if [ -w /dev/shm ] && [ "$${room:-0}" -gt 1000000 ]; then export TMPDIR=/dev/shm; fi; \
	$(PY) -m pytest -q -n $(JOBS) --dist loadfile -m 'not service and not slow' tests/unit \
		tests/test_house.py tests/test_readme.py tests/test_docs.py

# With INTO=folder an interrupted run can go on, by the same TIER, SEED and INTO. TIER=release keeps its
# results in docs/scoreboard/ and can go on by its SEED alone, on any machine.
torture: packages $(VENV)/dev
	$(PY) -m tests.torture --tier $(or $(TIER),commit) $(if $(SEED),--seed $(SEED)) \
		$(if $(INTO),--into $(INTO)) $(ARGS)

# To replay a failing seed: .venv/bin/python -m tests.simulation --replay SEED -v
simulate: $(VENV)/dev
	$(PY) -m tests.simulation --seeds $(or $(SEEDS),200) --first $(or $(FIRST),1) $(ARGS)

# The machine should have nothing else to do. ARGS: --only NAME, --large (docs/benchmarks.md).
bench: packages $(VENV)/dev
	$(PY) -m benchmarks $(if $(QUICK),--quick) $(ARGS)

lint: $(VENV)/dev
	$(PY) -m ruff check .
	$(PY) -m mypy
	$(VENV)/bin/lint-imports --no-cache
	$(PY) -m deptry hub connectors benchmarks

packages:
	@.ci/packages

docs: $(VENV)/run
	@$(VENV)/bin/drehscheibe --config etc/hub.toml mapping doc --out docs/services
	@$(PY) docs/reference/generate_reference.py docs/reference
	@$(PY) docs/reference/generate_metrics.py

screenshots: packages $(VENV)/dev
	@$(PY) docs/screenshots/generate_screenshots.py

man: $(VENV)/dev
	@$(PY) docs/reference/generate_man.py dist/man

# The lock files keep their versions and change only what pyproject.toml asks for. `make lock ARGS=--upgrade`
# takes the newest versions.
lock: $(VENV)/dev
	$(COMPILE) $(ARGS) -o requirements.txt
	$(COMPILE) $(ARGS) --group dev -c requirements.txt -o requirements-dev.txt

clean:
	rm -rf $(VENV) $(VENV)-* .mypy_cache .ruff_cache .pytest_cache .hypothesis .import_linter_cache

# --- the virtual environment --------------------------------------------------------------------------------
# .ci/environment.py builds a new one beside the one that is there, then switches the link .venv. What fails
# leaves the old one as it is.

$(VENV)/run: requirements.txt
	@test -n "$(PYTHON)" || { echo 'Python is missing: sudo apt-get install python3 python3-venv' >&2; exit 1; }
	@$(PYTHON) .ci/environment.py run

$(VENV)/dev: requirements-dev.txt $(VENV)/run
	@$(PYTHON) .ci/environment.py dev
