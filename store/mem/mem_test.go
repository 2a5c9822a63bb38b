package mem_test

import (
	"testing"

	"pintle.dev/store"
	"pintle.dev/store/mem"
	"pintle.dev/store/storetest"
)

func TestMem(t *testing.T) {
	storetest.Run(t, func(*testing.T) *storetest.Storage {
		return &storetest.Storage{Open: func() (store.Backend, error) { return mem.New(), nil }}
	})
}
