package podtemplate

import (
	"slices"

	corev1 "k8s.io/api/core/v1"
)

// DropUnserved removes the fields of features that this server does not have, silently, as upstream removes fields
// whose feature gate is off: resource claims, image volumes, user namespaces, cluster trust bundles and pod
// certificates, pod-level resources, resize policies, restart rules and the like.
func DropUnserved(s *corev1.PodSpec) {
	s.HostUsers, s.ResourceClaims, s.Resources = nil, nil, nil
	s.HostnameOverride, s.SchedulingGroup, s.EvictionResponders = nil, nil, nil
	if c := s.SecurityContext; c != nil {
		c.SupplementalGroupsPolicy, c.SELinuxChangePolicy = nil, nil
	}
	var images []string
	s.Volumes = slices.DeleteFunc(s.Volumes, func(v corev1.Volume) bool {
		if v.Image == nil {
			return false
		}
		images = append(images, v.Name)
		return true
	})
	for i := range s.Volumes {
		if p := s.Volumes[i].Projected; p != nil {
			p.DefaultUser = nil
			if len(p.Sources) == 0 {
				p.Sources = nil // upstream's storage does not tell empty from absent, which is shown as null
			}
			for j := range p.Sources {
				p.Sources[j].ClusterTrustBundle, p.Sources[j].PodCertificate = nil, nil
			}
		}
	}
	for i := range s.InitContainers {
		dropContainer(&s.InitContainers[i], images)
	}
	for i := range s.Containers {
		dropContainer(&s.Containers[i], images)
	}
	for i := range s.EphemeralContainers {
		dropContainer((*corev1.Container)(&s.EphemeralContainers[i].EphemeralContainerCommon), images)
	}
}

// DropUnservedTemplate is DropUnserved for a template.
func DropUnservedTemplate(t *corev1.PodTemplateSpec) { DropUnserved(&t.Spec) }

func dropContainer(c *corev1.Container, images []string) {
	c.Resources.Claims, c.ResizePolicy, c.RestartPolicyRules = nil, nil, nil
	if images != nil {
		c.VolumeMounts = slices.DeleteFunc(c.VolumeMounts, func(m corev1.VolumeMount) bool {
			return slices.Contains(images, m.Name)
		})
	}
	for i := range c.VolumeMounts {
		c.VolumeMounts[i].BindMountOptions = nil
	}
	for i := range c.Env {
		if from := c.Env[i].ValueFrom; from != nil {
			from.FileKeyRef = nil
		}
	}
	if c.Lifecycle != nil {
		c.Lifecycle.StopSignal = nil
	}
	if sc := c.SecurityContext; sc != nil && sc.ProcMount != nil {
		masked := corev1.DefaultProcMount
		sc.ProcMount = &masked
	}
}
