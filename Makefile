# A thin cover over CMake: `make demo` and `make test` are all a newcomer needs. Variables: BUILD (folder), PREFIX, JOBS,
# CMAKE_FLAGS.
BUILD ?= build
PREFIX ?= /usr/local
JOBS ?= 2
CMAKE_FLAGS ?=
CTEST = ctest --test-dir $(BUILD) --output-on-failure

all: $(BUILD)/configured
	cmake --build $(BUILD)

# Installs what Debian has and this machine misses (as root), then configures.
$(BUILD)/configured: CMakeLists.txt
	sh scripts/deps.sh
	cmake -S . -B $(BUILD) -G Ninja $(CMAKE_FLAGS)
	@touch $@

demo: $(BUILD)/configured
	cmake --build $(BUILD) --target softpm_tool wordindex
	@SOFTPM_BUILD=$(BUILD) sh apps/wordindex/demo.sh

test: all
	sh scripts/deps.sh test
	$(CTEST) -LE slow --parallel $(JOBS)

test-slow: all
	$(CTEST) -L slow

# All benches, to the terminal and, for bench/plot, to a file. Takes hours; bench/run --quick takes minutes.
bench:
	sh scripts/deps.sh bench
	cmake -S . -B $(BUILD) -G Ninja $(CMAKE_FLAGS)
	cmake --build $(BUILD) --target all bench
	bench/run --build $(abspath $(BUILD)) --json $(BUILD)/bench.json

docs: $(BUILD)/configured
	cmake --build $(BUILD) --target docs

install: all
	cmake --install $(BUILD) --prefix $(PREFIX)
	@[ "$$(id -u)" != 0 ] || ldconfig

clean:
	rm -rf build build-debug build-asan build-tsan build-clang

.PHONY: all demo test test-slow bench docs install clean
