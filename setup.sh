#!/bin/sh
# Installs what running and testing Pintle needs: from Debian's archive containerd, runc and the CNI plugins for real
# containers, iproute2 and iptables for their network; and kubectl, which is built from the module that go.mod names.
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
		apt-get update -qq && apt-get install -y -qq --no-install-recommends $missing >/dev/null ||
			echo "could not install:$missing (going on with hollow nodes)" >&2
	else
		echo "missing:$missing (install them for real containers; going on with hollow nodes)" >&2
	fi
fi
if [ -n "$root" ] && ! command -v kubectl >/dev/null 2>&1; then
	echo "no kubectl here: building it from its module to /usr/local/bin/kubectl" >&2
	make -s build && cp bin/pintle-kubectl /usr/local/bin/kubectl || exit 1
fi
