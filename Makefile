# make boot    watch a machine boot from the network, to the end
# make test    every test; make bench: the figures
# make soak    machines with faults drawn at random, 10 minutes of them;
#              make soak-stalls: likewise disks of QEMU that stop answering
# make trust   what a TPM is told of each change, alone
# make registry  an OCI registry on this machine, to push to
# make manners every command of the tool, and whatever may go wrong around it
# make matrix  all of what make test has samples of: manners, stream, trust, recipes
# make build   bin/stage1, the agent, its bill of materials in CycloneDX's form,
#              and bin/netstage, the tool
# make install PREFIX=/usr/local DESTDIR=
#              both, with manual pages and the completion of bash, zsh and fish
# make vet     what can be told of the sources without running them
# make race    the packages and whole boots, watched for data races
# make fuzz    every parser for FUZZTIME each
# make recipes boots what the recipes of docs/media.md and docs/cache.md make

# The kernel of make boot: 6.1, 6.12, 6.1-full or 6.12-full.
KERNEL ?= 6.12
# More kernel parameters for make boot, such as boot.debug1. With any, it waits
# for you as long as you like.
APPEND ?=
# STREAM=1: the image is used while it comes, at 5 MB/s.
TIMEOUT ?= $(if $(APPEND),0,5m)

PREFIX ?= /usr/local
FUZZTIME ?= 10s

version := $(shell cat VERSION)$(shell git describe --always --dirty --exclude '*' 2>/dev/null | sed 's/^/+/')
staticcheck := honnef.co/go/tools/cmd/staticcheck@v0.8.2
cyclonedx := github.com/CycloneDX/cyclonedx-gomod/cmd/cyclonedx-gomod@v1.9.0
deadcode := golang.org/x/tools/cmd/deadcode@v0.52.0
sources := cmd debug fetch mount netup nix qemu-tests stage1
setup := qemu-tests/setup
demo := build/demo
packages := build/bench-packages.txt

.PHONY: matrix manners recipes registry stream trust build programs install deps systems boot test race fuzz soak soak-stalls bench pictures fmt vet clean distclean

build: programs
	@go run $(cyclonedx) bin -json -std -version $(version) -output bin/stage1.cdx.json bin/stage1 2>bin/sbom.log && rm bin/sbom.log || \
		{ cat bin/sbom.log; echo 'no bin/stage1.cdx.json: its maker comes by the Go proxy; all else is there' >&2; }

programs:
	cmd/stage1/build.sh bin/stage1 $(version)
	CGO_ENABLED=0 go build -trimpath -ldflags '-s -w -X main.version=$(version)' -o bin/netstage ./cmd/netstage

install: build
	install -d $(DESTDIR)$(PREFIX)/bin $(DESTDIR)$(PREFIX)/share/man/man1 $(DESTDIR)$(PREFIX)/share/zsh/site-functions \
		$(DESTDIR)$(PREFIX)/share/bash-completion/completions $(DESTDIR)$(PREFIX)/share/fish/vendor_completions.d
	install -m 755 bin/stage1 bin/netstage $(DESTDIR)$(PREFIX)/bin
	bin/netstage man $(DESTDIR)$(PREFIX)/share/man/man1 >/dev/null
	bin/netstage completion bash >$(DESTDIR)$(PREFIX)/share/bash-completion/completions/netstage
	bin/netstage completion zsh >$(DESTDIR)$(PREFIX)/share/zsh/site-functions/_netstage
	bin/netstage completion fish >$(DESTDIR)$(PREFIX)/share/fish/vendor_completions.d/netstage.fish

# The Debian packages that boots and tests need; nothing when all are there.
deps:
	@$(setup)/deps.sh

# What tests boot, and kernels whose modules they read.
systems: deps
	@$(setup)/kernel.sh 6.1
	@$(setup)/kernel.sh 6.12
	@$(setup)/kernel.sh 6.1-full
	@$(setup)/debian.sh
	@$(setup)/pcrlock.sh

boot: build deps
	@$(setup)/kernel.sh $(KERNEL)
	@$(setup)/demo.sh $(demo)
	bin/netstage initrd --kernel-modules build/kernels/$(KERNEL)/lib/modules/* -o $(demo)/initrd.zst
	bin/netstage boot --kernel build/kernels/$(KERNEL)/boot/vmlinuz-* --initrd $(demo)/initrd.zst \
		--image $(demo)/nix-store.squashfs --init $$(cat $(demo)/init) $(if $(STREAM),--rate 5M) --append '$(if $(STREAM),rootfs.stream) $(APPEND)' --timeout $(TIMEOUT)

# Packages with what their tests import. A test program with -race is not
# static: tests of skipping skip themselves then, and those of static are not
# run, of which qemu-tests boots an agent that is built for it, too.
listed := go list -f '{{.ImportPath}} {{join .TestImports " "}} {{join .XTestImports " "}}' ./...
skipping := ' netstage/qemu-tests/namespaced\b'
static := '^netstage/nix \|^netstage/qemu-tests[ /]'

# Machines of QEMU wait now and then: one more than there are processors.
machines := $(shell expr $$(nproc) + 1)
# TESTED=race leaves out the packages that make race has tested whole.
TESTED ?=
test: programs systems vet
	go test -vet=off -json -count=1 -p 2 -parallel $(machines) -timeout 75m $(if $(filter race,$(TESTED)),$$($(listed) | grep -e $(skipping) -e $(static) | cut -d' ' -f1),./...) | go run ./qemu-tests/report -again

# SOAK=2000 boots so many machines, SOAK=1h as many as fit. Machine N of a seed
# is always given the same faults; a violation says how it is booted again.
SOAK ?= 10m
SEED ?= $(shell date +%s)
FIRST ?= 0
soak: deps
	SOAK=$(SOAK) SOAK_SEED=$(SEED) SOAK_FIRST=$(FIRST) go test -json -count=1 -timeout 0 -run '^TestSoak$$' ./qemu-tests | go run ./qemu-tests/report

# SOAK_STALLS machines of QEMU whose disks stop answering, half a minute each.
SOAK_STALLS ?= 20
soak-stalls: deps
	@$(setup)/kernel.sh 6.12
	SOAK_STALLS=$(SOAK_STALLS) SOAK_SEED=$(SEED) SOAK_FIRST=$(FIRST) go test -count=1 -v -timeout 0 -run '^TestQEMUSoakOfStalls$$' ./qemu-tests

# Debian's docker-registry on the loopback device, until Ctrl-C.
REGISTRY_PORT ?= 5000
registry: programs deps
	@$(setup)/registry.sh build/registry $(REGISTRY_PORT)

# Every command of the tool with all that may go wrong around it: a minute and a
# half. make test has a sixteenth of it.
manners: deps
	NETSTAGE_MANNERS=all go test -count=1 -timeout 20m -run '^TestManners$$' ./cmd/netstage

# Every fault of a streamed root, on every kernel: a quarter of an hour. make
# test has a sample.
stream: build deps
	@$(setup)/kernel.sh 6.1
	@$(setup)/kernel.sh 6.12
	@$(setup)/debian.sh
	NETSTAGE_STREAM=all go test -count=1 -v -timeout 60m -run TestQEMUStream ./qemu-tests

# What a TPM is told of a command line, a policy and a manifest, each changed alone:
# two minutes. make test changes all three at once.
trust: build deps
	@$(setup)/kernel.sh 6.12
	@$(setup)/pcrlock.sh
	NETSTAGE_TRUST=all go test -count=1 -v -timeout 20m -run '^TestQEMUMeasuredBoot$$' ./qemu-tests

# Every recipe of docs/media.md, and the one of docs/cache.md, booted in QEMU. make
# test runs all of them and boots one; RECIPE=grub boots that one, RECIPE=kexec
# the latter.
RECIPE ?= all
recipes: build deps
	@$(setup)/kernel.sh 6.12
	@$(setup)/kernel.sh 6.1-arm64
	NETSTAGE_RECIPES='$(RECIPE)' go test -count=1 -v -timeout 60m -run '^TestQEMU(Recipes|RollingUpdate)$$' ./qemu-tests

# The figures, in build/bench.txt, build/bench-editions.txt and
# build/bench-stream.txt too. BENCH_RUNS=5 boots each contender five times instead
# of three; BENCH_BEFORE=FILE boots that agent beside today's, and no stand-in,
# and both in namespaces of this host, for build/bench-native.txt;
# BENCH_BIG=no leaves out what takes minutes: the big image, and a gigabyte that is
# fetched whole beside the one that is streamed.
bench: build deps
	@$(setup)/kernel.sh 6.12
	@$(setup)/debian.sh
	@$(setup)/editions.sh
	go test -count=1 -run '^$$' -bench . -benchtime 3x -timeout 20m ./fetch ./fetch/manifest ./fetch/verity ./netup ./stage1/tpm >$(packages) || { cat $(packages); exit 1; }
	BENCH_PACKAGES=$(abspath $(packages)) go test -count=1 -run '^$$' -bench . -benchtime 1x -timeout 150m ./qemu-tests/bench

# The pictures of the documents, anew.
pictures: build deps
	@$(setup)/kernel.sh $(KERNEL)
	@$(setup)/demo.sh $(demo)
	bin/netstage initrd --kernel-modules build/kernels/$(KERNEL)/lib/modules/* -o $(demo)/initrd.zst
	go run ./qemu-tests/pictures --kernel build/kernels/$(KERNEL)/boot/vmlinuz-* --initrd $(demo)/initrd.zst \
		--image $(demo)/nix-store.squashfs --init $$(cat $(demo)/init) --out docs

fmt:
	gofmt -l -w $(sources)

# Examples without an output are only compiled, and the linker calls entry.
vet:
	@unformatted=$$(gofmt -l $(sources)); test -z "$$unformatted" || { echo "not as gofmt has it: $$unformatted"; exit 1; }
	go vet ./...
	GOARCH=arm64 go vet ./cmd/...
	go run $(staticcheck) ./...
	@dead=$$(go run $(deadcode) -test ./...) || exit 1; \
		dead=$$(printf '%s' "$$dead" | grep -v 'func: Example\|cmd/stage1/entry.go'); test -z "$$dead" || { echo "$$dead"; exit 1; }
	go test -count=1 ./cmd/stage1

# Packers and scrypt share nothing: they compute ten times as long when they are
# watched. vet has had the sources.
raced := -race -vet=off $(foreach package,golang.org/x/crypto/scrypt github.com/ulikunitz/xz/... github.com/klauspost/compress/...,-gcflags=$(package)=-race=0)

# What waits longest begins. What skips itself with -race, in the packages of the
# second line, make test runs without.
race: systems
	go test $(raced) -json -count=1 -p 3 -timeout 20m ./netup ./cmd/netstage $$($(listed) | grep -v -e $(skipping) -e $(static) | cut -d' ' -f1) | go run ./qemu-tests/report -again -- $(raced)
	go test $(raced) -json -count=1 -p 3 -timeout 20m $$($(listed) | grep -v -e $(static) | grep -e $(skipping) | cut -d' ' -f1) | CI= go run ./qemu-tests/report -again -- $(raced)
	go test $(raced) -count=1 -timeout 10m -run '^(TestFetchedImage|TestSSH)$$' ./qemu-tests

# Each says what it is; none is run beside another.
matrix:
	$(MAKE) manners
	$(MAKE) stream
	$(MAKE) trust
	$(MAKE) recipes

fuzz:
	@set -e; go list -f '{{.Dir}}' ./... | while read -r dir; do \
		for name in $$(sed -n 's/^func \(Fuzz[A-Za-z0-9_]*\)(.*/\1/p' "$$dir"/*_test.go 2>/dev/null); do \
			echo "$$dir $$name"; go test -run '^$$' -fuzz "^$$name$$" -fuzztime $(FUZZTIME) "$$dir"; \
		done; \
	done

# The kernels stay: they take a download.
clean:
	rm -rf bin $(demo)

distclean: clean
	rm -rf build
