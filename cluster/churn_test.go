package cluster_test

import (
	"context"
	"fmt"
	"io/fs"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"
)

// The churn of a whole soak: writes a second among as many objects of each table, by so many writers.
const (
	churnTime    = time.Hour
	churnRate    = 300
	churnObjects = 2000
	churnWriters = 6
)

// TestChurn writes to the same objects for an hour and sees that memory and disk stay as they are once the event log has
// reached its length.
func TestChurn(t *testing.T) {
	part := soakPart(t)
	if part == 0 {
		t.Skip("an hour of writing: make soak")
	}
	took := time.Duration(float64(churnTime) * part)
	k := newKilling(t)
	k.start()
	k.prepare()
	ctx, cancel := context.WithTimeout(t.Context(), took)
	defer cancel()
	var running sync.WaitGroup
	defer running.Wait()
	for table := range tables {
		running.Go(func() {
			after := k.history.floor
			for ctx.Err() == nil {
				err := k.watch(ctx, k.clients[0], table, after, func(c change) bool { after = c.revision; return true })
				if err != nil && ctx.Err() == nil {
					t.Errorf("watch of %s from revision %d: %v", table, after, err)
					return
				}
			}
		})
	}
	for range churnWriters {
		running.Go(func() {
			pace := time.NewTicker(time.Second * churnWriters / churnRate)
			defer pace.Stop()
			for ctx.Err() == nil {
				<-pace.C
				if err := k.churn(); err != nil {
					t.Error(err)
					return
				}
			}
		})
	}
	var memory, disk series
	for began := time.Now(); ctx.Err() == nil; time.Sleep(took / 100) {
		at := time.Since(began)
		memory.add(at, k.resident())
		disk.add(at, k.stored())
	}
	memory.flat(t, "memory")
	disk.flat(t, "disk")
}

// churn makes one random write. That it is refused because the object is there, or is not, is part of it.
func (k *killing) churn() error {
	tableNames := [...]string{"configmaps", "widgets", "widgets", "services"}
	w := &write{table: tableNames[rand.N(len(tableNames))], token: fmt.Sprintf("t%d", k.tokens.Add(1))}
	objects := churnObjects
	if w.table == "services" {
		objects /= 10 // node ports are few
	}
	w.name = fmt.Sprintf("o-%d", rand.N(objects))
	path := tables[w.table]
	var status int
	var answer []byte
	switch n := rand.N(10); {
	case n < 1:
		status, answer = k.call("DELETE", path+"/"+w.name, "", "")
	case n < 4:
		status, answer = k.call("POST", path, jsonType, newObject(w))
	default:
		status, answer = k.call("PATCH", path+"/"+w.name, mergeType, fmt.Sprintf(`{"metadata":{"annotations":{"token":%q}}}`, w.token))
	}
	switch status {
	case 200, 201, 404, 409:
		return nil
	}
	return fmt.Errorf("a write to %s/%s: %d: %.300s", w.table, w.name, status, answer)
}

// resident is what the server has in memory, in MiB.
func (k *killing) resident() float64 {
	text, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", k.process.Process.Pid))
	if err != nil {
		k.t.Fatal(err)
	}
	var kib float64
	_, rest, _ := strings.Cut(string(text), "VmRSS:")
	if _, err := fmt.Sscan(rest, &kib); err != nil {
		k.t.Fatalf("the server's resident size: %v", err)
	}
	return kib / 1024
}

// stored is what the server's data directory has on disk, in MiB.
func (k *killing) stored() float64 {
	size := int64(0)
	if err := filepath.WalkDir(filepath.Join(k.dir, "data"), func(_ string, d fs.DirEntry, err error) error {
		if os.IsNotExist(err) {
			return nil // removed while this looked
		}
		if err != nil || d.IsDir() {
			return err
		}
		info, err := d.Info()
		if err == nil {
			size += info.Size()
		}
		if os.IsNotExist(err) {
			return nil
		}
		return err
	}); err != nil {
		k.t.Error(err)
	}
	return float64(size) / (1 << 20)
}

// series is a size in MiB over time.
type series struct {
	hours, mib []float64
}

func (s *series) add(at time.Duration, mib float64) {
	s.hours, s.mib = append(s.hours, at.Hours()), append(s.mib, mib)
}

// quarters are the means of the third and of the last quarter, and the growth from one to the other, in MiB an hour.
func (s *series) quarters() (third, last, slope float64) {
	half, n := len(s.mib)/2, len(s.mib)
	middle := half + (n-half)/2
	third, last = mean(s.mib[half:middle]), mean(s.mib[middle:])
	return third, last, (last - third) / (mean(s.hours[middle:]) - mean(s.hours[half:middle]))
}

// grows is whether the last quarter is above the third by more than a twentieth and 4 MiB, which is noise.
func (s *series) grows() bool {
	third, last, _ := s.quarters()
	return last > third*1.05+4
}

func (s *series) flat(t *testing.T, what string) {
	if len(s.mib) < 20 {
		t.Fatalf("%s: only %d samples", what, len(s.mib))
	}
	third, last, slope := s.quarters()
	t.Logf("%s: %.1f MiB at first, %.1f in the third quarter, %.1f in the last (%+.1f an hour)", what, s.mib[0], third, last, slope)
	if s.grows() {
		t.Errorf("%s grows", what)
	}
}

func mean(vs []float64) float64 {
	sum := 0.0
	for _, v := range vs {
		sum += v
	}
	return sum / float64(len(vs))
}

// TestSeries tells growth from noise and from what only the beginning needs.
func TestSeries(t *testing.T) {
	for what, c := range map[string]struct {
		mib   func(minute int) float64
		grows bool
	}{
		"noise":        {func(i int) float64 { return 100 + float64(i*7%13) }, false},
		"a warm start": {func(i int) float64 { return 100 + float64(min(i, 50)) }, false},
		"a leak":       {func(i int) float64 { return 100 + float64(i) }, true},
	} {
		var s series
		for i := range 100 {
			s.add(time.Duration(i)*time.Minute, c.mib(i))
		}
		if s.grows() != c.grows {
			t.Errorf("%s grows: %v", what, s.grows())
		}
	}
	var s series
	for i := range 100 {
		s.add(time.Duration(i)*time.Hour, float64(i))
	}
	if third, last, slope := s.quarters(); third != 62 || last != 87 || slope != 1 {
		t.Errorf("of one MiB an hour: %v, %v, %v an hour", third, last, slope)
	}
}
