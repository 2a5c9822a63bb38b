// Package server answers the Kubernetes API: it turns HTTP into api.Requests, takes each through one chain, and writes
// api.Responses. It stores nothing (package store does), knows no kind (package resource does) and decides nobody's
// rights (package auth does).
//
// A request flows
//
//	ServeHTTP (http.go: path.go, negotiate.go, body.go; identity, limits, panics contained)
//	  -> Handle (chain.go: authorization, which Definition)
//	    -> get and list (read.go, selector.go, continue.go, list options in options.go)
//	     | watch (watch.go; frame.go on the way out)
//	     | create, update, patch, apply, delete, deletecollection (one file each, on write.go, decode.go, ownership.go)
//	     | a subresource (subresource.go, scale.go, eviction.go)
//	     | what is answered and not kept (question.go)
//	  -> respond.go, which splices stored bytes to the wire (render.go has them in the version asked for, conversions.go
//	     converts them by webhook ahead), or table.go, protobuf.go
//	ServeHTTP -> health.go -> package describe: discovery, OpenAPI and the version
//
// Callers in the same process enter at Handle with their own identity.
//
// Invariants:
//
//   - W1 What a request reads, it reads from one View: a list is one revision, and so are the pages that continue it.
//   - W2 A write is decided against the record it replaces: the commit fails when that is no longer current, and the
//     request is decided anew, unless the client named the resourceVersion (409).
//   - W3 An update that changes nothing commits nothing.
//   - W4 A watcher gets every event that passes its selectors once and in order, or a 410. What it has not read yet
//     costs nothing but its place in the log.
//   - W5 Nothing a client sends makes the server panic or answer 500; what a conversion webhook fails at is a 500, as on
//     upstream. A panic that happens all the same ends its request only.
package server
