package cluster

import (
	"fmt"
	"path/filepath"

	"pintle.dev/store"
	"pintle.dev/store/mem"
	"pintle.dev/store/pebble"
)

// Where in the data directory the objects and the authority are.
const (
	storeDirectory = "store"
	pkiDirectory   = "pki"
)

// openBackend opens what keeps the objects: the place where a further storage backend is chosen.
func openBackend(c Config) (store.Backend, error) {
	if c.Ephemeral {
		return mem.New(), nil
	}
	if broken, err := interrupted(c.Data); err != nil {
		return nil, err
	} else if broken {
		return nil, fmt.Errorf("a restore into %s was broken off: run it again, or choose another directory", c.Data)
	}
	return pebble.Open(filepath.Join(c.Data, storeDirectory), pebble.Options{
		Log: func(message string) { c.Log.Warn("store", "message", message) },
	})
}
