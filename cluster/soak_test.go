package cluster_test

import (
	"os"
	"strconv"
	"testing"
)

// soakPart is how much of the soak tests to run: PINTLE_SOAK is 1 for all of it, less for a part, 0 where it is unset.
func soakPart(t *testing.T) float64 {
	text := os.Getenv("PINTLE_SOAK")
	if text == "" {
		return 0
	}
	part, err := strconv.ParseFloat(text, 64)
	if err != nil || part <= 0 {
		t.Fatalf("PINTLE_SOAK=%q: want 1, or which part of the soak to run, like 0.25", text)
	}
	return part
}
