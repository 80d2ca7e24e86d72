# The front door; CMake does the work (CMakeLists.txt), tools/test.sh the tests. `make help` lists the targets.
#
# `make CC=gcc` builds with gcc; the default is clang when there is one. BUILD, PREFIX, JOBS can be given.
BUILD ?= build
PREFIX ?= /usr/local
JOBS ?= $(shell nproc 2>/dev/null || sysctl -n hw.ncpu 2>/dev/null || echo 2)
PROMPT ?= Once upon a time
# make's own default CC is "cc"; only one that was asked for counts.
ifneq ($(origin CC),default)
export CC
else
unexport CC
endif
export BUILD JOBS

.DEFAULT_GOAL := build/myna
.PHONY: build/myna help demo test quick oracles bench install mutants format clean

build/myna: ## build the binary (build/myna) and the library (build/libmyna.a, .so)
	@tools/configure.sh $(BUILD)
	@cmake --build $(BUILD) --target product -j $(JOBS)

help: ## this list
	@awk -F ':.*## ' '/^[a-z\/]+:.*## / { printf "  make %-12s %s\n", ($$1 == "build/myna" ? "" : $$1), $$2 }' Makefile

demo: ## install what is missing, build, and generate text with the model that ships here
	@tools/bootstrap.sh build
	@$(MAKE) --no-print-directory build/myna
	$(BUILD)/myna run -p "$(PROMPT)"

test: ## install what is missing, then everything that CI checks (STAGES="unit asan" for some of it)
	@tools/bootstrap.sh test
	@tools/test.sh $(STAGES)

quick: ## static checks and unit tests only
	@tools/test.sh checks unit

oracles: ## make the committed results of tests again (downloads Python packages)
	@tools/oracles.sh

bench: build/myna ## measure speed: MODELS="a.gguf b.gguf:depth" PEERS="llama=/path/to/its/bin" SUITES=basic,batch ROUNDS=15 SHORT=1
	@cmake --build $(BUILD) --target probe >/dev/null
	@python3 bench/bench.py --myna $(BUILD)/myna --probe $(BUILD)/probe --peers "$(PEERS)" --suites $(or $(SUITES),$(SUITE),quick) \
	  $(if $(ROUNDS),--rounds $(ROUNDS)) $(if $(SHORT),--short) $(ARGS) $(or $(MODELS),models/myna-stories.gguf)

install: build/myna ## install into PREFIX (default /usr/local)
	@cmake --install $(BUILD) --prefix $(PREFIX)

mutants: ## change the source at random; the tests must notice 85 % (ARGS="--only src/base --seed 2")
	@python3 tools/mutants.py $(ARGS)

format: ## reformat all C files
	@find include src tests fuzz bench -name '*.[ch]' 2>/dev/null | xargs clang-format-14 -i

clean: ## remove build/
	rm -rf $(BUILD)
