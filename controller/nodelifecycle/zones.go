package nodelifecycle

import (
	"maps"
	"slices"
	"time"

	corev1 "k8s.io/api/core/v1"
)

// The limits of eviction, those of kube-controller-manager: nodes per second and zone whose pods are driven out.
const (
	rate          = 0.1
	secondaryRate = 0.01 // of a zone of which too much is unhealthy
	unhealthy     = 0.55 // the share of nodes that are not ready from which on it is too much
	largeCluster  = 50   // nodes; in a zone that is no larger and too unhealthy, nothing is evicted
)

// zone is a failure domain and its token bucket, of one token.
type zone struct {
	tokens float64
	filled time.Time
}

// take refills the bucket at a rate and takes a token if there is one.
func (z *zone) take(rate float64, now time.Time) bool {
	if z.filled.IsZero() {
		z.tokens = 1
	} else {
		z.tokens = min(1, z.tokens+rate*now.Sub(z.filled).Seconds())
	}
	z.filled = now
	// A rounding error must not cost a period.
	if z.tokens < 1-1e-9 {
		return false
	}
	z.tokens--
	return true
}

// zoneOf is the name of the node's zone, "" for nodes that state none.
func zoneOf(n *corev1.Node) string {
	region, zone := n.Labels[corev1.LabelTopologyRegion], n.Labels[corev1.LabelTopologyZone]
	if region == "" && zone == "" {
		return ""
	}
	return region + ":\x00:" + zone
}

// evictionRate is how fast nodes of a zone may lose their pods, in nodes a second, given how many of its nodes are
// ready and not: when most of a zone fails it is more likely the network than the nodes.
func evictionRate(ready, notReady int) float64 {
	total := ready + notReady
	if notReady > 2 && ready > 0 && float64(notReady)/float64(total) >= unhealthy {
		if total > largeCluster {
			return secondaryRate
		}
		return 0
	}
	return rate
}

// due returns the nodes that are to get their NoExecute taint now.
func (l *lifecycle) due(now time.Time) (names []string) {
	l.mu.Lock()
	defer l.mu.Unlock()
	type census struct{ ready, notReady int }
	zones := map[string]*census{}
	anyReady := false
	for _, h := range l.nodes {
		c := zones[h.zone]
		if c == nil {
			c = new(census)
			zones[h.zone] = c
		}
		if h.ready == corev1.ConditionTrue {
			c.ready++
			anyReady = true
		} else {
			c.notReady++
		}
	}
	for name := range l.zones {
		if zones[name] == nil {
			delete(l.zones, name)
		}
	}
	if !anyReady {
		// Not one node is heard of: it is this side that is cut off, and nobody's pods are at fault.
		return nil
	}
	for _, name := range slices.Sorted(maps.Keys(l.nodes)) {
		h := l.nodes[name]
		if h.ready == corev1.ConditionTrue || h.tainted {
			continue
		}
		z := l.zones[h.zone]
		if z == nil {
			z = new(zone)
			l.zones[h.zone] = z
		}
		c := zones[h.zone]
		if z.take(evictionRate(c.ready, c.notReady), now) {
			names = append(names, name)
		}
	}
	return names
}
