package imagegc

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"k8s.io/apimachinery/pkg/types"

	"pintle.dev/node"
)

// disk is a runtime whose images fill a disk of 1000 bytes.
type disk struct {
	node.Images
	node.Sandboxes
	mu      sync.Mutex // fake time alone tells the race detector nothing of the order
	images  []node.Image
	used    []string // images that containers have
	other   int64    // bytes in use by something else
	stuck   bool     // nothing can be removed
	removed []string
	events  []string
}

func (d *disk) List(context.Context) ([]node.Image, error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	return slices.Clone(d.images), nil
}

func (d *disk) Observe(context.Context, types.UID) ([]node.PodState, error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	var s node.PodState
	for _, id := range d.used {
		c := s.Container(id)
		c.Instances = append(c.Instances, node.Instance{ImageID: id, Phase: node.Exited})
	}
	return []node.PodState{s}, nil
}

func (d *disk) Remove(_ context.Context, id string) error {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.stuck {
		return errors.New("read-only file system")
	}
	d.removed = append(d.removed, id)
	d.images = slices.DeleteFunc(d.images, func(im node.Image) bool { return im.ID == id })
	return nil
}

func (d *disk) add(id string, size int64) {
	d.images = append(d.images, node.Image{ID: id, Size: size, Names: []string{"repo/" + id + ":1", "repo/" + id + "@sha256:" + id}})
}

func (d *disk) space(context.Context) (int64, int64, error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	free := 1000 - d.other
	for _, im := range d.images {
		free -= im.Size
	}
	return 1000, free, nil
}

// TestImportedImagesStay fills the disk with images from an archive: who wants them again has nowhere to fetch them from. What
// has lost its name to a newer image goes all the same.
func TestImportedImagesStay(t *testing.T) {
	d := &disk{other: 500, images: []node.Image{{ID: "archive", Size: 200, Names: []string{"repo/archive:1"}}, {ID: "nameless", Size: 100}}}
	d.add("pulled", 190)
	run(t, d, func(round int) bool { return round < 3 })
	if want := []string{"nameless", "pulled"}; !slices.Equal(slices.Sorted(slices.Values(d.removed)), want) {
		t.Errorf("removed %v, want %v", d.removed, want)
	}
}

// run runs a collector of the disk in fake time and hands over to f right after each of its rounds.
func run(t *testing.T, d *disk, f func(round int) (more bool)) {
	synctest.Test(t, func(t *testing.T) {
		ctx, cancel := context.WithCancel(t.Context())
		defer cancel()
		c := &Collector{Images: d, Sandboxes: d, Disk: d.space, Keep: "repo/pause:1", Warn: func(reason, message string) {
			d.events = append(d.events, reason+": "+message)
		}}
		go c.Run(ctx)
		for round := 0; ; round++ {
			synctest.Wait()
			d.mu.Lock()
			more := f(round)
			d.mu.Unlock()
			if !more {
				return
			}
			time.Sleep(period)
		}
	})
}

func TestBelowTheThresholdNothingGoes(t *testing.T) {
	d := &disk{other: 500}
	d.add("a", 340)
	run(t, d, func(round int) bool { return round < 3 })
	if len(d.removed) > 0 || len(d.events) > 0 {
		t.Errorf("removed %v, events %v", d.removed, d.events)
	}
}

// TestLeastRecentlyUsedGoFirst fills the disk: images go in the order of their last use until 80 % are in use.
func TestLeastRecentlyUsedGoFirst(t *testing.T) {
	d := &disk{used: []string{"early", "late", "now"}}
	for _, id := range []string{"now", "late", "early", "never", "pause"} {
		d.add(id, 100)
	}
	run(t, d, func(round int) bool {
		switch round {
		case 1:
			d.used = []string{"repo/late@sha256:late", "now"} // an image is known by its digest, too
		case 2:
			d.used = []string{"now"}
			d.other = 400 // 90 %
		case 3:
			if got := strings.Join(d.removed, " "); got != "never" {
				t.Errorf("removed %q, want the one that was never used", got)
			}
			d.other = 700 // 110 %, whatever is done
		case 4:
			if got := strings.Join(d.removed, " "); got != "never early late" {
				t.Errorf("removed %q, want the rest but what is in use", got)
			}
			return false
		}
		return true
	})
}

func TestYoungImagesStay(t *testing.T) {
	d := &disk{other: 900}
	run(t, d, func(round int) bool {
		if round == 1 {
			d.add("new", 50) // seen for the first time with the disk full
		}
		return round < 2
	})
	if len(d.removed) > 0 {
		t.Errorf("removed %v, which had just come", d.removed)
	}
	run(t, d, func(round int) bool { return round < 1 })
	if len(d.removed) != 1 {
		t.Errorf("removed %v: what was there at the start has no age to reach", d.removed)
	}
}

// TestEvents has nothing to free, and then nothing that lets itself be freed.
func TestEvents(t *testing.T) {
	d := &disk{other: 900}
	run(t, d, func(round int) bool {
		if round == 2 {
			d.stuck = true
			d.add("a", 50)
		}
		return round < 4
	})
	short := "Insufficient free disk space on the node's image filesystem (90% of 1000 B used). Failed to free sufficient space by deleting unused images (freed 0 bytes). " +
		"Investigate disk usage, as it could be used by active images, logs, volumes, or other data."
	young := strings.Replace(short, "90%", "95%", 1)
	want := []string{"FreeDiskSpaceFailed: " + short, "FreeDiskSpaceFailed: " + short, "ImageGCFailed: " + short,
		"FreeDiskSpaceFailed: " + young, "ImageGCFailed: " + young,
		"ImageGCFailed: wanted to free 150 bytes, but freed 0 bytes space with errors in image deletion: read-only file system"}
	if fmt.Sprint(d.events) != fmt.Sprint(want) {
		t.Errorf("events:\n%s\nwant:\n%s", strings.Join(d.events, "\n"), strings.Join(want, "\n"))
	}
}

func TestSize(t *testing.T) {
	for n, want := range map[int64]string{12: "12 B", 1536: "1.5 KiB", 19<<30 + 214748365: "19.2 GiB"} {
		if got := size(n); got != want {
			t.Errorf("%d is %q, want %q", n, got, want)
		}
	}
}
