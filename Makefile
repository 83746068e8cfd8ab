# `make` alone lists the targets.

SHELL := bash
.SHELLFLAGS := -euo pipefail -c
# Where rustup puts cargo, for shells that do not read its env file.
export PATH := $(PATH):$(HOME)/.cargo/bin

.DEFAULT_GOAL := help
.PHONY: help demo talk up down build check test doc accuracy latency bench turns spoken load concealment fuzz clean

help:
	@sed -n 's/^\([a-z]*\):.*## /  make \1\t/p' $(MAKEFILE_LIST) | expand -t 18

demo: ## a scripted caller talks to the front desk, and you see what took how long
	@scripts/demo

up: ## Asterisk and the engine in the background, for your softphone
	@scripts/up

down: ## end what `make up` started
	@scripts/up --down

build: ## compile the engine
	@scripts/setup build
	cargo build --release --locked

check: ## formatting, lints and documentation, with no warning let through
	@scripts/setup build
	cargo fmt --check
	cargo clippy --locked --all-targets -- -D warnings
	RUSTDOCFLAGS="-D warnings" cargo doc --locked --no-deps

test: ## check, then every test, with Asterisk 22 and 16 where one is needed
	@scripts/setup
	@scripts/asterisk install
	@scripts/asterisk install --version 16
	$(MAKE) --no-print-directory check
	@scripts/test

doc: ## the library's documentation, in target/doc
	@scripts/setup build
	cargo doc --locked --no-deps

accuracy: ## how well the embedded recogniser hears
	@scripts/setup
	@scripts/asterisk install
	cargo bench --locked --bench recognition

latency: ## reply and barge-in times at the caller's ear, over ten conversations
	@scripts/demo --conversations 10

bench: ## what a call's audio path costs beside this machine's floor, at 1, 100, 1000 and 1500 calls
	@scripts/setup build
	cargo build --release --locked
	target/release/offhook bench clean-ulaw --calls 1,100,1000,1500 --seconds 20 --json target/bench.json --html target/bench.html

turns: ## turn taking: cut-offs against delay, and interruptions, on a corpus made on the spot
	@scripts/setup
	cargo build --release --locked
	target/release/offhook bench turns --json target/turns.json --html target/turns.html

spoken: ## reply and barge-in times of spoken turns through Asterisk, on each transport, and of sixty at once
	@scripts/turns-live --conversations 60 --json target/spoken.json

talk: ## a scripted caller talks to a language model: a stand-in, without a key
	@scripts/demo --bot agent

load: ## one hundred calls at once
	@scripts/setup
	@scripts/asterisk install
	cargo bench --locked --bench calls

concealment: ## what becomes of lost audio, by PESQ, beside three other methods
	@scripts/setup build concealment
	cargo build --release --locked --example conceal
	@benches/concealment/run

network: ## the receive stream on bad networks, beside fixed jitter buffers
	@scripts/setup build
	cargo test --locked --test it network:: -- --nocapture

fixtures: ## make the test captures in tests/fixtures anew
	@scripts/setup build
	cargo run --locked --example make-fixtures

fuzz: ## ten million mutated inputs for each parser of what Asterisk sends
	cargo run --release --manifest-path fuzz/Cargo.toml -- ami --inputs 10000000
	cargo run --release --manifest-path fuzz/Cargo.toml -- agi --inputs 10000000
	cargo run --release --manifest-path fuzz/Cargo.toml --features ari --bin ari_event -- 10000000

clean: down ## end what runs from here and delete what was built
	@scripts/asterisk stop
	cargo clean
	rm -rf target
