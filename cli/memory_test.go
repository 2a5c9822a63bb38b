package cli

import (
	"fmt"
	"os"
	"strings"
	"testing"
)

func TestGCPercent(t *testing.T) {
	for _, c := range []struct {
		least                 int
		live, stacks, globals uint64
		want                  int
	}{
		{25, 0, 0, 0, 400},
		{25, 1 << 20, 0, 0, 400},
		{50, 12 << 20, 0, 0, 100},
		{25, 24 << 20, 0, 0, 50},
		{25, 23 << 20, 0, 1 << 20, 50},
		{25, 8 << 20, 4 << 20, 0, 200}, // room of 12 MiB, and 12 for the stacks
		{25, 36 << 20, 20 << 20, 0, 50},
		{25, 1 << 30, 20 << 20, 0, 25},
		{50, 1 << 30, 20 << 20, 0, 50},
	} {
		if got := gcPercent(c.least, c.live, c.stacks, c.globals); got != c.want {
			t.Errorf("live heap of %d bytes, %d of stacks, %d of globals: %d %%, want %d", c.live, c.stacks, c.globals, got, c.want)
		}
	}
}

// TestForgetStart sees the pages of the program go, and the program go on.
func TestForgetStart(t *testing.T) {
	relocated, err := isRelocated("/proc/self/exe")
	if err != nil {
		t.Fatal(err)
	}
	if relocated {
		t.Skip("the test is linked with C")
	}
	resident := func() (kib int) {
		status, err := os.ReadFile("/proc/self/status")
		if err != nil {
			t.Fatal(err)
		}
		_, rest, _ := strings.Cut(string(status), "RssFile:")
		if _, err := fmt.Sscan(rest, &kib); err != nil {
			t.Fatal(err)
		}
		return kib
	}
	before := resident()
	if err := forgetStart(); err != nil {
		t.Fatal(err)
	}
	if after := resident(); after > before/2 {
		t.Errorf("%d KiB of files are still in memory, of %d", after, before)
	}
}
