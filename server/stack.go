package server

// deepen makes the goroutine's stack as large as a write needs, at once. Stacks start at 2 KiB and double when they
// overflow, and each time what is on them is copied: deep in an encoder that takes longer than the encoding.
//
//go:noinline
func deepen(never bool) byte {
	if never {
		var frame [12 << 10]byte // counts for the size of the stack, but is not cleared
		clear(frame[1:])
		return frame[len(frame)-1]
	}
	return 0
}
