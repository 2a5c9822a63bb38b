// Package scheduler gives pods that have no node the one that suits them best.
//
// Decide is the whole decision, pure: a Snapshot of the nodes and what runs on them, a pod, and the plugins that filter
// and score (package plugin, one file each). Scheduler is the shell around it: it follows nodes and pods, keeps the
// snapshot current, takes pods from a queue by priority, and binds them through the API.
//
// Invariants:
//
//   - D1 A pod counts on the node decided for it from the moment of the decision (it is assumed), so that the next
//     decision, taken while the binding is still in flight, sees it. A binding that fails is taken back.
//   - D2 A pod is counted on at most one node, and no longer than it exists and has not finished.
//   - D3 A pod that fits nowhere is tried again when something changed that may make it fit, after a back-off that grows
//     from one to ten seconds, and at the latest after five minutes.
//   - D4 Decide neither changes the snapshot nor keeps references into it.
package scheduler
