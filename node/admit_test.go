package node

import (
	"slices"
	"testing"
	"testing/synctest"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/resource"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"

	"pintle.dev/api"
	"pintle.dev/client"
	"pintle.dev/node/nodetest"
)

func TestForbiddenSysctls(t *testing.T) {
	for _, tt := range []struct {
		sysctl string
		spec   corev1.PodSpec
		want   string
	}{
		{"net.ipv4.ip_local_port_range", corev1.PodSpec{}, ""},
		{"net/ipv4/tcp_syncookies", corev1.PodSpec{HostIPC: true}, ""},
		{"kernel.msgmax", corev1.PodSpec{}, `forbidden sysctl: "kernel.msgmax" not allowlisted`},
		{"net.ipv4.tcp_syncookies", corev1.PodSpec{HostNetwork: true}, `forbidden sysctl: "net.ipv4.tcp_syncookies" not allowed with host net enabled`},
		{"kernel.shm_rmid_forced", corev1.PodSpec{HostIPC: true}, `forbidden sysctl: "kernel.shm_rmid_forced" not allowed with host ipc enabled`},
	} {
		tt.spec.SecurityContext = &corev1.PodSecurityContext{Sysctls: []corev1.Sysctl{{Name: tt.sysctl, Value: "1"}}}
		got := ""
		if f := refuse(&corev1.Pod{Spec: tt.spec}, usage{}, &corev1.Node{}, &usage{}); f != nil {
			got = f.Message
			if f.Reason != "SysctlForbidden" {
				t.Errorf("%s: reason %s", tt.sysctl, f.Reason)
			}
		}
		if got != tt.want {
			t.Errorf("%s: %q, want %q", tt.sysctl, got, tt.want)
		}
	}
}

func TestOtherOS(t *testing.T) {
	n := &corev1.Node{ObjectMeta: metav1.ObjectMeta{Labels: map[string]string{corev1.LabelOSStable: "linux"}}}
	labelled := &corev1.Pod{ObjectMeta: metav1.ObjectMeta{Labels: map[string]string{corev1.LabelOSStable: "windows"}}}
	if f := refuse(labelled, usage{}, n, &usage{}); f == nil || f.Reason != "PodOSSelectorNodeLabelDoesNotMatch" {
		t.Errorf("a pod labelled for another system meets %v", f)
	}
	for os, want := range map[corev1.OSName]string{corev1.Linux: "", corev1.Windows: "PodOSNotSupported"} {
		got := ""
		if f := refuse(&corev1.Pod{Spec: corev1.PodSpec{OS: &corev1.PodOS{Name: os}}}, usage{}, n, &usage{}); f != nil {
			got = f.Reason
		}
		if got != want {
			t.Errorf("%s: %q, want %q", os, got, want)
		}
	}
}

// TestPredicates asks of a node, with one pod on it, what it says to others.
func TestPredicates(t *testing.T) {
	list := func(kv ...string) corev1.ResourceList {
		l := corev1.ResourceList{}
		for i := 0; i < len(kv); i += 2 {
			l[corev1.ResourceName(kv[i])] = resource.MustParse(kv[i+1])
		}
		return l
	}
	n := &corev1.Node{ObjectMeta: metav1.ObjectMeta{Name: "n", Labels: map[string]string{"disk": "ssd"}}}
	n.Spec.Taints = []corev1.Taint{{Key: "k", Value: "v", Effect: corev1.TaintEffectNoExecute}, {Key: "s", Effect: corev1.TaintEffectNoSchedule}}
	n.Status.Allocatable = list("cpu", "2", "memory", "1Gi", "pods", "2", "example.com/gpu", "1")
	asking := func(requests corev1.ResourceList, ports ...corev1.ContainerPort) corev1.PodSpec {
		return corev1.PodSpec{Tolerations: []corev1.Toleration{{Key: "k", Operator: corev1.TolerationOpExists}},
			Containers: []corev1.Container{{Name: "c", Ports: ports, Resources: corev1.ResourceRequirements{Requests: requests}}}}
	}
	with := func(s corev1.PodSpec, edit func(*corev1.PodSpec)) corev1.PodSpec { edit(&s); return s }
	port := func(ip string, protocol corev1.Protocol, n int32) corev1.ContainerPort {
		return corev1.ContainerPort{HostIP: ip, Protocol: protocol, HostPort: n, ContainerPort: 80}
	}
	const taken = "NodePorts: Predicate NodePorts failed: node(s) didn't have free ports for the requested pod ports"
	for _, tt := range []struct {
		name string
		spec corev1.PodSpec
		want string
	}{
		{"nothing", asking(nil), ""},
		{"cpu", asking(list("cpu", "1501m")), "OutOfcpu: Node didn't have enough resource: cpu, requested: 1501, used: 500, capacity: 2000"},
		{"what is left of the cpu", asking(list("cpu", "1500m")), ""},
		{"memory", asking(list("memory", "2Gi")), "OutOfmemory: Node didn't have enough resource: memory, requested: 2147483648, used: 0, capacity: 1073741824"},
		{"a device", asking(list("example.com/gpu", "2")), "OutOfexample.com/gpu: Node didn't have enough resource: example.com/gpu, requested: 2, used: 0, capacity: 1"},
		{"a device the node does not know", asking(list("example.com/other", "2")), ""},
		{"huge pages", asking(list("hugepages-2Mi", "4Mi")), "OutOfhugepages-2Mi: Node didn't have enough resource: hugepages-2Mi, requested: 4194304, used: 0, capacity: 0"},
		{"another port", asking(nil, port("", "", 81)), ""},
		{"the same port", asking(nil, port("", "TCP", 80)), taken},
		{"the same port of one address", asking(nil, port("127.0.0.1", "TCP", 80)), taken},
		{"the same port of UDP", asking(nil, port("", "UDP", 80)), ""},
		{"a port of another address", asking(nil, port("192.0.2.2", "TCP", 90)), ""},
		{"a port of that address", asking(nil, port("192.0.2.1", "TCP", 90)), taken},
		{"a port of all addresses", asking(nil, port("0.0.0.0", "TCP", 90)), taken},
		{"resources before ports", asking(list("cpu", "4"), port("", "TCP", 80)), "OutOfcpu: Node didn't have enough resource: cpu, requested: 4000, used: 500, capacity: 2000"},
		{"a selector before ports", with(asking(nil, port("", "TCP", 80)), func(s *corev1.PodSpec) { s.NodeSelector = map[string]string{"disk": "tape"} }),
			"NodeAffinity: Predicate NodeAffinity failed: node(s) didn't match Pod's node affinity/selector"},
		{"no toleration", with(asking(nil), func(s *corev1.PodSpec) { s.Tolerations = nil }),
			"TaintToleration: Predicate TaintToleration failed: node(s) had taints that the pod didn't tolerate"},
	} {
		var used usage
		used.add(asks(&corev1.Pod{Spec: asking(list("cpu", "500m"), port("0.0.0.0", "", 80), port("192.0.2.1", "TCP", 90))}), 1)
		pod := &corev1.Pod{Spec: tt.spec}
		got := ""
		if f := refuse(pod, asks(pod), n, &used); f != nil {
			got = f.Reason + ": " + f.Message
		}
		if got != tt.want {
			t.Errorf("%s: %q, want %q", tt.name, got, tt.want)
		}
	}
}

func TestPressure(t *testing.T) {
	under := func(types ...corev1.NodeConditionType) *corev1.Node {
		n := &corev1.Node{Status: corev1.NodeStatus{Conditions: []corev1.NodeCondition{{Type: corev1.NodeReady, Status: corev1.ConditionTrue}}}}
		for _, c := range types {
			n.Status.Conditions = append(n.Status.Conditions, corev1.NodeCondition{Type: c, Status: corev1.ConditionTrue})
		}
		return n
	}
	priority := int32(2_000_000_000)
	plain, important := corev1.PodSpec{}, corev1.PodSpec{Priority: &priority}
	asking := corev1.PodSpec{Containers: []corev1.Container{{Resources: corev1.ResourceRequirements{
		Requests: corev1.ResourceList{corev1.ResourceMemory: resource.MustParse("1Mi")}}}}}
	tolerant := corev1.PodSpec{Tolerations: []corev1.Toleration{{Key: corev1.TaintNodeMemoryPressure, Operator: corev1.TolerationOpExists}}}
	for _, tt := range []struct {
		name string
		spec corev1.PodSpec
		node *corev1.Node
		want string
	}{
		{"none", plain, under(), ""},
		{"memory", plain, under(corev1.NodeMemoryPressure), "The node had condition: [MemoryPressure]. "},
		{"memory, of a pod that asks for it", asking, under(corev1.NodeMemoryPressure), ""},
		{"memory, tolerated", tolerant, under(corev1.NodeMemoryPressure), ""},
		{"disk", asking, under(corev1.NodeDiskPressure), "The node had condition: [DiskPressure]. "},
		{"both", tolerant, under(corev1.NodeMemoryPressure, corev1.NodeDiskPressure), "The node had condition: [MemoryPressure DiskPressure]. "},
		{"disk, of a critical pod", important, under(corev1.NodeDiskPressure), ""},
	} {
		got := ""
		if f := refuse(&corev1.Pod{Spec: tt.spec}, usage{}, tt.node, &usage{}); f != nil {
			got = f.Message
			if f.Reason != "Evicted" {
				t.Errorf("%s: reason %s", tt.name, f.Reason)
			}
		}
		if got != tt.want {
			t.Errorf("%s: %q, want %q", tt.name, got, tt.want)
		}
	}
}

func TestAppArmor(t *testing.T) {
	profile := func(kind corev1.AppArmorProfileType) *corev1.AppArmorProfile {
		return &corev1.AppArmorProfile{Type: kind}
	}
	container := func(p *corev1.AppArmorProfile) []corev1.Container {
		return []corev1.Container{{Name: "a"}, {Name: "b", SecurityContext: &corev1.SecurityContext{AppArmorProfile: p}}}
	}
	for _, tt := range []struct {
		name string
		spec corev1.PodSpec
		want bool // refused where the host has none
	}{
		{"none", corev1.PodSpec{Containers: container(nil)}, false},
		{"unconfined", corev1.PodSpec{SecurityContext: &corev1.PodSecurityContext{AppArmorProfile: profile(corev1.AppArmorProfileTypeUnconfined)}}, false},
		{"of the pod", corev1.PodSpec{SecurityContext: &corev1.PodSecurityContext{AppArmorProfile: profile(corev1.AppArmorProfileTypeRuntimeDefault)}}, true},
		{"of a container", corev1.PodSpec{Containers: container(profile(corev1.AppArmorProfileTypeLocalhost))}, true},
		{"of an init container", corev1.PodSpec{InitContainers: container(profile(corev1.AppArmorProfileTypeRuntimeDefault))}, true},
	} {
		for _, without := range []bool{false, true} {
			a := &Agent{cfg: Config{NoAppArmor: without}, node: &corev1.Node{}}
			f := a.newEntry(PodState{}).take(&corev1.Pod{Spec: tt.spec})
			if refused := f != nil && f.Reason == "AppArmor"; refused != (tt.want && without) || f != nil && !refused {
				t.Errorf("%s, the host without AppArmor %t: %v", tt.name, without, f)
			}
		}
	}
}

// An ended pod's port and place are free again.
func TestReleasedPort(t *testing.T) {
	a, err := New(Config{Name: "n", Client: nodetest.New(), Runtime: Runtime{Sandboxes: idle{}, Containers: struct{ Containers }{}, Images: struct{ Images }{}}})
	if err != nil {
		t.Fatal(err)
	}
	a.node = &corev1.Node{Status: corev1.NodeStatus{Allocatable: corev1.ResourceList{corev1.ResourcePods: resource.MustParse("1")}}}
	pod := &corev1.Pod{Spec: corev1.PodSpec{Containers: []corev1.Container{{Ports: []corev1.ContainerPort{{HostPort: 80}}}}}}
	first, second := a.newEntry(PodState{}), a.newEntry(PodState{})
	if f := first.take(pod); f != nil {
		t.Fatalf("the first pod is refused: %s", f.Message)
	}
	if f := second.take(pod); f == nil || f.Reason != "OutOfpods" {
		t.Errorf("the second pod meets %v, want OutOfpods", f)
	}
	a.release(first)
	a.release(first)
	if f := second.take(pod); f != nil {
		t.Errorf("after the first has ended the second is refused: %s", f.Message)
	}
}

// A read of the node that ends after one that has seen more does not undo it.
func TestKnowsTheNewestNode(t *testing.T) {
	a := &Agent{}
	n := func(uid, version string) *corev1.Node {
		return &corev1.Node{ObjectMeta: metav1.ObjectMeta{UID: types.UID(uid), ResourceVersion: version}}
	}
	for _, tt := range []struct{ read, want *corev1.Node }{
		{n("a", "9"), n("a", "9")}, {n("a", "10"), n("a", "10")}, {n("a", "9"), n("a", "10")}, {n("b", "3"), n("b", "3")},
	} {
		a.know(tt.read)
		if a.node.UID != tt.want.UID || a.node.ResourceVersion != tt.want.ResourceVersion {
			t.Errorf("after reading %s of %s the node is known as %s of %s", tt.read.ResourceVersion, tt.read.UID, a.node.ResourceVersion, a.node.UID)
		}
	}
}

// TestAdmitByFreshNode binds a pod by a label, given to the node a moment ago, and cordons the node: the agent's own copy of
// the node is older.
func TestAdmitByFreshNode(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := nodetest.New()
		a, err := New(Config{Name: "n", Client: c, Runtime: Runtime{Sandboxes: idle{}, Containers: struct{ Containers }{}, Images: struct{ Images }{}}})
		if err != nil {
			t.Fatal(err)
		}
		if err := a.Begin(t.Context()); err != nil {
			t.Fatal(err)
		}
		n, err := client.Nodes.Get(t.Context(), c, api.Key{Name: "n"})
		if err != nil {
			t.Fatal(err)
		}
		n = n.DeepCopy()
		n.Labels["disk"], n.Spec.Unschedulable = "ssd", true
		if _, err := client.Nodes.Update(t.Context(), c, n); err != nil {
			t.Fatal(err)
		}
		for disk, reason := range map[string]string{"ssd": "", "tape": "NodeAffinity"} {
			pod := &corev1.Pod{ObjectMeta: metav1.ObjectMeta{Name: disk, Namespace: "ns"}, Spec: corev1.PodSpec{NodeSelector: map[string]string{"disk": disk}}}
			e := a.newEntry(PodState{})
			if err := e.admit(t.Context(), pod); err != nil {
				t.Fatal(err)
			}
			got := ""
			if f := e.state.Rejected; f != nil {
				got = f.Reason
			}
			if got != reason {
				t.Errorf("a pod for disk=%s: rejected for %q, want %q", disk, got, reason)
			}
		}
		a.Wait()
		evs, err := client.Events.List(t.Context(), c, client.Options{})
		if err != nil {
			t.Fatal(err)
		}
		if !slices.ContainsFunc(evs, func(e *corev1.Event) bool { return e.Message == "Node n status is now: NodeNotSchedulable" }) {
			t.Errorf("no event says that the node was cordoned: %+v", evs)
		}
	})
}
