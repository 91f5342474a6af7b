SHELL := /bin/bash
JOBS ?= $(shell nproc)
PREFIX ?= /usr/local
SECS ?= 60
T ?= $(patsubst tests/fuzz/%.c,%,$(wildcard tests/fuzz/*_*.c))
BASE := build-essential cmake ninja-build pkg-config liburing-dev libhdf5-dev \
        libjansson-dev libsodium-dev libssl-dev libisal-dev libcurl4-openssl-dev libexpat1-dev dict-gcide \
        gnuplot-nox procps
TEST := libcmocka-dev clang-14 clang clang-format clang-tidy libclang-rt-14-dev python3-h5py \
        python3-yaml hdf5-tools iproute2 openmpi-bin libopenmpi-dev libpmix-dev mpich libmpich-dev mandoc shellcheck \
        nginx-light curl g++ zlib1g-dev maven openjdk-17-jre-headless python3 python3-pip dpkg-dev \
        debootstrap qemu-user-static libc6-arm64-cross pyflakes3
SRC := $(filter-out build/%,$(wildcard */*.c */*/*.c */*/*/*.c))
HDR := $(filter-out build/%,$(wildcard */*.h */*/*.h */*/*/*.h))
MAN := $(wildcard launcher/man/*.[1-8] */tool/*.[1-8] perf/*.[1-8])
APT := $(if $(filter 0,$(shell id -u)),,sudo) env DEBIAN_FRONTEND=noninteractive apt-get -qq
# Installs what is missing of packages $(1); the package lists are refreshed only if that fails.
need = missing=; for p in $(1); do dpkg -s $$p 2>/dev/null | grep -q '^Status: install ok' || \
       missing+=" $$p"; done; get() { $(APT) install -y --no-install-recommends $$missing; }; \
       [ -z "$$missing" ] || { echo "installing:$$missing"; get &>/dev/null || \
       { $(APT) update && get >/dev/null; }; } </dev/null
# Configures preset $(1) with options $(2) and builds it, or targets $(3) of it.
make = cmake --preset $(1) $(2) >/dev/null && \
       cmake --build --preset $(1) -j $(JOBS) $(addprefix --target ,$(3))

.PHONY: help cluster cluster-down test-cluster deps-cluster deps deps-test deps-cuda deps-servers deps-roots deps-portable deps-peers deps-torch deps-slurm deps-kits build portable demo trixie test check asan tsan fuzz mutate lint fmt bench kills slurm install clean
help: ## this list
	@sed -nE 's/^([a-z-]+):.*## /\1\t/p' Makefile | expand -t 14
deps: ; @$(call need,$(BASE)) ## install the Debian packages for build and demo that are missing
deps-test: deps ; @$(call need,$(TEST)) ## the same for tests and lint
deps-cuda: ; @$(call need,python3 python3-pip) && gpu/get-cuda build/cuda ## a CUDA toolkit in build/cuda, for the kernels and their tests
deps-servers: ; @$(call need,maven openjdk-17-jre-headless curl python3 python3-pip) && tests/servers/get-servers build/servers ## Hadoop and an S3 server in build/servers, for tests
deps-roots: ; @$(call need,debootstrap qemu-user-static libc6-arm64-cross) && tests/roots/get-roots build/roots ## bare Debian 11 and 13, for tests; as root
deps-portable: ; @$(call need,dpkg-dev python3 python3-pip) && launcher/portable/get build/portable ## what portable compiles with, in build/portable
deps-peers: ; @$(call need,python3 python3-pip python3-venv) && perf/peers/get build/peers ## other MPIs, formats and clients of stores in build/peers, for bench to compare with
deps-torch: ; @$(call need,python3-torch) ## PyTorch, for the tests of tensors; 600 MB
build: deps ## release build: programs in build/bin, libraries in build/lib
	@$(call make,release,-DBUILD_TESTING=OFF)
portable: deps-portable ; @launcher/portable/build build/portable ## the launcher for any image: x86-64, aarch64; glibc 2.28 and later, static
demo: build ## train, be preempted, resume, lose a rank, resume, compare; draws demo/loss.svg
	@examples/demo.sh
trixie: deps-roots ## make demo on a bare Debian 13; as root
	@tests/roots/demo build/roots/trixie
deps-slurm: ; @$(call need,slurmctld slurmd slurm-client munge) ## a Slurm, for the test of launcher/slurm
deps-cluster: ; @$(call need,containerd runc containernetworking-plugins etcd-server busybox-static dash dict-gcide openmpi-bin openssl gcc libc6-dev python3-yaml python3-pip) && tests/cluster/get-cluster ## a Kubernetes and operators, built from Go modules in MUSTER_CACHE=~/.cache/muster
deps-kits: deps-test ## all of these; tests of what cannot be had are skipped
	@for kit in deps-cuda deps-servers deps-roots; do $(MAKE) -s $$kit || echo "no $$kit: what needs it is skipped"; done
	@rm -f build/portable/muster-*; if $(MAKE) -s deps-portable; then launcher/portable/build build/portable; else echo "no deps-portable: what needs it is skipped"; fi
test: deps-kits ## every test of the release build; its summary is the last line
	@$(call make,release,-DBUILD_TESTING=ON)
	@ctest --preset release -O build/test.log; rc=$$?; grep 'tests passed' build/test.log; exit $$rc
check: deps-test ## unit tests, simulations and house lints of the dev build
	@$(call make,dev) && ctest --preset dev -L 'unit|sim|lint' -j $(JOBS)
asan: deps-test ## the tests under the address and undefined-behaviour sanitizers
	@$(call make,asan) && ctest --preset asan -L 'unit|sim|fuzz' -j $(JOBS)
tsan: deps-test ## the tests under the thread sanitizer, with aio on threads
	@$(call make,tsan) && $$(setarch -R true 2>/dev/null && echo setarch -R) ctest --preset tsan -L 'unit|sim' -j $(JOBS)
fuzz: deps-test ## every fuzzer, or those of T="name …", for SECS=60 each
	@$(call make,fuzz,,$(addprefix fuzz_,$(T))) && printf '%s\n' $(T) | xargs -P $(JOBS) -I{} tests/fuzz/run {} $(SECS)
mutate: deps-test ## bugs in a copy of the source, one by one, or those of M="name …": does a test see each?
	@tests/mutate/run $(M)
lint: deps-test ## format, house rules, clang-tidy, man pages, shell and Python programs
	@clang-format --dry-run -Werror $(SRC) $(HDR)
	@for s in tests/lint/*.sh; do $$s . || [ $$? = 77 ] || exit 1; done
	@cmake --preset dev >/dev/null && $(MAKE) -s -j $(JOBS) $(patsubst %,build/tidy/%.ok,$(filter-out perf/peers/%,$(SRC)))
	@$(if $(MAN),mandoc -Tlint -W warning $(MAN))
	@shellcheck -x -P SCRIPTDIR -s bash -e SC2034 -S warning .ci/run perf/peers/get tests/fakes/compute-sanitizer gpu/get-cuda launcher/{portable,slurm}/[!R]* tests/fuzz/run \
	    tests/cluster/[!j]* tests/{roots,servers}/* tests/e2e/slurm/run $(filter-out build/%,$(wildcard */*.sh */*/*.sh))
build/tidy/%.ok: % $(HDR) .clang-tidy
	@said=$$(clang-tidy --quiet -p build/dev $< $(if $(filter core/err.c,$<),,--extra-arg=-include \
	    --extra-arg=$(CURDIR)/tests/lint/analyzer.h) 2>&1) || { echo "$$said"; exit 1; }; \
	    install -D /dev/null $@
fmt: ; @clang-format -i $(SRC) $(HDR) ## reformat every source
bench: deps ## SUITES=all beside REV=521af04, peers (deps-peers) and limits: build/against/table.md, table.json
	@perf/against $(or $(REV),521af04) $(or $(SUITES),all)
kills: deps-test build ; @RUNS=$(or $(RUNS),500) tests/e2e/test_kills.sh ## RUNS=500 jobs disturbed at random moments, of SEED=n, ONLY=way: is anything lost?
slurm: deps-slurm build ; @tests/e2e/slurm/run ## what Slurm does to a job: scancel, signals, requeues, arrays; as root
cluster: deps-cluster build ; @tests/cluster/up build/cluster ## a real Kubernetes of one node with operators, in build/cluster; as root
cluster-down: ; @tests/cluster/stop-cluster build/cluster ## ends it, and counts what is left of it
test-cluster: deps-cluster build ; @tests/cluster/run ## ONLY=words: k8s-manifests/ there, a line per operator and scenario; as root
install: build ## to PREFIX=/usr/local, under DESTDIR
	@cmake --install build/release --prefix $(PREFIX)
clean: ; @rm -rf build demo ## remove build/ and demo/
