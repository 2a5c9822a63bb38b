package bench

import (
	"fmt"
	"runtime"
	"strings"
	"text/tabwriter"
	"time"
)

// Figure is one measured value.
type Figure struct {
	Kind         string  `json:"kind,omitempty"`
	Work         string  `json:"work"`
	Unit         string  `json:"unit"`
	Value        float64 `json:"value"`
	Floor        float64 `json:"floor,omitempty"`    // the floor's value in this run
	Multiple     float64 `json:"multiple,omitempty"` // of the floor; for rates, a share of it
	MoreIsBetter bool    `json:"moreIsBetter,omitempty"`
}

func (f *Figure) setFloor(base Figure) {
	if base.Value == 0 {
		return
	}
	f.Floor, f.Multiple = base.Value, f.Value/base.Value
}

// Report is everything that was measured in a run.
type Report struct {
	Time    time.Time `json:"time"`
	CPUs    int       `json:"cpus"`
	Objects int       `json:"objects"`
	Writers int       `json:"writers"`
	Figures []Figure  `json:"figures"`
}

func newReport(c Config) *Report {
	return &Report{Time: time.Now().UTC().Truncate(time.Second), CPUs: runtime.NumCPU(), Objects: c.Objects, Writers: c.Writers}
}

func (r *Report) add(f Figure) { r.Figures = append(r.Figures, f) }

func (r *Report) table() string {
	var b strings.Builder
	fmt.Fprintf(&b, "%d objects, %d writers, %d CPUs shared by server and load generator\n\n", r.Objects, r.Writers, r.CPUs)
	w := tabwriter.NewWriter(&b, 0, 0, 2, ' ', 0)
	fmt.Fprintln(w, "WORK\tKIND\tVALUE\tFLOOR\tMULTIPLE")
	for _, f := range r.Figures {
		floor, multiple := "-", "-"
		if f.Floor != 0 {
			floor, multiple = number(f.Floor)+" "+f.Unit, fmt.Sprintf("%.2fx", f.Multiple)
		}
		kind := f.Kind
		if kind == "" {
			kind = "-"
		}
		fmt.Fprintf(w, "%s\t%s\t%s %s\t%s\t%s\n", f.Work, kind, number(f.Value), f.Unit, floor, multiple)
	}
	w.Flush()
	return b.String()
}

func number(v float64) string {
	switch {
	case v >= 1000:
		return fmt.Sprintf("%.0f", v)
	case v >= 10:
		return fmt.Sprintf("%.1f", v)
	}
	return fmt.Sprintf("%.2f", v)
}
