# Two commands: `make demo` and `make test`. Both set up .venv first.

# The newest Python that is there and new enough; PYTHON=... overrides.
PYTHON ?= $(shell for p in python3 python3.13 python3.12 python3.11 python; do \
	"$$p" -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null && echo "$$p" && break; done)
VENV := .venv
# Some tests wait rather than work.
TEST_PROCESSES ?= 3
BIN := $(VENV)/bin
PIP := $(BIN)/python -m pip install --quiet --disable-pip-version-check
# Files whose change calls for installing again.
PACKAGE := setup.cfg pyproject.toml requirements.txt

.PHONY: demo test torture check wheel clean python-is-new-enough

demo: $(VENV)/.demo
	$(BIN)/annotate demo

test: $(VENV)/.dev
	$(BIN)/python -m pytest -n $(TEST_PROCESSES) --dist loadfile --no-loadscope-reorder

# What takes minutes or hours; each line by itself: python -m torture --help
torture: $(VENV)/.dev
	$(BIN)/python -m pytest -m long
	$(BIN)/python -m torture kills
	$(BIN)/python -m torture mutations

check: $(VENV)/.dev
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/python -m mypy

wheel: $(VENV)/.dev
	rm -rf build
	$(BIN)/python -m pip wheel --quiet --no-deps --no-build-isolation --wheel-dir dist .

# Trains a preset, or goes on where it stopped, and exports it:
# make models/gray128 UTKFACE=/path/to/utkface FIT='--precision mixed_bfloat16'
# What else a preset was made with, FIT has to say: without it, this would be another model.
models/%: | $(VENV)/.dev
	@[ -d "$(UTKFACE)" ] || { echo "Where are the images? make $@ UTKFACE=/path/to/utkface"; exit 1; }
	@command=$$($(BIN)/python -m training presets | sed -n 's/^ *command *\(.* --preset $* \)/\1/p'); \
	for option in --photographs --start --teacher; do \
		case "$$command" in *" $$option "*) \
			case " $(FIT)" in *" $$option "*|*" $$option="*) ;; *) \
				echo "$* needs $$option, in FIT or by hand, see docs/results.md: $$command"; exit 1;; \
			esac;; \
		esac; \
	done
	$(BIN)/python -m training fit --preset $* --data "$(UTKFACE)" --out runs/$* $(FIT) \
		$(if $(wildcard runs/$*/checkpoint.npz),--resume)
	$(BIN)/python -m training export --run runs/$* --data "$(UTKFACE)" --out $@

clean:
	rm -rf $(VENV) build dist *.egg-info annotate-demo .mypy_cache .ruff_cache .pytest_cache

python-is-new-enough:
	@if [ -z "$(PYTHON)" ]; then \
		echo "annotate needs Python 3.11 or newer: install one, or say make PYTHON=/path/to/python3.11"; \
		exit 1; fi

$(BIN)/python: | python-is-new-enough
	$(PYTHON) -m venv $(VENV)

$(VENV)/.demo: $(PACKAGE) | $(BIN)/python
	@echo "Installing annotate into $(VENV): a few minutes, once."
	$(PIP) --editable '.[demo,review]'
	@touch $@

$(VENV)/.dev: $(PACKAGE) | $(BIN)/python
	@echo "Installing annotate and what its tests need into $(VENV): a few minutes, once."
	$(PIP) --editable '.[dev]'
	@touch $@ $(VENV)/.demo
