# make demo   the main job: build the binary, make a base, build, run, rebuild, roll back
# make test   all tests; those that need root or a peer run when they can, and say why when not
export CGO_ENABLED := 0
GO ?= go
TOOLS := $(CURDIR)/bin/tools
GOLANGCI_VERSION := v2.15.0
VERSION := $(shell git describe --tags --always --dirty 2>/dev/null || echo dev)
LDFLAGS := -s -w -X main.version=$(VERSION)

.PHONY: build demo test test-short lint fuzz bench clean

build:
	$(GO) build -trimpath -ldflags '$(LDFLAGS)' -o bin/camada ./cmd/camada

demo: build
	./examples/demo.sh

test:
	./test/run.sh

test-short:
	$(GO) vet ./... && $(GO) test -short ./...

lint: $(TOOLS)/golangci-lint
	$(GO) vet ./...
	$(TOOLS)/golangci-lint run ./...

$(TOOLS)/golangci-lint:
	GOBIN=$(TOOLS) $(GO) install github.com/golangci/golangci-lint/v2/cmd/golangci-lint@$(GOLANGCI_VERSION)

fuzz:
	./test/fuzz.sh $(FUZZTIME)

bench: build
	$(GO) run ./bench $(BENCHFLAGS)

clean:
	rm -rf bin
