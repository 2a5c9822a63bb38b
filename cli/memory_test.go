package cli

import (
	"fmt"
	"os"
	"strings"
	"testing"
)

func TestGCPercent(t *testing.T) {
	for live, want := range map[uint64]int{0: 400, 1 << 20: 400, 12 << 20: 100, 24 << 20: 50, 1 << 30: 25} {
		if got := gcPercent(live); got != want {
			t.Errorf("live heap of %d bytes: %d %%, want %d", live, got, want)
		}
	}
}

// TestForgetStart sees the pages of the program go, and the program go on.
func TestForgetStart(t *testing.T) {
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
