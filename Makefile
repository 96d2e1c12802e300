# `make up` runs Headgate, `make test` proves it. Each target is one or two commands; what they need is installed by
# tools/setup, once.
.DEFAULT_GOAL := help
SHELL := /bin/bash
.PHONY: up test test-clients lint bench bench-engine bench-serving bench-proxy bench-chain bench-judgement sim fuzz sanitize help setup

up: ## run the whole system here: file store, sample model, two backends, a gateway (ARGS="--backends 3 ...")
	@tools/setup up
	@cargo build --release --locked -p headgate
	@target/release/headgate up $(ARGS)

test: ## everything that CI runs: format, lints, arrows, all tests
	@tools/setup test
	@$(MAKE) --no-print-directory lint
	@tools/test

test-clients: ## only the clients that others wrote, run against a backend and a gateway (ARGS="python" for some languages)
	@tools/setup test
	@cargo build --locked -p headgate
	@tools/test-clients $(ARGS)

lint: ## format and clippy, warnings denied; cargo-deny where it is installed
	cargo fmt --all --check
	cargo clippy --workspace --all-targets --locked -- -D warnings
	@if command -v cargo-deny >/dev/null; then cargo deny check; else echo "skipped: cargo deny (not installed)"; fi

bench: ## the numbers in README: swaps under load, kills, publish to serving, many models
	@tools/setup up
	@cargo build --release --locked -p headgate -p headgate-loadtests
	@tools/bench

bench-engine: ## the engine beside LightGBM, lleaves, ONNX Runtime, XGBoost, ...: a table and a plot in target/bench-engine
	@tools/setup up
	@tools/bench-engine/run

bench-serving: ## backend and gateway beside FastAPI, gunicorn, KServe, MLServer, Triton: tables in target/bench-serving (ARGS="--quick")
	@tools/setup up
	@cargo build --release --locked -p headgate -p headgate-loadtests
	@tools/bench-serving/run $(ARGS)

bench-proxy: ## the gateway beside HAProxy, nginx and Envoy: tables in target/bench-proxy (ARGS="--quick", --help for more)
	@tools/setup up
	@cargo build --release --locked -p headgate -p headgate-loadtests
	@tools/bench-proxy/run $(ARGS)

bench-chain: ## a prediction through gateway and backend beside what proxies take to forward it: tables in target/bench-chain
	@tools/setup up
	@cargo build --release --locked -p headgate -p headgate-loadtests
	@tools/bench-chain/run $(ARGS)

bench-judgement: ## slow, failing, lost backends, deadlines, overload: a table and plots in target/bench-judgement (ARGS="--quick slow")
	@tools/setup up
	@cargo build --release --locked -p headgate -p headgate-loadtests
	@tools/bench-judgement/run $(ARGS)

sim: ## the gateway's judgement in virtual time: tables and plots in target/sim (ARGS="--gateways 100")
	@cargo build --release --locked -p headgate-loadtests
	@mkdir -p target/sim
	@for scenario in load slow failing flaky hanging restarting overload closed busy; do \
		target/release/loadtests sim $$scenario --html target/sim/$$scenario.html --json target/sim/$$scenario.json $(ARGS) || exit 1; done

fuzz: ## a minute of fuzzing for each reader of foreign bytes (needs a nightly compiler and cargo-fuzz)
	@mkdir -p fuzz/corpus/model_file && cp crates/engine/tests/it/fixtures/*.model trainer/tests/it/fixtures/*.hgl fuzz/corpus/model_file
	@mkdir -p fuzz/corpus/onnx_file && cp trainer/tests/it/fixtures/*.onnx fuzz/corpus/onnx_file
	@cp -r fuzz/seeds/. fuzz/corpus
	@cd fuzz && for target in path link http1_head documents report settings model_file linear_file onnx_file; do cargo +nightly fuzz run $$target -- -max_total_time=60 || exit 1; done

sanitize: ## the engine's tests under the address sanitizer (needs a nightly compiler)
	@tools/sanitize

setup: ## install what `up` and `test` need, without running them
	@tools/setup test

help: ## this list
	@awk -F':.*## ' '/^[a-z-]+:.*## /{printf "  make %-15s %s\n", $$1, $$2}' $(MAKEFILE_LIST)
