// Package hollow is nodes without containers: the node agent of package node on a runtime that only pretends. Pods are
// accepted, get an address, run at once and pass their probes; nothing is executed. It serves tests of operators and
// controllers, and loads with many nodes.
//
// A Fleet runs any number of hollow nodes with one stream of pods and one goroutine of heartbeats for all of them, so
// that a thousand idle ones cost next to nothing.
//
// A fake container runs until it is stopped, unless its command tells how it ends: "true", "false", "sleep N",
// "exit N", alone or behind "sh -c"; or the pod's annotations do:
//
//	hollow.pintle.dev/run-for: 5s      its containers end after that time
//	hollow.pintle.dev/exit-code: "1"   with this code (0 when absent)
package hollow
