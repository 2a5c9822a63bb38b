package pebble_test

import (
	"math/rand/v2"
	"sync/atomic"
	"testing"

	"github.com/cockroachdb/pebble/v2/vfs"
	"github.com/cockroachdb/pebble/v2/vfs/errorfs"

	"pintle.dev/store"
	"pintle.dev/store/pebble"
	"pintle.dev/store/storetest"
)

// storage is a crashable disk in memory.
func storage(mem *vfs.MemFS) *storetest.Storage {
	var hook atomic.Pointer[func()]
	fs := errorfs.Wrap(mem, errorfs.InjectorFunc(func(op errorfs.Op) error {
		switch op.Kind {
		case errorfs.OpFileSync, errorfs.OpFileSyncData, errorfs.OpFileSyncTo, errorfs.OpRename, errorfs.OpRemove, errorfs.OpFileWrite:
			if f := hook.Load(); f != nil {
				(*f)()
			}
		}
		return nil
	}))
	return &storetest.Storage{
		Open: func() (store.Backend, error) { return pebble.Open("data", pebble.Options{FS: fs}) },
		Crash: func(rnd *rand.Rand) *storetest.Storage {
			if rnd == nil {
				return storage(mem.CrashClone(vfs.CrashCloneCfg{}))
			}
			return storage(mem.CrashClone(vfs.CrashCloneCfg{UnsyncedDataPercent: rnd.IntN(101), RNG: rnd}))
		},
		OnSync: func(f func()) {
			if f == nil {
				hook.Store(nil)
				return
			}
			hook.Store(&f)
		},
	}
}

func TestPebble(t *testing.T) {
	storetest.Run(t, func(*testing.T) *storetest.Storage { return storage(vfs.NewCrashableMem()) })
}
