# Everything a newcomer needs: `make up` runs a cluster, `make test` checks the tree. Both install what a Debian machine
# lacks when run as root, and say what is missing otherwise.
export CGO_ENABLED = 0

.PHONY: up build setup test fuzz lint bench soak generate clean

up: setup build
	bin/pintle up

# kubectl says the version of the module it is built from, counted as Kubernetes counts: v0.37.2 is v1.37.2.
KUBECTL = $(patsubst v0.%,v1.%,$(shell go list -m -f '{{.Version}}' k8s.io/kubectl))
build:
	go build -ldflags '-X k8s.io/component-base/version.gitVersion=$(KUBECTL)' -o bin/ ./cmd/...

# What containers and the tests with kubectl need from the system, and Go modules from the network.
MODULES = .
setup:
	@./setup.sh $(MODULES)

# The timeouts are for what hangs; busy machines are slow.
test: MODULES += conformance examples/operator
test: setup
	go test -timeout 45m ./...
	cd conformance && go test -timeout 45m ./...
	$(MAKE) fuzz

# Each native fuzz target for a short while: 3,000 inputs, from the same seed so that runs are alike.
# make fuzz FUZZTIME=10m FUZZERS=8 GODEBUG= looks longer, and elsewhere each time.
FUZZTIME ?= 3000x
FUZZERS ?= 1
fuzz: export GODEBUG ?= fuzzseed=1
fuzz:
	@grep -rl '^func Fuzz' --include=*_test.go object resource schema server store | sort | while read -r file; do \
		for target in $$(sed -n 's/^func \(Fuzz[A-Za-z]*\)(.*/\1/p' "$$file"); do \
			go test -run '^$$' -fuzz "^$$target\$$" -fuzztime $(FUZZTIME) -parallel $(FUZZERS) -fuzzminimizetime 100x "./$$(dirname "$$file")" || exit 1; \
		done; \
	done

lint:
	go vet ./...
	go tool staticcheck ./...
	@test -z "$$(gofmt -l . | tee /dev/stderr)" || { echo "run gofmt -w on the files above"; exit 1; }

# Figures of this machine against the floor; see README.md.
bench: build
	./bench.sh

# Hours of what `make test` does in minutes: a thousand crashes, an hour of churn, the curve to a million objects.
# SOAK=0.25 make soak does a quarter; less is too short for memory to settle.
SOAK ?= 1
soak: build
	PINTLE_SOAK=$(SOAK) go test -timeout 8h -count 1 -v -run 'TestKill|TestChurn' ./cluster
	go test -timeout 1h -count 10 ./store/...
	./bench.sh --kinds none --curve 1000,10000,100000,1000000

generate:
	go generate ./...

clean:
	rm -rf bin
