// Package conformance drives a running pintle as its users do: with the real kubectl, with client-go and with a
// controller-runtime manager. It is a module of its own and a black box: it imports nothing of pintle.dev, knows the
// server only by its command line and its kubeconfig, and asserts what the upstream API server would do.
//
// TestMain builds the binary once from the parent directory ($PINTLE names another one) and starts a server that the
// tests share. Each test works in a namespace of its own, so all run in parallel; a test that touches nodes, or
// anything else of the whole cluster, starts a server for itself, which takes milliseconds. The scripts under
// testdata/script run kubectl; kubectl_test.go describes their commands.
package conformance
