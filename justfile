# What a person types. Plain `just` lists it.

[private]
default:
    @just --list --unsorted

# Everything up on kind
up:
    scripts/up

# Three members on this machine
local:
    scripts/up --local

# Three members, and Prometheus and Grafana beside them
system *words:
    scripts/start-system {{ words }}

# A load on them that changes, such as: just load 5
load *words:
    scripts/generate-dashboard-load {{ words }}

# Take away what up brought
down:
    scripts/down

# Every check and test
test *words:
    scripts/test {{ words }}

# Without kind
fast:
    scripts/test --fast

# One file of the tests on kind, such as: just e2e clients
e2e subject:
    HYPERCACHE_E2E_ONLY={{ subject }} scripts/test

# Format, then clippy
lint:
    cargo fmt --all
    cargo clippy --workspace --all-targets --features hypercache-e2e/kind -- -D warnings

# The three images, from what cargo built
images:
    cargo build --profile e2e --package hypercache --package hypercache-operator --bins
    scripts/images
