# Tandem. `make help` lists the targets.

PREFIX ?= /usr/local
DESTDIR ?=
SWIFT ?= swift
# The build fails when a target imports what its entry in Package.swift does not name.
FLAGS = --explicit-target-dependency-import-check error
RELEASE = -c release --static-swift-stdlib $(FLAGS)
BUILD = .build/release

.PHONY: help packages lab-packages build demo test unit lint simulate model fuzz lab host-lab faults upgrade moves interop interop-short units bench install clean

help: ## this list
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "  %-14s %s\n", $$1, $$2 }' Makefile

packages: ## install what the build needs (Debian)
	@Lab/packages build

lab-packages: packages ## install what the labs need: strongSwan, OpenIKED, User-Mode Linux, tcpdump
	@Lab/packages lab

build: packages ## build tandemd and tandem (release)
	$(SWIFT) build $(RELEASE) --product tandemd
	$(SWIFT) build $(RELEASE) --product tandem
	$(SWIFT) build $(RELEASE) --product session-generator

demo: build lab-packages ## a real client's download survives the death of the active gateway (root)
	python3 Lab/demo.py --build $(BUILD) --out .build/demo

test: build lab-packages lint unit simulate model units host-lab lab interop-short ## everything (root)

# What has sockets, processes and clocks of its own runs when nothing else needs the processors.
unit: packages ## unit, RFC and virtual-time tests
	$(SWIFT) build --build-tests $(FLAGS)
	$(SWIFT) test --skip-build --skip RuntimeTests
	$(SWIFT) test --skip-build --filter RuntimeTests

model: lab-packages ## the pair's roles, epochs and leases in every state (spin)
	Model/check.sh

lint: ## formatting
	$(SWIFT) format lint --strict --recursive --parallel Package.swift Sources Tests Fuzz Benchmarks

SEEDS ?= 2000
FIRST ?= 0

simulate: packages ## both gateways and faults in virtual time: SEEDS=2000 from FIRST=0, and eight deliberate breaks
	$(SWIFT) build $(RELEASE) --product tandem-simulate
	python3 Lab/simulate.py --program $(BUILD)/tandem-simulate --out .build/simulate --first $(FIRST) --seeds $(SEEDS)

# Coverage and the address sanitizer in every module; the targets look at what is internal.
FUZZ = TANDEM_FUZZ=1 $(SWIFT) build -c release --scratch-path .build/fuzz-build --product tandem-fuzz \
	-Xswiftc -sanitize=fuzzer,address -Xswiftc -enable-testing -Xswiftc -use-ld=lld
SECONDS ?= 60

fuzz: packages ## every codec under libFuzzer, SECONDS=60 each; ONLY=vici,esp some; KEEP=1 adds to the corpus
	$(FUZZ)
	python3 Fuzz/fuzz.py --program .build/fuzz-build/release/tandem-fuzz --out .build/fuzz --seconds $(SECONDS) \
		$(if $(ONLY),--only $(ONLY)) $(if $(KEEP),--keep)

units: ## the systemd units: valid, and tight
	Systemd/check

host-lab: build lab-packages ## network namespaces, user data plane, stock strongSwan (root)
	python3 Lab/hostlab.py --build $(BUILD) --out .build/host-lab

faults: build lab-packages ## faults one by one, and what each cost, as a table (root)
	python3 Lab/faults.py --build $(BUILD) --out .build/faults

OLD ?=

upgrade: build lab-packages ## a pair of two versions, both ways, and an upgrade (root); OLD=REVISION, else the newest tag
	python3 Lab/upgrade.py --build $(BUILD) --out .build/upgrade $(if $(OLD),--old $(OLD))

moves: build lab-packages ## 20 moves and takeovers in a row, and what the wire says of them (root)
	python3 Lab/moves.py --build $(BUILD) --out .build/moves

lab: build lab-packages ## a real kernel with ESP in User-Mode Linux: XFRM, stock strongSwan (root)
	mkdir -p .build/lab
	$(SWIFT) build $(RELEASE) --product KernelLab
	Lab/uml/run -t 180 Lab/uml/kernel-dataplane "$(CURDIR)/$(BUILD)/KernelLab"
	Lab/uml/run -t 900 -o .build/lab Lab/kernellab.py
	mkdir -p .build/lab/conntrack
	Lab/uml/run -t 600 -o .build/lab/conntrack Lab/conntrack.py

interop: build lab-packages ## the whole interoperability matrix: strongSwan, libreswan, OpenIKED, Tandem (root)
	mkdir -p .build/interop
	Lab/packages libreswan .build/libreswan
	Lab/uml/run -t 7200 -o .build/interop Lab/interop.py

interop-short: build lab-packages # a few rows of it
	mkdir -p .build/interop-short
	Lab/packages libreswan .build/libreswan
	Lab/uml/run -t 900 -o .build/interop-short Lab/interop.py --short

bench: build lab-packages ## every figure, plot and page: ONLY=contexts,kernel some, QUICK=1 in minutes, FULL=1 table I, RECORD=1 (root)
	@Lab/packages bench
	$(SWIFT) build $(RELEASE) --product hot-paths
	$(SWIFT) build $(RELEASE) --product netlink-floor
	python3 Benchmarks/bench.py --build $(BUILD) --out .build/bench $(if $(ONLY),--only $(ONLY)) $(if $(QUICK),--quick) \
		$(if $(FULL),--full-table) $(if $(RECORD),--record)

install: build ## into DESTDIR and PREFIX
	install -d $(DESTDIR)$(PREFIX)/sbin $(DESTDIR)$(PREFIX)/share/man/man8 $(DESTDIR)$(PREFIX)/share/man/man5
	install -d $(DESTDIR)$(PREFIX)/lib/systemd/system $(DESTDIR)$(PREFIX)/share/doc/tandem/examples
	install -m 0755 $(BUILD)/tandemd $(BUILD)/tandem $(DESTDIR)$(PREFIX)/sbin/
	install -m 0644 Docs/man/tandemd.8 Docs/man/tandem.8 $(DESTDIR)$(PREFIX)/share/man/man8/
	install -m 0644 Docs/man/tandem.toml.5 $(DESTDIR)$(PREFIX)/share/man/man5/
	install -m 0644 Config/*.toml $(DESTDIR)$(PREFIX)/share/doc/tandem/examples/
	sed 's|@PREFIX@|$(PREFIX)|g' Systemd/tandemd.service > $(DESTDIR)$(PREFIX)/lib/systemd/system/tandemd.service
	chmod 0644 $(DESTDIR)$(PREFIX)/lib/systemd/system/tandemd.service

clean: ## remove what was built
	rm -rf .build
