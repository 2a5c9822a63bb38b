package podtemplate

import (
	"fmt"
	"maps"
	"slices"
	"strings"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/util/validation/field"

	"pintle.dev/resource/builtin/rules"
)

// warner collects the texts of Warning headers.
type warner struct {
	texts []string
	root  *field.Path // of the metadata and spec; nil for a Pod itself
}

func (w *warner) add(p *field.Path, format string, args ...any) {
	w.texts = append(w.texts, p.String()+": "+fmt.Sprintf(format, args...))
}

// spec is the path of a field of the spec.
func (w *warner) spec(names ...string) *field.Path { return w.child("spec", names...) }

func (w *warner) child(name string, more ...string) *field.Path {
	if w.root == nil {
		return field.NewPath(name, more...)
	}
	return w.root.Child(name, more...)
}

// WarnTemplate comments on the pod template at p.
func WarnTemplate(p *field.Path, t *corev1.PodTemplateSpec) []string {
	w := &warner{root: p}
	w.all(&t.ObjectMeta, &t.Spec)
	return w.texts
}

// WarnPod comments on a Pod.
func WarnPod(p *corev1.Pod) []string {
	w := &warner{}
	w.all(&p.ObjectMeta, &p.Spec)
	return w.texts
}

const apparmorDeprecated = `: deprecated since v1.30; use the "appArmorProfile" field instead`

func (w *warner) all(m *metav1.ObjectMeta, s *corev1.PodSpec) {
	w.nodeLabels(s)
	w.annotations(m)
	w.volumes(s)
	w.overlaps(s)
	w.tokenPaths(s)
	w.references(s)
	if len(s.Overhead) > 0 {
		w.fractions(w.spec("overhead"), s.Overhead)
	}
	if s.SecurityContext == nil || s.SecurityContext.SeccompProfile == nil {
		w.oldSeccomp(m, seccompPod)
	}
	eachPlace(s, func(at place, c *corev1.Container) { w.container(at, c, m, s) })
	w.ports(s)
	if n := s.TerminationGracePeriodSeconds; n != nil && *n < 0 {
		w.add(w.spec("terminationGracePeriodSeconds"), "must be >= 0; negative values are invalid and will be treated as 1")
	}
	w.podAffinity(s.Affinity)
}

// oldNodeLabels are node labels that have newer names, and what to say of them.
var oldNodeLabels = map[string]string{
	"beta.kubernetes.io/arch":                  `deprecated since v1.14; use "kubernetes.io/arch" instead`,
	"beta.kubernetes.io/os":                    `deprecated since v1.14; use "kubernetes.io/os" instead`,
	"failure-domain.beta.kubernetes.io/region": `deprecated since v1.17; use "topology.kubernetes.io/region" instead`,
	"failure-domain.beta.kubernetes.io/zone":   `deprecated since v1.17; use "topology.kubernetes.io/zone" instead`,
	"beta.kubernetes.io/instance-type":         `deprecated since v1.17; use "node.kubernetes.io/instance-type" instead`,
}

const nullSelector = "a null labelSelector results in matching no pod"

func (w *warner) nodeLabels(s *corev1.PodSpec) {
	if len(s.NodeSelector) > 0 {
		for _, k := range slices.Sorted(maps.Keys(s.NodeSelector)) {
			if text, ok := oldNodeLabels[k]; ok {
				w.add(w.spec("nodeSelector").Key(k), "%s", text)
			}
		}
	}
	if s.Affinity != nil && s.Affinity.NodeAffinity != nil {
		n := s.Affinity.NodeAffinity
		if r := n.RequiredDuringSchedulingIgnoredDuringExecution; r != nil {
			for i := range r.NodeSelectorTerms {
				w.nodeTerm(w.spec("affinity", "nodeAffinity", requiredField, "nodeSelectorTerms").Index(i), &r.NodeSelectorTerms[i])
			}
		}
		for i := range n.PreferredDuringSchedulingIgnoredDuringExecution {
			w.nodeTerm(w.spec("affinity", "nodeAffinity", preferredField).Index(i).Child("preference"), &n.PreferredDuringSchedulingIgnoredDuringExecution[i].Preference)
		}
	}
	for i := range s.TopologySpreadConstraints {
		c, p := &s.TopologySpreadConstraints[i], w.spec("topologySpreadConstraints").Index(i)
		if text, ok := oldNodeLabels[c.TopologyKey]; ok {
			w.add(p.Child("topologyKey"), "%s is %s", c.TopologyKey, text)
		}
		if c.LabelSelector == nil {
			w.add(p.Child("labelSelector"), nullSelector)
		}
	}
}

// nodeTerm warns of old labels.
func (w *warner) nodeTerm(p *field.Path, t *corev1.NodeSelectorTerm) {
	for i := range t.MatchExpressions {
		r, rp := &t.MatchExpressions[i], p.Child("matchExpressions").Index(i)
		if text, ok := oldNodeLabels[r.Key]; ok {
			w.add(rp.Child("key"), "%s is %s", r.Key, text)
		}
	}
}

// deadAnnotations have no effect any more.
var deadAnnotations = []struct{ key, text string }{
	{"scheduler.alpha.kubernetes.io/critical-pod", `non-functional in v1.16+; use the "priorityClassName" field instead`},
	{"security.alpha.kubernetes.io/sysctls", `non-functional in v1.11+; use the "sysctls" field instead`},
	{"security.alpha.kubernetes.io/unsafe-sysctls", `non-functional in v1.11+; use the "sysctls" field instead`},
}

func (w *warner) annotations(m *metav1.ObjectMeta) {
	if len(m.Annotations) == 0 {
		return
	}
	for _, a := range deadAnnotations {
		if _, ok := m.Annotations[a.key]; ok {
			w.add(w.child("metadata", "annotations").Key(a.key), "%s", a.text)
		}
	}
}

func (w *warner) oldSeccomp(m *metav1.ObjectMeta, key string) {
	if _, ok := m.Annotations[key]; ok {
		w.add(w.child("metadata", "annotations").Key(key), `non-functional in v1.27+; use the "seccompProfile" field instead`)
	}
}

func (w *warner) volumes(s *corev1.PodSpec) {
	for i := range s.Volumes {
		v := &s.Volumes[i]
		if v.Projected != nil {
			for j := range v.Projected.Sources {
				if v.Projected.Sources[j] == (corev1.VolumeProjection{}) {
					w.texts = append(w.texts, fmt.Sprintf("volume %q (Projected) has no sources provided", v.Name))
				}
			}
		}
		if v.ConfigMap != nil || v.Secret != nil || v.Projected != nil || v.EmptyDir != nil || v.PersistentVolumeClaim != nil {
			continue
		}
		p := w.spec("volumes").Index(i)
		for _, f := range [...]struct {
			name string
			set  bool
			text string
		}{
			{"photonPersistentDisk", v.PhotonPersistentDisk != nil, "deprecated in v1.11, non-functional in v1.16+"},
			{"gitRepo", v.GitRepo != nil, "deprecated in v1.11"},
			{"scaleIO", v.ScaleIO != nil, "deprecated in v1.16, non-functional in v1.22+"},
			{"flocker", v.Flocker != nil, "deprecated in v1.22, non-functional in v1.25+"},
			{"storageOS", v.StorageOS != nil, "deprecated in v1.22, non-functional in v1.25+"},
			{"quobyte", v.Quobyte != nil, "deprecated in v1.22, non-functional in v1.25+"},
			{"glusterfs", v.Glusterfs != nil, "deprecated in v1.25, non-functional in v1.26+"},
			{"cephfs", v.CephFS != nil, "deprecated in v1.28, non-functional in v1.31+"},
			{"rbd", v.RBD != nil, "deprecated in v1.28, non-functional in v1.31+"},
		} {
			if f.set {
				w.add(p.Child(f.name), "%s", f.text)
			}
		}
		if e := v.Ephemeral; e != nil && e.VolumeClaimTemplate != nil {
			r := e.VolumeClaimTemplate.Spec.Resources
			rp := p.Child("ephemeral", "volumeClaimTemplate", "spec", "resources")
			w.fraction(rp.Child("requests"), r.Requests, corev1.ResourceStorage)
			w.fraction(rp.Child("limits"), r.Limits, corev1.ResourceStorage)
		}
	}
}

// tokenPaths warns of projected files that hide a service account token.
func (w *warner) tokenPaths(s *corev1.PodSpec) {
	var tokens []string
	for i := range s.Volumes {
		if p := s.Volumes[i].Projected; p != nil {
			for j := range p.Sources {
				if t := p.Sources[j].ServiceAccountToken; t != nil {
					tokens = append(tokens, t.Path)
				}
			}
		}
	}
	if tokens == nil {
		return
	}
	for i := range s.Volumes {
		if s.Volumes[i].Projected == nil {
			continue
		}
		duplicate := func(source string, j int, path string) {
			if slices.Contains(tokens, path) {
				w.add(w.spec("volumes").Index(i).Child("projected", "sources", source).Index(j), "has duplicated path with ServiceAccountToken %q", path)
			}
		}
		for _, src := range s.Volumes[i].Projected.Sources {
			if src.ConfigMap != nil {
				for j := range src.ConfigMap.Items {
					duplicate("configMap", j, src.ConfigMap.Items[j].Path)
				}
			}
			if src.Secret != nil {
				for j := range src.Secret.Items {
					duplicate("secrets", j, src.Secret.Items[j].Path)
				}
			}
			if src.DownwardAPI != nil {
				for j := range src.DownwardAPI.Items {
					duplicate("downwardAPI", j, src.DownwardAPI.Items[j].Path)
				}
			}
		}
	}
}

// references warns of host aliases and pull secrets that repeat, and of nameless pull secrets.
func (w *warner) references(s *corev1.PodSpec) {
	repeats := rules.Repeats(s.HostAliases, func(h *corev1.HostAlias) string { return h.IP })
	for i := range s.HostAliases {
		if repeats(i) {
			w.add(w.spec("hostAliases").Index(i).Child("ip"), "duplicate ip %q", s.HostAliases[i].IP)
		}
	}
	repeats = rules.Repeats(s.ImagePullSecrets, func(r *corev1.LocalObjectReference) string { return r.Name })
	for i, r := range s.ImagePullSecrets {
		if repeats(i) {
			w.add(w.spec("imagePullSecrets").Index(i).Child("name"), "duplicate name %q", r.Name)
		}
	}
	for i, r := range s.ImagePullSecrets {
		if r.Name == "" {
			w.add(w.spec("imagePullSecrets").Index(i).Child("name"), "invalid empty name %q", r.Name)
		}
	}
}

func (w *warner) fraction(p *field.Path, l corev1.ResourceList, name corev1.ResourceName) {
	if q, ok := l[name]; ok && q.MilliValue()%1000 != 0 {
		w.add(p.Key(string(name)), "fractional byte value %q is invalid, must be an integer", q.String())
	}
}

func (w *warner) fractions(p *field.Path, l corev1.ResourceList) {
	w.fraction(p, l, corev1.ResourceMemory)
	w.fraction(p, l, corev1.ResourceEphemeralStorage)
}

// fractional reports an amount of bytes that is no whole number.
func fractional(l corev1.ResourceList) bool {
	for _, name := range [...]corev1.ResourceName{corev1.ResourceMemory, corev1.ResourceEphemeralStorage} {
		if q, ok := l[name]; ok && q.MilliValue()%1000 != 0 {
			return true
		}
	}
	return false
}

func (w *warner) container(at place, c *corev1.Container, m *metav1.ObjectMeta, s *corev1.PodSpec) {
	if len(m.Annotations) > 0 {
		if c.SecurityContext == nil || c.SecurityContext.SeccompProfile == nil {
			w.oldSeccomp(m, seccompPrefix+c.Name)
		}
		profiled := s.SecurityContext != nil && s.SecurityContext.AppArmorProfile != nil ||
			c.SecurityContext != nil && c.SecurityContext.AppArmorProfile != nil
		if _, ok := m.Annotations[apparmorPrefix+c.Name]; ok && w.root != nil && !profiled {
			w.texts = append(w.texts, w.child("metadata", "annotations").Key(apparmorPrefix+c.Name).String()+apparmorDeprecated)
		}
	}
	if fractional(c.Resources.Limits) {
		w.fractions(at.path(w.spec()).Child("resources", "limits"), c.Resources.Limits)
	}
	if fractional(c.Resources.Requests) {
		w.fractions(at.path(w.spec()).Child("resources", "requests"), c.Resources.Requests)
	}
	if len(c.Env) < 2 {
		return
	}
	seen := make(map[string]bool, len(c.Env))
	for i := range c.Env {
		e := &c.Env[i]
		if !seen[e.Name] {
			seen[e.Name] = true
			continue
		}
		// A value that builds on the one before it is meant to repeat the name.
		if reference := "$(" + e.Name + ")"; e.ValueFrom != nil || e.Value == reference || !strings.Contains(e.Value, reference) {
			w.add(at.path(w.spec()).Child("env").Index(i), "hides previous definition of %q, which may be dropped when using apply", e.Name)
		}
	}
}

// maxWarnings bounds what is found of a pod whose ports all conflict with each other: far more than a client is told.
const maxWarnings = 500

// maxPairs bounds the work on a pod with thousands of ports of one number, or of files in a volume, few of which conflict.
const maxPairs = 1_000_000

// ports warns of ports, of all containers, that are defined more than once or in ways that may conflict.
func (w *warner) ports(s *corev1.PodSpec) {
	type definition struct {
		at    place
		index int
		port  *corev1.ContainerPort
	}
	path := func(d definition) *field.Path { return d.at.path(w.spec()).Child("ports").Index(d.index) }
	type number struct {
		port     int32
		protocol corev1.Protocol
	}
	all, pairs := make(map[number][]definition), 0
	eachPlace(s, func(at place, c *corev1.Container) {
		for i := range c.Ports {
			d := definition{at, i, &c.Ports[i]}
			if d.port.HostIP != "" && d.port.HostPort == 0 {
				w.add(path(d), "hostIP set without hostPort: %+v", *d.port)
			}
			n := number{d.port.ContainerPort, d.port.Protocol}
			for _, o := range all[n] {
				if pairs++; len(w.texts) >= maxWarnings || pairs > maxPairs {
					return
				}
				switch {
				case d.port.HostIP == o.port.HostIP && d.port.HostPort == o.port.HostPort:
					w.add(path(d), "duplicate port definition with %s", path(o))
				case d.port.HostPort == 0 || o.port.HostPort == 0:
					w.add(path(d), "overlapping port definition with %s", path(o))
				case d.port.HostPort == o.port.HostPort && (d.port.HostIP == "") != (o.port.HostIP == ""):
					w.add(path(d), "dangerously ambiguous port definition with %s", path(o))
				}
			}
			all[n] = append(all[n], d)
		}
	})
}

func (w *warner) podAffinity(a *corev1.Affinity) {
	if a == nil {
		return
	}
	terms := func(name string, required []corev1.PodAffinityTerm, preferred []corev1.WeightedPodAffinityTerm) {
		for i := range required {
			if required[i].LabelSelector == nil {
				w.add(w.spec("affinity", name, requiredField).Index(i).Child("labelSelector"), nullSelector)
			}
		}
		for i := range preferred {
			if preferred[i].PodAffinityTerm.LabelSelector == nil {
				w.add(w.spec("affinity", name, preferredField).Index(i).Child("podAffinityTerm", "labelSelector"), nullSelector)
			}
		}
	}
	if p := a.PodAffinity; p != nil {
		terms("podAffinity", p.RequiredDuringSchedulingIgnoredDuringExecution, p.PreferredDuringSchedulingIgnoredDuringExecution)
	}
	if p := a.PodAntiAffinity; p != nil {
		terms("podAntiAffinity", p.RequiredDuringSchedulingIgnoredDuringExecution, p.PreferredDuringSchedulingIgnoredDuringExecution)
	}
}
