package cli

import "context"

// sleepers goroutines of sleeperStack bytes of stack each are enough to have up to about 400 others begin with 8 KiB.
const (
	sleepers     = 16
	sleeperStack = 60 << 10
)

// deepenStacks makes the runtime begin new goroutines with deeper stacks while ctx lasts. Each request has a goroutine of
// its own, which would otherwise grow its stack from 2 KiB, copying it each time: of what a get costs, that shows. The
// runtime begins with the average of what it found in use at the last collection, which the many that
// wait in shallow calls keep low; a few that sleep in a deep one raise it. Their stacks are reserved but never touched,
// so that they take next to no memory, and with thousands of goroutines (idle watches) the average falls by itself.
func deepenStacks(ctx context.Context) {
	for range sleepers {
		go sleep(ctx, false)
	}
}

// sleep waits for the end of ctx in a deep frame.
//
//go:noinline
func sleep(ctx context.Context, touch bool) {
	if touch { // never, but the frame has the room for it
		var depth [sleeperStack]byte
		use(&depth)
	}
	<-ctx.Done()
}

//go:noinline
func use(*[sleeperStack]byte) {}
