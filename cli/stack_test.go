package cli

import (
	"runtime"
	"runtime/metrics"
	"testing"
	"time"
)

func TestDeepenStacks(t *testing.T) {
	begin := func() uint64 {
		runtime.GC()
		sample := []metrics.Sample{{Name: "/gc/stack/starting-size:bytes"}}
		metrics.Read(sample)
		return sample[0].Value.Uint64()
	}
	const idle = 300 // as a server has
	for range idle {
		go func() { <-t.Context().Done() }()
	}
	const patience = 2 * time.Minute // until all sleep
	for deadline := time.Now().Add(patience); begin() >= 8<<10; time.Sleep(time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatalf("goroutines begin with %d bytes of stack anyway", begin())
		}
	}
	deepenStacks(t.Context())
	for deadline := time.Now().Add(patience); begin() < 8<<10; time.Sleep(time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatalf("goroutines begin with %d bytes of stack, want 8 KiB", begin())
		}
	}
}
