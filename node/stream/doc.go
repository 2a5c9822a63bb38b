// Package stream serves what flows between clients and the containers of a node: logs, exec, attach and port-forward,
// below paths like the kubelet's:
//
//	/containerLogs/NAMESPACE/POD/CONTAINER   follow, previous, sinceSeconds, sinceTime, tailLines, timestamps, limitBytes
//	/exec/NAMESPACE/POD/CONTAINER            command, stdin (or input), stdout (output), stderr (error), tty
//	/attach/NAMESPACE/POD/CONTAINER
//	/portForward/NAMESPACE/POD               ports
//
// CONTAINER may be left out where the pod has one, or names a default. The handler trusts its caller: authorization is
// the API server's.
//
// A runtime streams over SPDY. Clients that speak WebSocket (v5 for exec and attach, a tunnel for port-forward) are
// translated; what is older or SPDY already goes through as it is.
package stream
