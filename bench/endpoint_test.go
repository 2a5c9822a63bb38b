package bench

import (
	"crypto/rand"
	"io"
	"os"
	"path/filepath"
	"testing"

	"k8s.io/client-go/rest"
)

func TestMapped(t *testing.T) {
	const smaps = `00400000-00500000 r-xp 00000000 fe:00 17 /usr/bin/server
Rss:                 700 kB
Anonymous:             0 kB
VmFlags: rd ex mr
00500000-00600000 rw-p 00100000 fe:00 17 /usr/bin/server
Rss:                 100 kB
Anonymous:            60 kB
c000000000-c004000000 rw-p 00000000 00:00 0
Rss:                9000 kB
Anonymous:          9000 kB
7f0000000000-7f0000100000 r--s 00000000 fe:00 18 /data/db
Rss:                 500 kB
Anonymous:             0 kB
`
	if got := mapped(smaps, "/usr/bin/server"); got != 740 {
		t.Errorf("%d KiB, want 740: the program's pages that were not written to", got)
	}
}

func TestData(t *testing.T) {
	e, err := newEndpoint(&rest.Config{}, []int{os.Getpid()})
	if err != nil {
		t.Fatal(err)
	}
	if data, all := e.data(), e.memory(); data <= 0 || data >= all {
		t.Errorf("%d of %d bytes are no pages of the program", data, all)
	}
}

func TestWritten(t *testing.T) {
	for _, c := range []struct {
		name          string
		before, after written
		want          int64
	}{
		{"folios counted whole", written{100, 1000, true}, written{900, 1300, true}, 300},
		{"a disk with other users", written{100, 1000, true}, written{200, 9000, true}, 100},
		{"no disk", written{processes: 100}, written{processes: 900}, 800},
	} {
		if got := c.after.since(c.before); got != c.want {
			t.Errorf("%s: %d, want %d", c.name, got, c.want)
		}
	}
}

// TestDisksOf finds the disk of an open file, on machines where its file system has one.
func TestDisksOf(t *testing.T) {
	f, err := os.Create(filepath.Join(t.TempDir(), "log"))
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	e, err := newEndpoint(&rest.Config{}, []int{os.Getpid()})
	if err != nil {
		t.Fatal(err)
	}
	if len(e.disks) == 0 {
		t.Skip("no open file is on a disk")
	}
	before := e.written()
	if _, err := io.CopyN(f, rand.Reader, 1<<20); err != nil { // some file systems keep nothing of zeros
		t.Fatal(err)
	}
	if err := f.Sync(); err != nil {
		t.Fatal(err)
	}
	if got := e.written().since(before); got < 1<<20 {
		t.Errorf("%d bytes were written, want at least 1 MiB", got)
	}
}
