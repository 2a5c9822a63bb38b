package scheduler_test

import (
	"errors"
	"testing"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/resource"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"pintle.dev/scheduler"
	"pintle.dev/scheduler/plugin"
)

func node(name string, change func(*corev1.Node)) *scheduler.Node {
	n := &corev1.Node{ObjectMeta: metav1.ObjectMeta{Name: name, Labels: map[string]string{"kubernetes.io/hostname": name}}}
	n.Status.Allocatable = corev1.ResourceList{
		corev1.ResourceCPU: resource.MustParse("4"), corev1.ResourceMemory: resource.MustParse("8Gi"), corev1.ResourcePods: resource.MustParse("110"),
	}
	if change != nil {
		change(n)
	}
	return scheduler.NewNode(n)
}

func pod(change func(*corev1.PodSpec)) *scheduler.Pod {
	p := &corev1.Pod{Spec: corev1.PodSpec{Containers: []corev1.Container{{Name: "c"}}}}
	if change != nil {
		change(&p.Spec)
	}
	q, err := scheduler.NewPod(p)
	if err != nil {
		panic(err)
	}
	return q
}

func asks(cpu string) func(*corev1.PodSpec) {
	return func(s *corev1.PodSpec) {
		s.Containers[0].Resources.Requests = corev1.ResourceList{corev1.ResourceCPU: resource.MustParse(cpu)}
	}
}

func taint(key string, effect corev1.TaintEffect) func(*corev1.Node) {
	return func(n *corev1.Node) { n.Spec.Taints = append(n.Spec.Taints, corev1.Taint{Key: key, Effect: effect}) }
}

func TestDecide(t *testing.T) {
	busy := func(name, cpu string) *scheduler.Node {
		n := node(name, nil)
		n.Place(pod(asks(cpu)))
		return n
	}
	port := func(s *corev1.PodSpec) {
		s.Containers[0].Ports = []corev1.ContainerPort{{HostPort: 80, ContainerPort: 80}}
	}
	taken := node("taken", nil)
	taken.Place(pod(port))
	for _, c := range []struct {
		name  string
		nodes []*scheduler.Node
		pod   *scheduler.Pod
		want  string // the node, or the message
	}{
		{"the emptier node", []*scheduler.Node{busy("a", "3"), busy("b", "1")}, pod(asks("500m")), "b"},
		{"too little processor", []*scheduler.Node{busy("a", "3"), busy("b", "4")}, pod(asks("2")), "0/2 nodes are available: 2 Insufficient cpu."},
		{"the node it names", []*scheduler.Node{node("a", nil), node("b", nil)}, pod(func(s *corev1.PodSpec) { s.NodeName = "b" }), "b"},
		{"a selector nothing matches", []*scheduler.Node{node("a", nil)}, pod(func(s *corev1.PodSpec) { s.NodeSelector = map[string]string{"disk": "ssd"} }),
			"0/1 nodes are available: 1 node(s) didn't match Pod's node affinity/selector."},
		{"each node for its first reason", []*scheduler.Node{
			node("a", taint("dedicated", corev1.TaintEffectNoSchedule)),
			node("b", func(n *corev1.Node) { n.Spec.Unschedulable = true }),
			busy("c", "4"), busy("d", "4"),
		}, pod(asks("1")), "0/4 nodes are available: 1 node(s) had untolerated taint {dedicated: }, 1 node(s) were unschedulable, 2 Insufficient cpu."},
		{"a tolerated taint", []*scheduler.Node{node("a", taint("x", corev1.TaintEffectNoExecute))},
			pod(func(s *corev1.PodSpec) { s.Tolerations = []corev1.Toleration{{Operator: corev1.TolerationOpExists}} }), "a"},
		{"a taint to be avoided", []*scheduler.Node{node("a", taint("x", corev1.TaintEffectPreferNoSchedule)), busy("b", "1")}, pod(nil), "b"},
		{"a host port that is taken", []*scheduler.Node{taken}, pod(port), "0/1 nodes are available: 1 node(s) didn't have free ports for the requested pod ports."},
		{"no room for one more", []*scheduler.Node{node("a", func(n *corev1.Node) {
			n.Status.Allocatable[corev1.ResourcePods] = resource.MustParse("0")
			n.Status.Allocatable[corev1.ResourceCPU] = resource.MustParse("0")
		})}, pod(asks("1")), "0/1 nodes are available: 1 Insufficient cpu, 1 Too many pods."},
		{"a preferred node", []*scheduler.Node{node("a", nil), node("b", nil), node("c", nil)}, pod(func(s *corev1.PodSpec) {
			s.Affinity = &corev1.Affinity{NodeAffinity: &corev1.NodeAffinity{PreferredDuringSchedulingIgnoredDuringExecution: []corev1.PreferredSchedulingTerm{{
				Weight: 10, Preference: corev1.NodeSelectorTerm{MatchExpressions: []corev1.NodeSelectorRequirement{{Key: "kubernetes.io/hostname", Operator: corev1.NodeSelectorOpIn, Values: []string{"c"}}}},
			}}}}
		}), "c"},
	} {
		t.Run(c.name, func(t *testing.T) {
			s := &scheduler.Snapshot{Nodes: c.nodes, Draw: func(int) int { return 1 }}
			d, err := scheduler.Decide(s, c.pod, plugin.All())
			if err != nil {
				t.Fatal(err)
			}
			got := d.Node
			if got == "" {
				got = d.Message()
			}
			if got != c.want {
				t.Errorf("got %q, want %q", got, c.want)
			}
		})
	}
	if _, err := scheduler.Decide(&scheduler.Snapshot{}, pod(nil), plugin.All()); !errors.Is(err, scheduler.ErrNoNodes) {
		t.Errorf("without nodes: %v", err)
	}
}

func BenchmarkDecide(b *testing.B) {
	s := &scheduler.Snapshot{Draw: func(int) int { return 1 }}
	for range 100 {
		s.Nodes = append(s.Nodes, node("n", nil))
	}
	p, ps := pod(asks("10m")), plugin.All()
	b.ReportAllocs()
	for b.Loop() {
		if _, err := scheduler.Decide(s, p, ps); err != nil {
			b.Fatal(err)
		}
	}
}
