#!/bin/sh
# Measures Pintle on this machine: the basic work on disk, idle watches, then a Deployment of 2,000 pods on 100 hollow nodes.
set -eu
dir=$(mktemp -d)
trap 'kill "$pid" 2>/dev/null; wait "$pid" 2>/dev/null || true; rm -rf "$dir"' EXIT
start() {
	bin/pintle up --data "$dir/$1" --no-node --listen 127.0.0.1:0 --kubeconfig "$dir/$1.kubeconfig" --hollow-nodes "$2" >"$dir/$1.log" 2>&1 &
	pid=$!
	until grep -q '^ready' "$dir/$1.log"; do
		kill -0 "$pid" 2>/dev/null || { cat "$dir/$1.log"; exit 1; }
		sleep 0.1
	done
	grep '^ready' "$dir/$1.log"
}
start basic 0
bin/pintle bench --kubeconfig "$dir/basic.kubeconfig" --pid "$pid" "$@"
kill "$pid"
wait "$pid" || true
start watches 0
bin/pintle bench --kubeconfig "$dir/watches.kubeconfig" --pid "$pid" --kinds none --idle-watches 3000
kill "$pid"
wait "$pid" || true
start pods 100
bin/pintle bench --kubeconfig "$dir/pods.kubeconfig" --pid "$pid" --kinds none --pods 2000
