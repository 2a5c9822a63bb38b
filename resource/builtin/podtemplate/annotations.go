package podtemplate

import (
	"fmt"
	"strconv"
	"strings"

	"github.com/go-json-experiment/json"
	jsonv1 "github.com/go-json-experiment/json/v1"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/util/validation/field"

	"pintle.dev/resource/builtin/rules"
)

// Annotations with which pods were told what fields say today.
const (
	mirrorAnnotation      = corev1.MirrorPodAnnotationKey
	tolerationsAnnotation = "scheduler.alpha.kubernetes.io/tolerations"
	deletionCost          = corev1.PodDeletionCost
	seccompPod            = corev1.SeccompPodAnnotationKey
	seccompPrefix         = corev1.SeccompContainerAnnotationKeyPrefix

	seccompDefault    = corev1.SeccompProfileRuntimeDefault
	seccompDocker     = corev1.DeprecatedSeccompProfileDockerDefault
	seccompUnconfined = corev1.SeccompProfileNameUnconfined
	seccompLocal      = corev1.SeccompLocalhostProfileNamePrefix
)

// ValidateAnnotations checks those annotations of a pod that mean something to Kubernetes.
func ValidateAnnotations(p *field.Path, annotations map[string]string, s *corev1.PodSpec) field.ErrorList {
	if len(annotations) == 0 {
		return nil
	}
	var errs field.ErrorList
	if v, ok := annotations[mirrorAnnotation]; ok && s.NodeName == "" {
		errs = append(errs, field.Invalid(p.Key(mirrorAnnotation), v, "must set spec.nodeName if mirror pod annotation is set"))
	}
	if v := annotations[tolerationsAnnotation]; v != "" {
		errs = append(errs, validateTolerationsAnnotation(p.Child(tolerationsAnnotation), v)...)
	}
	if v, ok := annotations[deletionCost]; ok && !isDeletionCost(v) {
		errs = append(errs, field.Invalid(p.Key(deletionCost), v, "must be a 32bit integer"))
	}
	if v, ok := annotations[seccompPod]; ok {
		errs = append(errs, validateSeccompAnnotation(p.Child(seccompPod), v)...)
	}
	var has func(container string) bool
	for k, v := range annotations {
		if strings.HasPrefix(k, seccompPrefix) {
			errs = append(errs, validateSeccompAnnotation(p.Child(k), v)...)
		}
		container, ok := strings.CutPrefix(k, apparmorPrefix)
		if !ok {
			continue
		}
		if has == nil {
			has = hasContainer(s)
		}
		if !has(container) {
			errs = append(errs, field.Invalid(p.Key(k), container, "container not found"))
		}
		if v != "" && v != apparmorDefault && v != apparmorUnconfined && !strings.HasPrefix(v, apparmorLocal) {
			errs = append(errs, field.Invalid(p.Key(k), v, fmt.Sprintf("invalid AppArmor profile name: %q", v)))
		}
	}
	return errs
}

// hasContainer returns a function that reports whether a spec has a container, of any sort, of a name.
func hasContainer(s *corev1.PodSpec) func(name string) bool {
	regular, initial := rules.Holds(s.Containers, nameOf), rules.Holds(s.InitContainers, nameOf)
	ephemeral := rules.Holds(s.EphemeralContainers, ephemeralName)
	return func(name string) bool { return regular(name) || initial(name) || ephemeral(name) }
}

func validateTolerationsAnnotation(p *field.Path, v string) field.ErrorList {
	var ts []corev1.Toleration
	if err := json.Unmarshal([]byte(v), &ts, jsonv1.DefaultOptionsV1()); err != nil {
		return field.ErrorList{field.Invalid(p, tolerationsAnnotation, err.Error())}
	}
	return ValidateTolerations(p, ts)
}

// isDeletionCost reports a 32-bit integer written without a plus sign or leading zeros.
func isDeletionCost(v string) bool {
	if v == "" {
		return false
	}
	first := v[0] == '0' && v == "0" || v[0] == '-' && len(v) > 1 && v[1] >= '1' && v[1] <= '9' || v[0] >= '1' && v[0] <= '9'
	_, err := strconv.ParseInt(v, 10, 32)
	return first && err == nil
}

func validateSeccompAnnotation(p *field.Path, v string) field.ErrorList {
	if v == seccompDefault || v == seccompDocker || v == seccompUnconfined {
		return nil
	}
	if local, ok := strings.CutPrefix(v, seccompLocal); ok {
		return rules.Descending(p, local)
	}
	return field.ErrorList{field.Invalid(p, v, "must be a valid seccomp profile")}
}

// validateSeccompMatch requires that seccomp annotations say what the fields say, where both are set.
func validateSeccompMatch(p *field.Path, annotations map[string]string, s *corev1.PodSpec) field.ErrorList {
	if len(annotations) == 0 {
		return nil
	}
	var errs field.ErrorList
	match := func(p *field.Path, key string, f *corev1.SeccompProfile) {
		v, ok := annotations[key]
		if !ok || f == nil {
			return
		}
		agrees, local := true, ""
		switch f.Type {
		case corev1.SeccompProfileTypeUnconfined:
			agrees = v == seccompUnconfined
		case corev1.SeccompProfileTypeRuntimeDefault:
			agrees = v == seccompDefault || v == seccompDocker
		case corev1.SeccompProfileTypeLocalhost:
			if local, agrees = strings.CutPrefix(v, seccompLocal); agrees && (f.LocalhostProfile == nil || *f.LocalhostProfile != local) {
				errs = append(errs, field.Forbidden(p.Child("securityContext", "seccompProfile", "localhostProfile"), "seccomp profile in annotation and field must match"))
			}
		}
		if !agrees {
			errs = append(errs, field.Forbidden(p.Child("securityContext", "seccompProfile", "type"), "seccomp type in annotation and field must match"))
		}
	}
	if s.SecurityContext != nil {
		match(p, seccompPod, s.SecurityContext.SeccompProfile)
	}
	eachContainer(p, s, func(p *field.Path, c *corev1.Container) {
		if c.SecurityContext != nil {
			match(p, seccompPrefix+c.Name, c.SecurityContext.SeccompProfile)
		}
	})
	return errs
}

// place is where in a spec a container stands.
type place struct {
	list  string
	index int
}

// path is the place below the spec's path.
func (at place) path(spec *field.Path) *field.Path { return spec.Child(at.list).Index(at.index) }

// eachPlace calls f with the init containers, the containers and the ephemeral containers of a spec.
func eachPlace(s *corev1.PodSpec, f func(at place, c *corev1.Container)) {
	for i := range s.InitContainers {
		f(place{"initContainers", i}, &s.InitContainers[i])
	}
	for i := range s.Containers {
		f(place{"containers", i}, &s.Containers[i])
	}
	for i := range s.EphemeralContainers {
		c := corev1.Container(s.EphemeralContainers[i].EphemeralContainerCommon)
		f(place{"ephemeralContainers", i}, &c)
	}
}

// eachContainer is eachPlace for those who need every container's path.
func eachContainer(p *field.Path, s *corev1.PodSpec, f func(p *field.Path, c *corev1.Container)) {
	eachPlace(s, func(at place, c *corev1.Container) { f(at.path(p), c) })
}

// validateAppArmorMatch requires that AppArmor annotations say what the fields say, where both are set.
func validateAppArmorMatch(p *field.Path, pod *corev1.Pod) field.ErrorList {
	if len(pod.Annotations) == 0 || pod.Spec.OS != nil && pod.Spec.OS.Name == corev1.Windows {
		return nil
	}
	var whole *corev1.AppArmorProfile
	if pod.Spec.SecurityContext != nil {
		whole = pod.Spec.SecurityContext.AppArmorProfile
	}
	var errs field.ErrorList
	eachContainer(p, &pod.Spec, func(p *field.Path, c *corev1.Container) {
		profile := whole
		if c.SecurityContext != nil && c.SecurityContext.AppArmorProfile != nil {
			profile = c.SecurityContext.AppArmorProfile
		}
		v, ok := pod.Annotations[apparmorPrefix+c.Name]
		if !ok || profile == nil {
			return
		}
		p = p.Child("securityContext", "appArmorProfile")
		local, isLocal := strings.CutPrefix(v, apparmorLocal)
		switch {
		case profile.Type == corev1.AppArmorProfileTypeUnconfined && v != apparmorUnconfined,
			profile.Type == corev1.AppArmorProfileTypeRuntimeDefault && v != apparmorDefault,
			profile.Type == corev1.AppArmorProfileTypeLocalhost && !isLocal:
			errs = append(errs, field.Forbidden(p.Child("type"), "apparmor type in annotation and field must match"))
		case profile.Type == corev1.AppArmorProfileTypeLocalhost && (profile.LocalhostProfile == nil || *profile.LocalhostProfile != local):
			errs = append(errs, field.Forbidden(p.Child("localhostProfile"), "apparmor profile in annotation and field must match"))
		}
	})
	return errs
}

// ValidateAnnotationUpdate checks what an update of a Pod, or of its status, may do to annotations: those that the
// node reads once may neither come, go nor change.
func ValidateAnnotationUpdate(pod, old *corev1.Pod) field.ErrorList {
	p := field.NewPath("metadata", "annotations")
	var errs field.ErrorList
	fixed := func(k, verb string) {
		switch {
		case strings.HasPrefix(k, apparmorPrefix):
			errs = append(errs, field.Forbidden(p.Key(k), "may not "+verb+" AppArmor annotations"))
		case k == mirrorAnnotation:
			errs = append(errs, field.Forbidden(p.Key(k), "may not "+verb+" mirror pod annotation"))
		}
	}
	for k, v := range old.Annotations {
		if now, ok := pod.Annotations[k]; !ok || now != v {
			fixed(k, "remove or update")
		}
	}
	for k := range pod.Annotations {
		if _, ok := old.Annotations[k]; !ok {
			fixed(k, "add")
		}
	}
	return append(errs, ValidateAnnotations(p, pod.Annotations, &pod.Spec)...)
}
