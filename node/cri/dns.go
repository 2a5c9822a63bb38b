package cri

import (
	"net/netip"
	"os"
	"slices"
	"strings"

	corev1 "k8s.io/api/core/v1"
	runtimeapi "k8s.io/cri-api/pkg/apis/runtime/v1"
)

// resolvers are where a host says how names are resolved: first for its own programs, then, where systemd-resolved stands in
// for the name servers, which those.
var resolvers = []string{"/etc/resolv.conf", "/run/systemd/resolve/resolv.conf"}

// dns is the pod's resolver configuration; nil leaves it with the host's.
func (r *Runtime) dns(pod *corev1.Pod) *runtimeapi.DNSConfig {
	d := &runtimeapi.DNSConfig{}
	switch p := pod.Spec.DNSPolicy; {
	case p == corev1.DNSNone:
	case len(r.cfg.DNS) > 0 && (p == corev1.DNSClusterFirstWithHostNet || p == corev1.DNSClusterFirst && !pod.Spec.HostNetwork):
		d.Servers = r.cfg.DNS
		d.Searches = []string{pod.Namespace + ".svc.cluster.local", "svc.cluster.local", "cluster.local"}
		d.Options = []string{"ndots:5"}
	default:
		host, own := hostDNS(resolvers)
		if own && pod.Spec.DNSConfig == nil {
			return nil
		}
		d = host
	}
	if c := pod.Spec.DNSConfig; c != nil {
		d.Servers = merge(d.Servers, c.Nameservers)
		d.Searches = merge(d.Searches, c.Searches)
		d.Options = override(d.Options, c.Options)
	}
	return d
}

// merge is a and what else b has, each once and in this order.
func merge(a, b []string) []string {
	var out []string
	for _, s := range slices.Concat(a, b) {
		if !slices.Contains(out, s) {
			out = append(out, s)
		}
	}
	return out
}

// override is the options of a resolver with those of a pod in the place of the ones of the same name.
func override(options []string, own []corev1.PodDNSConfigOption) []string {
	out := slices.Clone(options)
	for _, o := range own {
		s := o.Name
		if o.Value != nil {
			s += ":" + *o.Value
		}
		same := func(has string) bool { name, _, _ := strings.Cut(has, ":"); return name == o.Name }
		if i := slices.IndexFunc(out, same); i >= 0 {
			out[i] = s
		} else {
			out = append(out, s)
		}
	}
	return out
}

// hostDNS is the configuration of the first of the files that names a server other than one on the host's loopback, which
// a pod with a network of its own would not reach; that of the first file where none does. It is empty where there is no
// file. own says that it is the first file's.
func hostDNS(files []string) (d *runtimeapi.DNSConfig, own bool) {
	for i, file := range files {
		if d := readDNS(file); slices.ContainsFunc(d.Servers, reachable) {
			return d, i == 0
		}
	}
	return readDNS(files[0]), true
}

func reachable(server string) bool {
	a, err := netip.ParseAddr(server)
	return err == nil && !a.IsLoopback()
}

// readDNS reads a resolv.conf; what cannot be read is empty.
func readDNS(file string) *runtimeapi.DNSConfig {
	d := &runtimeapi.DNSConfig{}
	b, err := os.ReadFile(file)
	if err != nil {
		return d
	}
	for line := range strings.Lines(string(b)) {
		f := strings.Fields(line)
		if len(f) < 2 {
			continue
		}
		switch f[0] {
		case "nameserver":
			d.Servers = append(d.Servers, f[1])
		case "search":
			d.Searches = f[1:]
		case "options":
			d.Options = f[1:]
		}
	}
	return d
}
