package store_test

import (
	"bytes"
	"fmt"
	"testing"

	"pintle.dev/api"
	"pintle.dev/store"
)

// FuzzReadBackup reads anything as a backup: it must not panic, nor allocate what is not there, and what it accepts has
// objects in order and none later than the revision.
func FuzzReadBackup(f *testing.F) {
	s := open(f, store.Config{})
	for i := range 3 {
		if _, err := s.Commit(f.Context(), store.Put(things, record("ns", fmt.Sprint(i), "x"), 0), store.Put(api.Pods, record("ns", fmt.Sprint(i), "x"), 0)); err != nil {
			f.Fatal(err)
		}
	}
	var whole bytes.Buffer
	if _, err := s.Backup(f.Context(), &whole); err != nil {
		f.Fatal(err)
	}
	f.Add(whole.Bytes())
	f.Add(whole.Bytes()[:whole.Len()/2])
	f.Add([]byte("PINTLE BACKUP 1\n"))
	f.Fuzz(func(t *testing.T, b []byte) {
		var newest api.Revision
		rev, err := store.ReadBackup(bytes.NewReader(b), func(_ api.Resource, rec *api.Record) error {
			newest = max(newest, rec.Revision())
			return nil
		})
		if err == nil && newest > rev {
			t.Errorf("an object of revision %d in a backup of %d", newest, rev)
		}
	})
}
