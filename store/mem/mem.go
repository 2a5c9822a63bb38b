// Package mem is a store.Backend that keeps nothing: the Store's own tables and logs are all there is, and they end
// with the process. It serves `pintle up --ephemeral` and tests.
//
// It is not a model of a durable backend: a Store opened on it starts empty, and events that have left the Store's
// memory are gone (Events always reports ErrExpired).
package mem

import (
	"context"

	"pintle.dev/api"
	"pintle.dev/store"
)

// Backend is a store.Backend without durability. The zero Backend is ready for use.
type Backend struct{}

// New returns a Backend.
func New() Backend { return Backend{} }

// Load has nothing to load.
func (Backend) Load(context.Context, func(api.Resource, *api.Record)) (store.State, error) {
	return store.State{NoLog: true}, nil
}

// Commit accepts every group: the Store keeps the records.
func (Backend) Commit(context.Context, []store.Batch) error { return nil }

// Events reports ErrExpired.
func (Backend) Events(context.Context, api.Resource, api.Revision, api.Revision) ([]api.Event, error) {
	return nil, store.ErrExpired
}

// Drop has nothing to forget.
func (Backend) Drop(context.Context, api.Resource, api.Revision) error { return nil }

// Compact has nothing to forget.
func (Backend) Compact(context.Context, api.Revision) error { return nil }

// Close does nothing.
func (Backend) Close() error { return nil }
