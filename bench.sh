#!/bin/sh
# Measures Pintle on this machine: the basic work on disk, 500 CRDs, idle watches, a Deployment of 2,000 pods on 100 hollow
# nodes. With flags, what these ask of pintle bench.
set -eu
dir=$(mktemp -d)
trap 'kill "$pid" 2>/dev/null || true; wait "$pid" 2>/dev/null || true; rm -rf "$dir"' EXIT
start() {
	bin/pintle up --data "$dir/$1" --no-node --listen 127.0.0.1:0 --kubeconfig "$dir/$1.kubeconfig" --hollow-nodes "$2" >"$dir/$1.log" 2>&1 &
	pid=$!
	until grep -q '^ready' "$dir/$1.log"; do
		kill -0 "$pid" 2>/dev/null || { cat "$dir/$1.log"; exit 1; }
		sleep 0.1
	done
	grep '^ready' "$dir/$1.log"
}
# measure NAME NODES FLAGS...: on a server of its own, so that what one leaves in memory is not counted for the next.
measure() {
	name=$1 nodes=$2
	shift 2
	start "$name" "$nodes"
	bin/pintle bench --kubeconfig "$dir/$name.kubeconfig" --pid "$pid" "$@"
	kill "$pid"
	wait "$pid" || true
}
if [ $# -gt 0 ]; then
	measure asked 0 "$@"
	exit
fi
measure customresources 0 --kinds customresources
measure configmaps 0 --kinds configmaps
measure nodes 0 --kinds pods
measure crds 0 --kinds none --crds 500
measure watches 0 --kinds none --idle-watches 3000
measure pods 100 --kinds none --pods 2000
