# make help tells what there is. SHORT=1 gives scenarios and bench their short form.

VERSION ?= 0.1.0
PROGRAMS := ginnel ginnel-dataplane ginnelctl ginnel-collector ginnel-lab ginnel-check-clinical
TOOL     := go tool -modfile=.tools/go.mod
# Without gRPC's debug pages, whose templates keep the linker from leaving out what nobody calls.
BUILD    := CGO_ENABLED=0 go build -trimpath -tags grpcnotrace -ldflags '-s -w -X main.version=$(VERSION)'
# Everything that needs root asks for it; root asks nobody.
SUDO     := $(shell [ $$(id -u) = 0 ] || echo sudo -E)

.PHONY: help
help: ## this list
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "  make %-12s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

.PHONY: build
build: ## all programs, into build/
	@mkdir -p build
	$(BUILD) -o build/ $(PROGRAMS:%=./cmd/%)
	$(BUILD) -o build/ginnel-check-banner ./checks/plugin/example

.PHONY: demo
demo: ## a small county with real tunnels, live; ONCE=1: up, table, end. No root
	@start=$$(date +%s); $(MAKE) --no-print-directory -s build && echo "build       $$(( $$(date +%s) - start )) s"
	@build/ginnel-lab up $(if $(ONCE),--once)

.PHONY: needs
needs: ## install the Debian packages that the tests need (root)
	@.ci/needs

.PHONY: check
check: ## the fast part, for every commit: format, vet, linters, unit tests with -race
	@test -z "$$(gofmt -l $$(git ls-files '*.go'))" || { gofmt -l $$(git ls-files '*.go'); echo 'not formatted: make fmt'; exit 1; }
	go vet ./...
	$(TOOL) golangci-lint run
	GORACE=atexit_sleep_ms=0 go test -race -short ./...

.PHONY: test
test: needs build ## everything, on the real thing: namespaces, scenarios, packages, a VM (root)
	$(MAKE) --no-print-directory check
	@# scenarios and machines need the processors to themselves
	$(SUDO) go test -count=1 -timeout 30m $$(go list ./... | grep -v -e /cmd/ginnel-lab$$ -e /packaging/vm$$)
	@# the lab on the kernel's WireGuard takes emulation too long: make scenarios
	$(SUDO) go test -count=1 -timeout 30m -parallel 4 ./cmd/ginnel-lab; lab=$$?; \
	$(SUDO) go test -count=1 -timeout 30m -skip '^TestKernel$$' ./packaging/vm && exit $$lab

.PHONY: scenarios
scenarios: needs build ## every scenario in its full form, some in a VM too: a table, and build/scenarios.json
	@mkdir -p build/upgrade
	$(subst version=$(VERSION),version=$(VERSION)-second,$(BUILD)) -o build/upgrade/ ./cmd/ginnel ./cmd/ginnel-dataplane
	.ci/wrong-clock build/clock
	@# an aim that is missed does not keep the rest from being measured
	go test -count=1 -v -run 'Kill|PowerCut' ./agent/trial -args $(if $(SHORT),-kills 20 -cuts 20,-kills 200 -cuts 100); trial=$$?; \
	build/ginnel-lab scenario $(if $(SHORT),--short) all; lab=$$?; \
	$(SUDO) env GINNEL_ROWS=$(CURDIR)/build/scenarios.json GINNEL_FORM=$(if $(SHORT),short,full) \
		go test -count=1 -timeout 4h ./packaging/vm && exit $$((trial + lab))

.PHONY: bench
bench: needs build ## beside peers, in alternation: a table, and build/bench.json
	$(BUILD) -o build/wireguard-go golang.zx2c4.com/wireguard
	CGO_ENABLED=0 go build -C .tools -trimpath -o ../build/ ./pro-bing
	build/ginnel-lab bench $(if $(SHORT),--short) all; lab=$$?; \
	$(SUDO) env GINNEL_ROWS=$(CURDIR)/build/bench.json go test -run '^$$' -bench KernelThroughput -benchtime $(if $(SHORT),5x,20x) -timeout 30m ./packaging/vm && exit $$lab

.PHONY: packages
packages: ## .deb and .rpm, amd64 and arm64, into build/packages/
	@rm -rf build/packages
	@VERSION=$(VERSION) packaging/build.sh build/packages

.PHONY: fmt
fmt: ## format the code
	gofmt -w $$(git ls-files '*.go')
	go fix ./...

.PHONY: clean
clean: ## remove build/
	rm -rf build
