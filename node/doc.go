// Package node is the node agent: it makes the containers of the pods bound to one node be what the API says, and
// reports what they are. It is not a scheduler and knows no other node; networking beyond a pod's own address and
// volumes that need a driver are not its business.
//
// The core is pure. Step looks at the pod that is wanted and at PodState, what the runtime and the agent's own memory
// hold of it, and returns the actions to take now; Status says how the pod's state is reported. Neither does I/O or
// reads a clock. Shells around them act: Agent follows the API and keeps one entry per pod, a runtime (package cri, or
// hollow for a fake one) keeps containers, package volume keeps files.
//
//	API stream -> entry -> Step -> actions -> runtime, volumes, API
//	                ^                 |
//	                +-- observation --+ (runtime events, probe results, timers)
//
// Invariants:
//
//	N1 Actions of one pod never overlap; pods do not wait for each other.
//	N2 Step is level-triggered: it decides from states, never from what it said before. Asking twice changes nothing.
//	N3 A container is never started before its volumes are set up, its sandbox is ready and the init containers before
//	   it have succeeded.
//	N4 A pod leaves the API only after none of its containers runs, its sandbox is stopped and its volumes are removed.
//	N5 A restarted agent adopts what runs: it recognizes containers by their labels and touches none that still fits.
//	N6 A pod that has Succeeded or Failed never runs again.
package node
