// Package imagegc removes images that no container uses when the disk they are on fills up, by upstream's rules: from
// highThreshold percent of use on it frees down to lowThreshold, those first that have not been used for longest, and
// none that has been there for less than minimumAge, nor one that was imported. It decides by what the runtime holds and
// asks the API nothing; which images are kept in any case is its caller's to say.
package imagegc

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"strings"
	"time"

	"pintle.dev/node"
)

// Upstream's defaults, and how often the disk is looked at.
const (
	highThreshold = 85 // percent of the disk in use
	lowThreshold  = 80
	minimumAge    = 2 * time.Minute
	period        = 5 * time.Minute
)

// Collector collects the images of one node.
type Collector struct {
	Images    node.Images
	Sandboxes node.Sandboxes
	// Disk is the size of the file system that holds the images, and what is free of it, in bytes.
	Disk func(ctx context.Context) (capacity, available int64, err error)
	// Keep names an image that is in use without a container of it: the sandboxes'. "" for none.
	Keep string
	// Warn writes an event about the node.
	Warn func(reason, message string)

	seen   map[string]*use // by image ID
	failed bool            // the last time
}

// use is what is remembered of an image.
type use struct {
	since time.Time // first seen; zero for one that was there before the collector
	last  time.Time // a container had it
}

// Run looks after the images until ctx ends.
func (c *Collector) Run(ctx context.Context) {
	tick := time.NewTicker(period)
	defer tick.Stop()
	// What is there at the start may be of any age.
	if _, err := c.look(ctx, time.Time{}); err != nil && ctx.Err() == nil {
		slog.Warn("images not looked at", "err", err)
	}
	for {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
		err := c.collect(ctx)
		if ctx.Err() != nil {
			return
		}
		if err != nil {
			slog.Warn("image garbage collection failed", "err", err)
			if c.failed { // once may be a matter of the start
				c.Warn("ImageGCFailed", err.Error())
			}
		}
		c.failed = err != nil
	}
}

// look brings what is remembered up to date and returns the images that are there. New ones are taken to have come at t.
func (c *Collector) look(ctx context.Context, t time.Time) ([]node.Image, error) {
	images, err := c.Images.List(ctx)
	if err != nil {
		return nil, err
	}
	pods, err := c.Sandboxes.Observe(ctx, "")
	if err != nil {
		return nil, err
	}
	used := map[string]bool{c.Keep: true}
	for i := range pods {
		for j := range pods[i].Containers {
			for _, in := range pods[i].Containers[j].Instances {
				used[in.ImageID], used[in.Image] = true, true
			}
		}
	}
	now := time.Now()
	seen := make(map[string]*use, len(images))
	for i := range images {
		im := &images[i]
		u := c.seen[im.ID]
		if u == nil {
			u = &use{since: t}
		}
		if used[im.ID] || slices.ContainsFunc(im.Names, func(name string) bool { return used[name] }) {
			u.last = now
		}
		seen[im.ID] = u
	}
	c.seen = seen
	return images, nil
}

// collect frees space when too little is left.
func (c *Collector) collect(ctx context.Context) error {
	began := time.Now()
	images, err := c.look(ctx, began)
	if err != nil {
		return err
	}
	capacity, available, err := c.Disk(ctx)
	if err != nil {
		return err
	}
	available = min(available, capacity)
	if capacity == 0 {
		err := errors.New("invalid capacity 0 on image filesystem")
		c.Warn("InvalidDiskCapacity", err.Error())
		return err
	}
	percent := 100 - available*100/capacity
	if percent < highThreshold {
		return nil
	}
	wanted := capacity*(100-lowThreshold)/100 - available
	freed, err := c.free(ctx, images, wanted, began)
	if err != nil || freed >= wanted {
		return err
	}
	err = fmt.Errorf("Insufficient free disk space on the node's image filesystem (%d%% of %s used). "+ //nolint:staticcheck // upstream's words
		"Failed to free sufficient space by deleting unused images (freed %d bytes). "+
		"Investigate disk usage, as it could be used by active images, logs, volumes, or other data.", percent, size(capacity), freed)
	c.Warn("FreeDiskSpaceFailed", err.Error())
	return err
}

// free removes images that were not in use at began until so many bytes are free, and returns how many are.
func (c *Collector) free(ctx context.Context, images []node.Image, wanted int64, began time.Time) (freed int64, err error) {
	images = slices.DeleteFunc(images, func(im node.Image) bool {
		u := c.seen[im.ID]
		return !u.last.Before(began) || began.Sub(u.since) < minimumAge || imported(im)
	})
	slices.SortFunc(images, func(a, b node.Image) int {
		x, y := c.seen[a.ID], c.seen[b.ID]
		return cmp.Or(x.last.Compare(y.last), x.since.Compare(y.since))
	})
	var errs []error
	for _, im := range images {
		if freed >= wanted {
			break
		}
		if err := c.Images.Remove(ctx, im.ID); err != nil {
			errs = append(errs, err)
			continue
		}
		slog.Info("removed an image to free disk space", "image", im.ID, "names", im.Names, "bytes", im.Size)
		delete(c.seen, im.ID)
		freed += im.Size
	}
	if len(errs) > 0 {
		return freed, fmt.Errorf("wanted to free %d bytes, but freed %d bytes space with errors in image deletion: %w", wanted, freed, errors.Join(errs...))
	}
	return freed, nil
}

// imported reports whether an image was brought in from an archive: it is known by tags and by no registry's digest, so that
// there may be nowhere to fetch it from when a pod wants it again. Upstream removes such images, too.
func imported(im node.Image) bool {
	return len(im.Names) > 0 && !slices.ContainsFunc(im.Names, func(name string) bool { return strings.Contains(name, "@") })
}

// size is a number of bytes as upstream words it: "19.2 GiB".
func size(n int64) string {
	units := []string{"B", "KiB", "MiB", "GiB", "TiB", "PiB", "EiB"}
	f, i := float64(n), 0
	for f >= 1024 && i < len(units)-1 {
		f, i = f/1024, i+1
	}
	if i == 0 {
		return fmt.Sprintf("%d B", n)
	}
	return fmt.Sprintf("%.1f %s", f, units[i])
}
