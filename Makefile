# `make setup` installs what is missing; every other target calls it first. A second run installs nothing.
# The system's Python before others: it is built for speed, and one that was built by hand takes up to a fifth more.
ifndef PYTHON
PYTHON := $(or $(shell for p in /usr/bin/python3 python3; do $$p -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null && echo $$p && break; done),python3)
endif
VENV := .venv
BIN := $(VENV)/bin
STAMP := $(VENV)/.installed
PACKAGES := janus python3-venv fonts-noto-cjk
TEST_PACKAGES := chromium iproute2
CLIENTS := tests/clients
BENCH_PACKAGES := janus-tools python3-gi gir1.2-gstreamer-1.0 gir1.2-gst-plugins-base-1.0 gir1.2-gst-plugins-bad-1.0 \
  gstreamer1.0-plugins-base gstreamer1.0-plugins-good gstreamer1.0-plugins-bad gstreamer1.0-libav gstreamer1.0-nice
MIX_PACKAGES := ffmpeg gstreamer1.0-tools gstreamer1.0-plugins-ugly xvfb pulseaudio chromium

# Debian's package starts a Janus of its own; what we installed we also quieten. One that was there before is left alone.
define install
missing=""; for p in $(1); do dpkg-query -W -f='$${Status}' $$p 2>/dev/null | grep -q "install ok installed" || missing="$$missing $$p"; done; \
if [ -n "$$missing" ]; then \
  sudo=""; [ "$$(id -u)" = 0 ] || sudo=sudo; \
  echo "installing:$$missing"; \
  $$sudo apt-get update -qq && $$sudo env DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends $$missing || exit 1; \
  case "$$missing" in *janus*) [ ! -d /run/systemd/system ] || $$sudo systemctl disable --quiet --now janus || true;; esac; \
fi
endef

# Sources are compiled once, not in each of the many processes that tests and benchmarks start.
unexport PYTHONDONTWRITEBYTECODE

.PHONY: setup setup-test system demo test check types pure bench-single bench-mixed bench-start bench-days bench-api lock format clean

setup: $(STAMP)

setup-test: setup $(CLIENTS)/node_modules/.installed $(CLIENTS)/.tccli/.installed
	@$(call install,$(TEST_PACKAGES))

# Tencent's other clients, which the tests drive.
$(CLIENTS)/node_modules/.installed: $(CLIENTS)/package-lock.json
	@command -v npm >/dev/null || { $(call install,nodejs npm) }
	npm ci --silent --prefix $(CLIENTS)
	@touch $@

$(CLIENTS)/.tccli/.installed: $(CLIENTS)/tccli.lock | setup
	rm -rf $(@D)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --no-deps --no-compile --require-hashes --target $(@D) -r $<
	@touch $@

system:
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { echo "Python 3.11 or newer is needed: make PYTHON=python3.12 …"; exit 1; }
	@$(call install,$(PACKAGES))

$(STAMP): requirements.lock pyproject.toml | system
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --require-hashes -r requirements.lock
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --no-deps --no-build-isolation -e .
	@touch $@

demo: setup
	@$(BIN)/rokuga demo $(ARGS)

# Pure tests; those that drive real parts, four files at a time (most of their time is waiting); those with a busy browser, one after
# the other; and those that judge times, which take little of a machine, three files at a time.
test: setup-test check
	$(BIN)/python -m pytest -m "live and not alone and not browser" -n 4 --dist loadfile --no-loadscope-reorder -q --durations=10
	$(BIN)/python -m pytest -m browser -q --durations=10
	$(BIN)/python -m pytest -m "live and alone" -n 3 --dist loadfile --no-loadscope-reorder -q --durations=10

check: setup
	$(BIN)/ruff format --check src tests bench
	$(BIN)/ruff check src tests bench
	$(MAKE) --no-print-directory -j2 -O types pure

types: setup
	$(BIN)/mypy

pure: setup
	$(BIN)/python -m pytest -m "not live" -n 2 -q

# What a recorded user costs, beside GStreamer and Janus' own recording: about an hour; ARGS="--users 10" for one number of users.
bench-single: setup
	@$(call install,$(BENCH_PACKAGES))
	@$(BIN)/python -m bench.single $(ARGS)

# What a mixed recording costs, beside ffmpeg, GStreamer and a browser: over an hour; ARGS="--tiles 4" for one number of users.
bench-mixed: setup
	@$(call install,$(BENCH_PACKAGES) $(MIX_PACKAGES))
	@$(BIN)/python -m bench.mixed $(ARGS)

# How long it takes until a recording has begun.
bench-start: setup
	@$(BIN)/python -m bench.start $(ARGS)

# How fast the API answers while recordings run, and 10,000 Modify calls on one task.
bench-api: setup
	@$(BIN)/python -m bench.api $(ARGS)

# What calls of 1, 7 and 14 days cost a node.
bench-days: setup
	@$(BIN)/python -m bench.days $(ARGS)

LOCK = $(BIN)/uv pip compile --quiet --universal --python-version 3.11 --generate-hashes --no-header --no-annotate --no-emit-index-url

# No address of any registry is written down.
lock: setup
	$(LOCK) --extra dev pyproject.toml -o requirements.lock
	$(LOCK) $(CLIENTS)/tccli.in -o $(CLIENTS)/tccli.lock
	cd $(CLIENTS) && npm install --silent --package-lock-only
	$(BIN)/python -c "import json, pathlib; p = pathlib.Path('$(CLIENTS)/package-lock.json'); d = json.loads(p.read_text()); \
	  [package.pop('funding', None) for package in d['packages'].values()]; p.write_text(json.dumps(d, indent=2) + '\n')"

format: setup
	$(BIN)/ruff check --fix src tests bench
	$(BIN)/ruff format src tests bench

clean:
	rm -rf $(VENV) $(CLIENTS)/node_modules $(CLIENTS)/.tccli .mypy_cache .ruff_cache .pytest_cache
