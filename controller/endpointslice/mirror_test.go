package endpointslice

import (
	"fmt"
	"maps"
	"strings"
	"testing"

	corev1 "k8s.io/api/core/v1"
	discoveryv1 "k8s.io/api/discovery/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
)

// subsetOf is a subset with ports and the addresses of words, not ready those that begin with "!". "IP@UID" is an
// address of a pod.
func subsetOf(words string, ports ...int32) (s corev1.EndpointSubset) {
	for _, w := range strings.Fields(words) {
		w, notReady := strings.CutPrefix(w, "!")
		ip, uid, referred := strings.Cut(w, "@")
		a := corev1.EndpointAddress{IP: ip}
		if referred {
			a.TargetRef = &corev1.ObjectReference{Kind: "Pod", Name: uid, UID: types.UID(uid)}
		}
		if notReady {
			s.NotReadyAddresses = append(s.NotReadyAddresses, a)
		} else {
			s.Addresses = append(s.Addresses, a)
		}
	}
	for _, n := range ports {
		s.Ports = append(s.Ports, corev1.EndpointPort{Name: fmt.Sprint("p", n, "-"), Port: n, Protocol: corev1.ProtocolTCP})
	}
	return s
}

func TestMirroredGroups(t *testing.T) {
	var many []string
	for i := range 1200 {
		many = append(many, fmt.Sprintf("10.0.%d.%d", i/256, i%256))
	}
	for _, c := range []struct {
		name    string
		subsets []corev1.EndpointSubset
		want    string
		skipped int
	}{
		{"none", nil, "", 0},
		{"ready and not", []corev1.EndpointSubset{subsetOf("10.0.0.1 !10.0.0.2", 80)}, "IPv4 :p80-80 10.0.0.1 !10.0.0.2", 0},
		{"without ports", []corev1.EndpointSubset{subsetOf("10.0.0.1")}, "IPv4 10.0.0.1", 0},
		{"both families", []corev1.EndpointSubset{subsetOf("fd00::0:1 10.0.0.1", 80)}, "IPv4 :p80-80 10.0.0.1; IPv6 :p80-80 fd00::1", 0},
		{"two subsets", []corev1.EndpointSubset{subsetOf("10.0.0.1", 80), subsetOf("10.0.0.2", 81)}, "IPv4 :p80-80 10.0.0.1; IPv4 :p81-81 10.0.0.2", 0},
		{"one port in two subsets", []corev1.EndpointSubset{subsetOf("10.0.0.1", 80), subsetOf("10.0.0.2", 80)}, "IPv4 :p80-80 10.0.0.1 10.0.0.2", 0},
		{"one address in two subsets", []corev1.EndpointSubset{subsetOf("10.0.0.1 10.0.0.2", 80), subsetOf("10.0.0.1", 81)}, "IPv4 :p80-80 10.0.0.1 10.0.0.2; IPv4 :p81-81 10.0.0.1", 0},
		{"ready and not at once", []corev1.EndpointSubset{subsetOf("10.0.0.1", 80), subsetOf("!10.0.0.1", 80)}, "IPv4 :p80-80 !10.0.0.1", 0},
		{"not ready and ready at once", []corev1.EndpointSubset{subsetOf("!10.0.0.1", 80), subsetOf("10.0.0.1", 80)}, "IPv4 :p80-80 !10.0.0.1", 0},
		{"one address of two pods", []corev1.EndpointSubset{subsetOf("10.0.0.1@b 10.0.0.1@a", 80)}, "IPv4 :p80-80 10.0.0.1 10.0.0.1", 0},
		{"too many, those that are ready first", []corev1.EndpointSubset{subsetOf("!9.0.0.1 "+strings.Join(many, " "), 80)}, "", 201},
	} {
		t.Run(c.name, func(t *testing.T) {
			groups, skipped := mirroredGroups(&corev1.Endpoints{Subsets: c.subsets})
			if skipped != c.skipped {
				t.Errorf("skipped %d, want %d", skipped, c.skipped)
			}
			if skipped > 0 {
				if n := len(groups[0].endpoints); n != 1000 || !*groups[0].endpoints[n-1].Conditions.Ready {
					t.Errorf("%d endpoints, the last %+v", n, groups[0].endpoints[n-1])
				}
				return
			}
			// Only ready is known of what is mirrored.
			for i := range groups {
				for j := range groups[i].endpoints {
					e := &groups[i].endpoints[j]
					if e.Conditions.Serving != nil || e.Conditions.Terminating != nil {
						t.Errorf("conditions %+v", e.Conditions)
					}
					no := false
					e.Conditions.Serving, e.Conditions.Terminating = e.Conditions.Ready, &no
				}
			}
			if got := describeGroups(groups); got != c.want {
				t.Errorf("got %q, want %q", got, c.want)
			}
		})
	}
	groups, _ := mirroredGroups(&corev1.Endpoints{Subsets: []corev1.EndpointSubset{subsetOf("10.0.0.1", 80, 81)}})
	if len(groups) != 1 || len(groups[0].ports) != 2 {
		t.Errorf("ports of the same addresses are not in one group: %s", describeGroups(groups))
	}
}

func TestMirrorSource(t *testing.T) {
	e := &corev1.Endpoints{ObjectMeta: metav1.ObjectMeta{
		Namespace: "ns", Name: "s", Labels: map[string]string{"l": "v", discoveryv1.LabelManagedBy: "me"},
		Annotations: map[string]string{"a": "b", corev1.EndpointsLastChangeTriggerTime: "t", corev1.LastAppliedConfigAnnotation: "{}"},
	}}
	s := mirrorSource(e, metav1.OwnerReference{})
	if want := map[string]string{"l": "v", discoveryv1.LabelManagedBy: mirroredBy, discoveryv1.LabelServiceName: "s"}; !maps.Equal(s.labels, want) {
		t.Errorf("labels %v, want %v", s.labels, want)
	}
	if want := map[string]string{"a": "b"}; !maps.Equal(s.annotations, want) {
		t.Errorf("annotations %v, want %v", s.annotations, want)
	}
}
