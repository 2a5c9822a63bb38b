// Package storetest is the kit that every store.Backend passes, and what tests of the store need beside it: records of
// small objects, and a model of the store to compare it with.
//
// Run opens Stores on the backend and checks the invariants S1, S2 and S4 to S8 of package store from outside: random
// operations against a model, concurrent clients against a linearizable register, watches under load, and the state
// after a crash at any sync. What depends on how a disk fails (S3, S9, torn and flipped bytes) is the backend's own to
// test.
package storetest

import (
	"math/rand/v2"
	"testing"
	"time"

	"pintle.dev/api"
	"pintle.dev/store"
)

// Storage is what a backend keeps its records in, to be opened again and again, by one backend at a time.
type Storage struct {
	// Open makes a backend over the storage.
	Open func() (store.Backend, error)
	// Crash copies the storage as it might be after a crash at this moment. It may be called while a backend is open.
	// Nil where nothing outlives a backend; the kit then leaves out what needs that.
	Crash func(rnd *rand.Rand) *Storage
	// OnSync makes every sync call the function, before it begins and after it has ended. Nil like Crash.
	OnSync func(func())
}

// Run checks a backend. Fresh makes an empty storage.
func Run(t *testing.T, fresh func(t *testing.T) *Storage) {
	tests := []struct {
		name    string
		durable bool // only of storage that outlives its backend
		run     func(*testing.T, *Storage)
	}{
		{"Model", false, testModel},
		{"ModelReadBack", true, testModelReadBack},
		{"S1_Revisions", false, testRevisions},
		{"S2_ReadYourWrite", false, testReadYourWrite},
		{"S2_DurableWhenAcknowledged", true, testDurableWhenAcknowledged},
		{"S4_TableBeforeEvent", false, testTableBeforeEvent},
		{"S5_Snapshots", false, testSnapshots},
		{"S6_Watch", false, testWatch},
		{"S6_SlowCursorDelaysNobody", false, testSlowCursor},
		{"S6_ResumeAfterRestart", true, testResumeAfterRestart},
		{"S7_Linearizable", false, testLinearizable},
		{"S7_Guards", false, testGuards},
		{"S8_CrashAtEverySync", true, testCrash},
		{"Drop", false, testDrop},
		{"Compact", true, testCompact},
	}
	for _, c := range tests {
		t.Run(c.name, func(t *testing.T) {
			s := fresh(t)
			if c.durable && s.Crash == nil {
				t.Skip("the backend keeps nothing")
			}
			c.run(t, s)
		})
	}
}

// The tables the kit uses.
var (
	apples = api.Resource{Group: "example.org", Name: "apples"}
	pears  = api.Resource{Group: "example.org", Name: "pears"}
)

// open opens a store that is closed with the test. Configs change the configuration.
func open(t *testing.T, s *Storage, configs ...func(*store.Config)) *store.Store {
	t.Helper()
	b, err := s.Open()
	if err != nil {
		t.Fatal(err)
	}
	c := store.Config{Backend: b, Retention: time.Hour}
	for _, f := range configs {
		f(&c)
	}
	st, err := store.Open(t.Context(), c)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { closeStore(t, st) })
	return st
}

func closeStore(t *testing.T, s *store.Store) {
	t.Helper()
	if err := s.Close(); err != nil {
		t.Errorf("close: %v", err)
	}
}

// smallLog makes events leave memory at once.
func smallLog(c *store.Config) { c.LogBudget, c.LogFloor = 1, 2 }

func view(t *testing.T, s *store.Store) store.View {
	t.Helper()
	v, err := s.View(t.Context(), 0)
	if err != nil {
		t.Fatal(err)
	}
	return v
}

func follow(t *testing.T, s *store.Store, r api.Resource, after api.Revision, match ...api.Index) *store.Cursor {
	t.Helper()
	c, err := s.Follow(r, after, match...)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(c.Close)
	return c
}

func commit(t *testing.T, s *store.Store, ws ...store.Write) api.Revision {
	t.Helper()
	rev, err := s.Commit(t.Context(), ws...)
	if err != nil {
		t.Fatal(err)
	}
	return rev
}

func object(name, data string, index ...api.Index) *api.Record {
	return Object{Key: api.Key{Namespace: "ns", Name: name}, Data: data, Index: index}.Record()
}

func key(name string) api.Key { return api.Key{Namespace: "ns", Name: name} }
