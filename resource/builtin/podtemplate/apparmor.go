package podtemplate

import (
	"strings"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/util/validation/field"
)

// Values of the AppArmor annotation of old, one for each container.
const (
	apparmorPrefix     = corev1.DeprecatedAppArmorBetaContainerAnnotationKeyPrefix
	apparmorDefault    = corev1.DeprecatedAppArmorBetaProfileRuntimeDefault
	apparmorUnconfined = corev1.DeprecatedAppArmorBetaProfileNameUnconfined
	apparmorLocal      = corev1.DeprecatedAppArmorBetaProfileNamePrefix
)

// SyncAppArmor gives the AppArmor annotation and field of each container the same content, taking the annotation's
// when only it is set, as upstream does at creation. It returns a warning for each annotation that said what no field
// did: afterwards both agree.
func SyncAppArmor(p *corev1.Pod) (warnings []string) {
	if p.Spec.OS != nil && p.Spec.OS.Name == corev1.Windows {
		return nil
	}
	var podProfile *corev1.AppArmorProfile
	if p.Spec.SecurityContext != nil {
		podProfile = p.Spec.SecurityContext.AppArmorProfile
	}
	if podProfile == nil && len(p.Annotations) == 0 && !anyAppArmor(&p.Spec) {
		return nil
	}
	for _, cs := range [...][]corev1.Container{p.Spec.InitContainers, p.Spec.Containers} {
		for i := range cs {
			if deprecated := syncContainerAppArmor(p, &cs[i], podProfile); deprecated {
				warnings = append(warnings, field.NewPath("metadata", "annotations").Key(apparmorPrefix+cs[i].Name).String()+apparmorDeprecated)
			}
		}
	}
	return warnings
}

func anyAppArmor(s *corev1.PodSpec) bool {
	for _, cs := range [...][]corev1.Container{s.InitContainers, s.Containers} {
		for i := range cs {
			if cs[i].SecurityContext != nil && cs[i].SecurityContext.AppArmorProfile != nil {
				return true
			}
		}
	}
	return false
}

func syncContainerAppArmor(p *corev1.Pod, c *corev1.Container, podProfile *corev1.AppArmorProfile) (deprecated bool) {
	var profile *corev1.AppArmorProfile
	if c.SecurityContext != nil {
		profile = c.SecurityContext.AppArmorProfile
	}
	key := apparmorPrefix + c.Name
	annotation, annotated := p.Annotations[key]
	switch {
	case annotated && profile == nil:
		if profile = apparmorField(annotation); profile == nil {
			return true
		}
		if sameAppArmor(profile, podProfile) {
			return false
		}
		if c.SecurityContext == nil {
			c.SecurityContext = &corev1.SecurityContext{}
		}
		c.SecurityContext.AppArmorProfile = profile
		return true
	case !annotated:
		if profile == nil {
			profile = podProfile
		}
		if value := apparmorAnnotation(profile); value != "" {
			if p.Annotations == nil {
				p.Annotations = map[string]string{}
			}
			p.Annotations[key] = value
		}
	}
	return false
}

func sameAppArmor(a, b *corev1.AppArmorProfile) bool {
	if a == nil || b == nil {
		return a == b
	}
	return a.Type == b.Type && deref(a.LocalhostProfile) == deref(b.LocalhostProfile)
}

func deref[T any](p *T) (v T) {
	if p != nil {
		v = *p
	}
	return v
}

// apparmorField is an annotation's value as a field; nil when it says nothing valid.
func apparmorField(annotation string) *corev1.AppArmorProfile {
	if annotation == apparmorUnconfined {
		return &corev1.AppArmorProfile{Type: corev1.AppArmorProfileTypeUnconfined}
	}
	if annotation == apparmorDefault {
		return &corev1.AppArmorProfile{Type: corev1.AppArmorProfileTypeRuntimeDefault}
	}
	if local, ok := strings.CutPrefix(annotation, apparmorLocal); ok && local != "" {
		return &corev1.AppArmorProfile{Type: corev1.AppArmorProfileTypeLocalhost, LocalhostProfile: &local}
	}
	return nil
}

// apparmorAnnotation is a field as an annotation's value; "" when there is none.
func apparmorAnnotation(f *corev1.AppArmorProfile) string {
	if f == nil {
		return ""
	}
	switch f.Type {
	case corev1.AppArmorProfileTypeUnconfined:
		return apparmorUnconfined
	case corev1.AppArmorProfileTypeRuntimeDefault:
		return apparmorDefault
	case corev1.AppArmorProfileTypeLocalhost:
		if f.LocalhostProfile != nil {
			return apparmorLocal + *f.LocalhostProfile
		}
	}
	return ""
}
