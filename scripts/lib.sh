# What the scripts share. Sourced, never run.
# shellcheck shell=bash disable=SC2034 # names for the scripts that source this

set -euo pipefail

root=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
export PATH=$PATH:/usr/sbin:/sbin:/usr/local/go/bin:$HOME/.cargo/bin
version=0.1.0
node_image=hypercache/hypercache:$version
operator_image=hypercache/hypercache-operator:$version
client_image=hypercache/client:$version
monitoring_image=hypercache/monitoring:$version
filebeat_image=hypercache/filebeat-stand-in:$version
target=${CARGO_TARGET_DIR:-$root/target}
# (a script that another one runs goes on with its time)
began=${HYPERCACHE_BEGAN:-$(date +%s%N)}
export HYPERCACHE_BEGAN=$began

has() { command -v "$1" >/dev/null 2>&1; }

elapsed() { awk -v a="$began" -v b="$(date +%s%N)" 'BEGIN {printf "%6.1fs", (b - a) / 1e9}'; }

# One line of progress, with the time since the script began.
say() { printf '%s  %s\n' "$(elapsed)" "$*"; }

die() {
    printf '%s  %s\n' "$(elapsed)" "$*" >&2
    exit 1
}

# step LOG WHAT COMMAND...: runs it with its output in LOG; shows the end of that
# when it fails.
step() {
    local log=$1 what=$2 from
    shift 2
    from=$(date +%s%N)
    mkdir -p "$(dirname "$log")"
    say "$what ..."
    if ! "$@" >"$log" 2>&1 </dev/null; then
        printf -- '---- %s: failed; the end of %s:\n' "$what" "$log" >&2
        tail -n 60 "$log" >&2
        return 1
    fi
    say "$what: done in $(awk -v a="$from" -v b="$(date +%s%N)" 'BEGIN {printf "%.1f", (b - a) / 1e9}') s"
}

# until_ok SECONDS COMMAND...: tries it until it succeeds, at most that long.
until_ok() {
    local end=$(($(date +%s) + $1))
    shift
    until "$@" >/dev/null 2>&1; do
        [ "$(date +%s)" -lt "$end" ] || return 1
        sleep 0.3
    done
}

# listens PORT: somebody does, on this machine.
listens() { (exec 3<>"/dev/tcp/127.0.0.1/$1") 2>/dev/null; }

# http_ok PORT PATH: answered with 200
http_ok() (
    exec 3<>"/dev/tcp/127.0.0.1/$1"
    printf 'GET %s HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n' "$2" >&3
    IFS= read -r -t 5 line <&3
    [[ $line == *" 200 "* ]]
)

# ours PID: alive, and started by scripts/up or start-system here. A number may have been given to another process
# since.
ours() { [ -r "/proc/$1/cmdline" ] && tr '\0' ' ' <"/proc/$1/cmdline" | grep -qF "$root/.local/"; }

# apt_get PACKAGE...: those of them that are missing, where this is a Debian and
# we may install.
apt_get() {
    local want=() p
    for p in "$@"; do
        [ "$(dpkg-query -W -f '${db:Status-Status}' "$p" 2>/dev/null)" = installed ] || want+=("$p")
    done
    [ ${#want[@]} = 0 ] && return
    has apt-get || { echo "install these first: ${want[*]}" >&2; return 1; }
    [ "$(id -u)" = 0 ] || { echo "install these first (as root): ${want[*]}" >&2; return 1; }
    export DEBIAN_FRONTEND=noninteractive
    apt-get install -y --no-install-recommends "${want[@]}" && return
    apt-get update
    apt-get install -y --no-install-recommends "${want[@]}"
}

# The two programs, as kind and the local cluster run them.
build_binaries() {
    cargo build --manifest-path "$root/Cargo.toml" --target-dir "$target" --locked --profile e2e \
        --package hypercache --package hypercache-operator --bins
}

# The path of the server's program: HYPERCACHE's, one that was built here, or the PATH's.
hypercache_program() {
    local binary
    for binary in "${HYPERCACHE:-}" "$target/release/hypercache" "$target/e2e/hypercache" "$target/debug/hypercache"; do
        [ -n "$binary" ] && [ -x "$binary" ] || continue
        printf '%s\n' "$binary"
        return
    done
    type -P hypercache || die "no hypercache here: cargo build --release -p hypercache"
}

# It, with arguments.
hypercache() { "$(hypercache_program)" "$@"; }

# Docker, kind, kubectl and helm, and the image of kind's nodes.
kind_tools() {
    local given
    given=$("$root/e2e/kind/setup")
    eval "$given"
}

# kind_cluster NAME: a running cluster of that name, made if there is none.
kind_cluster() {
    local name=$1
    if kind get clusters 2>/dev/null | grep -qxF "$name"; then
        if kubectl --context "kind-$name" get --raw /readyz --request-timeout=10s >/dev/null 2>&1; then
            return
        fi
        # its containers may have been stopped with the machine
        kind get nodes --name "$name" 2>/dev/null | xargs -r docker start >/dev/null || true
        kind export kubeconfig --name "$name" >/dev/null 2>&1 || true
        until_ok 60 kubectl --context "kind-$name" get --raw /readyz --request-timeout=5s && return
        kind delete cluster --name "$name"
    fi
    kind create cluster --name "$name" --config "$root/kind-config.yaml" --image "$KIND_NODE_IMAGE" --wait 180s
}

# kind_ready CONTEXT: all nodes and the cluster's DNS are up.
kind_ready() {
    kubectl --context "$1" wait --for=condition=Ready nodes --all --timeout=180s
    kubectl --context "$1" -n kube-system rollout status deployment/coredns --timeout=180s
}

# What a person wants to see when a cluster does not come up.
kube_report() {
    local context=$1 namespace
    echo "---- nodes, pods, events"
    kubectl --context "$context" get nodes -o wide --request-timeout=10s || return 0
    kubectl --context "$context" get pods -A -o wide --request-timeout=10s || true
    kubectl --context "$context" get hypercacheclusters -A -o yaml --request-timeout=10s || true
    kubectl --context "$context" get events -A --sort-by=.lastTimestamp --request-timeout=10s | tail -n 60 || true
    for namespace in $(kubectl --context "$context" get pods -A --no-headers --request-timeout=10s | awk '$1 != "kube-system" && $1 != "local-path-storage" {print $1}' | sort -u); do
        echo "---- $namespace: pods"
        kubectl --context "$context" -n "$namespace" describe pods --request-timeout=10s | tail -n 200 || true
        kubectl --context "$context" -n "$namespace" get pods -o name --request-timeout=10s | while read -r pod; do
            echo "---- $namespace: log of $pod"
            kubectl --context "$context" -n "$namespace" logs "$pod" --all-containers --tail=80 --request-timeout=10s </dev/null || true
            kubectl --context "$context" -n "$namespace" logs "$pod" --all-containers --previous --tail=40 --request-timeout=10s </dev/null 2>/dev/null || true
        done
    done
}

# replace_part FILE NAME PART: what stands between the two comments of that name becomes the file PART.
replace_part() {
    local file=$1 name=$2 part=$3 fresh
    fresh=$(mktemp)
    awk -v begin="<!-- $name:begin -->" -v end="<!-- $name:end -->" -v part="$part" '
        $0 == begin { print; print ""; while ((getline line < part) > 0) print line; print ""; inside = 1; next }
        $0 == end { inside = 0 }
        !inside' "$file" >"$fresh"
    cat "$fresh" >"$file"
    rm -f "$fresh"
}
