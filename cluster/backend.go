package cluster

import (
	"path/filepath"

	"pintle.dev/store"
	"pintle.dev/store/mem"
	"pintle.dev/store/pebble"
)

// openBackend opens what keeps the objects: the place where a further storage backend is chosen.
func openBackend(c Config) (store.Backend, error) {
	if c.Ephemeral {
		return mem.New(), nil
	}
	return pebble.Open(filepath.Join(c.Data, "store"), pebble.Options{
		Log: func(message string) { c.Log.Warn("store", "message", message) },
	})
}
