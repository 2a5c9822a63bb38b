package nodeipam

import (
	"context"
	"fmt"
	"net/netip"
	"testing"
	"testing/synctest"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"pintle.dev/api"
	"pintle.dev/client"
	"pintle.dev/controller"
	"pintle.dev/controller/controllertest"
)

func TestLowest(t *testing.T) {
	for _, c := range []struct {
		cluster string
		taken   []string
		want    string // "" when none is left
	}{
		{"10.244.0.0/16", nil, "10.244.0.0/24"},
		{"10.244.0.0/16", []string{"10.244.0.0/24", "10.244.1.0/24", "10.244.3.0/24"}, "10.244.2.0/24"},
		{"10.244.0.0/16", []string{"10.244.0.0/23", "fd00::/64", "10.1.0.0/24"}, "10.244.2.0/24"},
		{"10.244.0.0/16", []string{"10.244.0.128/25"}, "10.244.1.0/24"},
		{"10.244.8.0/23", []string{"10.244.8.0/24"}, "10.244.9.0/24"},
		{"10.244.8.0/23", []string{"10.244.8.0/24", "10.244.9.0/24"}, ""},
	} {
		var taken []netip.Prefix
		for _, s := range c.taken {
			taken = append(taken, netip.MustParsePrefix(s))
		}
		got, ok := lowest(netip.MustParsePrefix(c.cluster), taken)
		if ok != (c.want != "") || ok && got.String() != c.want {
			t.Errorf("%s without %v: %v, %v; want %q", c.cluster, c.taken, got, ok, c.want)
		}
	}
}

// TestEachNodeHasItsOwn brings up more nodes than there are ranges, half of which are taken by somebody else; the last
// gets that of a node which is deleted.
func TestEachNodeHasItsOwn(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		own := &corev1.Node{TypeMeta: metav1.TypeMeta{APIVersion: "v1", Kind: "Node"}, ObjectMeta: metav1.ObjectMeta{Name: "own"},
			Spec: corev1.NodeSpec{PodCIDR: "10.244.1.0/24", PodCIDRs: []string{"10.244.1.0/24"}}}
		c := controllertest.New(own)
		for i := range 4 {
			c.Create(&corev1.Node{TypeMeta: own.TypeMeta, ObjectMeta: metav1.ObjectMeta{Name: fmt.Sprint("n", i)}})
		}
		ctx, stop := context.WithCancel(t.Context())
		done := make(chan error, 1)
		events := client.NewRecorder(c, "it", "")
		foreign := func() []netip.Prefix { return []netip.Prefix{netip.MustParsePrefix("10.244.4.1/22")} }
		go func() {
			done <- controller.Run(ctx, c, []*controller.Controller{New(c, Config{Cluster: netip.MustParsePrefix("10.244.0.0/21"), Taken: foreign}, events)})
		}()
		ranges := func() map[string]string {
			synctest.Wait()
			got := map[string]string{}
			ns, err := client.Nodes.List(t.Context(), c, client.Options{})
			if err != nil {
				t.Fatal(err)
			}
			for _, n := range ns {
				if other, twice := got[n.Spec.PodCIDR]; twice && n.Spec.PodCIDR != "" {
					t.Errorf("%s has been given to %s and %s", n.Spec.PodCIDR, other, n.Name)
				}
				got[n.Spec.PodCIDR] = n.Name
			}
			return got
		}
		got := ranges()
		if got["10.244.1.0/24"] != "own" || len(got) != 5 || got[""] == "" {
			t.Fatalf("ranges: %v; want all four, one kept, and one node without", got)
		}
		late := got[""]
		if _, err := client.Nodes.Delete(t.Context(), c, api.Key{Name: "own"}, nil); err != nil {
			t.Fatal(err)
		}
		if got = ranges(); got["10.244.1.0/24"] != late {
			t.Errorf("after a deletion: %v; want 10.244.1.0/24 for %s", got, late)
		}
		stop()
		if err := <-done; err != nil {
			t.Error(err)
		}
		if err := events.Close(t.Context()); err != nil {
			t.Error(err)
		}
	})
}
