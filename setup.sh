#!/bin/sh
# usage: setup.sh MODULE-DIRECTORY...
# Installs what running and testing Pintle needs: from Debian's archive containerd, runc and the CNI plugins for real
# containers, iproute2 and iptables for their network; the Go modules that go.mod names; and kubectl, which is built
# from one of them.
# Without root, or elsewhere than on Debian, it says what is missing; Pintle then runs hollow nodes and the tests that need
# containers say that they were skipped.
set -u
PATH=$PATH:/usr/local/sbin:/usr/sbin:/sbin # where Debian puts iptables and runc, which ordinary users do not look
missing=
need() { # need COMMAND-OR-FILE PACKAGE
	command -v "$1" >/dev/null 2>&1 || [ -e "$1" ] || missing="$missing $2"
}
need containerd containerd
need runc runc
need /usr/lib/cni/bridge containernetworking-plugins
need ip iproute2
need iptables iptables
root=
[ "$(id -u)" = 0 ] && root=yes
if [ -n "$missing" ]; then
	if [ -n "$root" ] && command -v apt-get >/dev/null 2>&1; then
		# The distribution starts a containerd of its own; Pintle runs one with its own configuration.
		export DEBIAN_FRONTEND=noninteractive
		patient='-o Acquire::Retries=3 -o DPkg::Lock::Timeout=300'
		apt-get $patient update -qq && apt-get $patient install -y -qq --no-install-recommends $missing >/dev/null ||
			echo "could not install:$missing (going on with hollow nodes)" >&2
	else
		echo "missing:$missing (install them for real containers; going on with hollow nodes)" >&2
	fi
fi
# Modules are fetched before anything is built, as a build ends with the first that does not arrive.
for module in "$@"; do
	for try in 1 2 3; do
		(cd "$module" && go mod download) && break
		sleep $((try * 5))
	done
done
if [ -n "$root" ] && ! command -v kubectl >/dev/null 2>&1; then
	echo "no kubectl here: building it from its module to /usr/local/bin/kubectl" >&2
	make -s build && cp bin/pintle-kubectl /usr/local/bin/kubectl || exit 1
fi
