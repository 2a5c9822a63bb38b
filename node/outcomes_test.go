package node

import (
	"slices"
	"testing"
)

// What has just ended by other actions is not reported where their work takes no time; what tells why they are taken is.
func TestOutcomes(t *testing.T) {
	for _, tt := range []struct{ step, want []Op }{
		{[]Op{Tell, Report, Wake}, []Op{Tell, Report, Wake}},
		{[]Op{Report, SetUpVolumes}, []Op{SetUpVolumes}},
		{[]Op{Tell, Report, Tell, Kill, Wake}, []Op{Tell, Kill, Wake}},
		{[]Op{Tell, StopSandbox, RunSandbox}, []Op{Tell, StopSandbox, RunSandbox}},
		{[]Op{Wake}, []Op{Wake}},
	} {
		var actions []Action
		for _, op := range tt.step {
			actions = append(actions, Action{Op: op})
		}
		var got []Op
		for _, a := range outcomes(actions) {
			got = append(got, a.Op)
		}
		if !slices.Equal(got, tt.want) {
			t.Errorf("%v: %v, want %v", tt.step, got, tt.want)
		}
	}
}
