package podtemplate

import (
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/resource"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

// unset makes *p point to v when it is nil.
func unset[T any](p **T, v T) {
	if *p == nil {
		*p = &v
	}
}

// zero makes *p v when it has its zero value.
func zero[T comparable](p *T, v T) {
	var none T
	if *p == none {
		*p = v
	}
}

// Default fills in what upstream defaults in every pod spec, be it a Pod's or a template's. It is idempotent.
func Default(s *corev1.PodSpec) {
	zero(&s.DNSPolicy, corev1.DNSClusterFirst)
	zero(&s.RestartPolicy, corev1.RestartPolicyAlways)
	unset(&s.SecurityContext, corev1.PodSecurityContext{})
	unset(&s.TerminationGracePeriodSeconds, corev1.DefaultTerminationGracePeriodSeconds)
	zero(&s.SchedulerName, corev1.DefaultSchedulerName)
	// The two names of one field are kept equal; the newer one wins.
	zero(&s.ServiceAccountName, s.DeprecatedServiceAccount)
	s.DeprecatedServiceAccount = s.ServiceAccountName
	for i := range s.Volumes {
		defaultVolume(&s.Volumes[i].VolumeSource)
	}
	for i := range s.InitContainers {
		defaultContainer(&s.InitContainers[i])
	}
	for i := range s.Containers {
		defaultContainer(&s.Containers[i])
	}
	for i := range s.EphemeralContainers {
		c := corev1.Container(s.EphemeralContainers[i].EphemeralContainerCommon)
		defaultContainer(&c)
		s.EphemeralContainers[i].EphemeralContainerCommon = corev1.EphemeralContainerCommon(c)
	}
	RoundUp(s.Overhead)
	if s.Resources != nil {
		RoundUp(s.Resources.Limits)
		RoundUp(s.Resources.Requests)
	}
}

// DefaultTemplate fills in a template. It is idempotent.
func DefaultTemplate(t *corev1.PodTemplateSpec) {
	Default(&t.Spec)
	dropInitAnnotations(&t.ObjectMeta)
}

// dropInitAnnotations removes the annotations that init containers were before they were fields, as upstream does
// wherever it reads a pod.
func dropInitAnnotations(m *metav1.ObjectMeta) {
	for _, name := range [...]string{"init-containers", "init-container-statuses"} {
		delete(m.Annotations, "pod.alpha.kubernetes.io/"+name)
		delete(m.Annotations, "pod.beta.kubernetes.io/"+name)
	}
}

// RoundUp rounds quantities up to the milli-unit, the finest that is kept.
func RoundUp(l corev1.ResourceList) {
	for name, q := range l {
		if q.RoundUp(resource.Milli) {
			continue
		}
		l[name] = q
	}
}

func defaultContainer(c *corev1.Container) {
	for i := range c.Ports {
		zero(&c.Ports[i].Protocol, corev1.ProtocolTCP)
	}
	for i := range c.Env {
		if from := c.Env[i].ValueFrom; from != nil && from.FieldRef != nil {
			zero(&from.FieldRef.APIVersion, "v1")
		}
	}
	RoundUp(c.Resources.Limits)
	RoundUp(c.Resources.Requests)
	for _, p := range [...]*corev1.Probe{c.LivenessProbe, c.ReadinessProbe, c.StartupProbe} {
		if p == nil {
			continue
		}
		zero(&p.TimeoutSeconds, 1)
		zero(&p.PeriodSeconds, 10)
		zero(&p.SuccessThreshold, 1)
		zero(&p.FailureThreshold, 3)
		defaultHTTPGet(p.HTTPGet)
		if p.GRPC != nil {
			unset(&p.GRPC.Service, "")
		}
	}
	if l := c.Lifecycle; l != nil {
		if l.PostStart != nil {
			defaultHTTPGet(l.PostStart.HTTPGet)
		}
		if l.PreStop != nil {
			defaultHTTPGet(l.PreStop.HTTPGet)
		}
	}
	zero(&c.TerminationMessagePath, corev1.TerminationMessagePathDefault)
	zero(&c.TerminationMessagePolicy, corev1.TerminationMessageReadFile)
	if c.ImagePullPolicy == "" {
		c.ImagePullPolicy = pullPolicy(c.Image)
	}
}

func defaultHTTPGet(a *corev1.HTTPGetAction) {
	if a != nil {
		zero(&a.Path, "/")
		zero(&a.Scheme, corev1.URISchemeHTTP)
	}
}

// defaultVolume completes the volume's source: of several, which is an error, the one that validation checks.
func defaultVolume(v *corev1.VolumeSource) {
	if *v == (corev1.VolumeSource{}) {
		v.EmptyDir = &corev1.EmptyDirVolumeSource{}
		return
	}
	switch {
	case v.Secret != nil:
		unset(&v.Secret.DefaultMode, corev1.SecretVolumeSourceDefaultMode)
	case v.ConfigMap != nil:
		unset(&v.ConfigMap.DefaultMode, corev1.ConfigMapVolumeSourceDefaultMode)
	case v.DownwardAPI != nil:
		unset(&v.DownwardAPI.DefaultMode, corev1.DownwardAPIVolumeSourceDefaultMode)
		defaultDownwardAPI(v.DownwardAPI.Items)
	case v.HostPath != nil:
		unset(&v.HostPath.Type, corev1.HostPathUnset)
	case v.ISCSI != nil:
		zero(&v.ISCSI.ISCSIInterface, "default")
	case v.RBD != nil:
		zero(&v.RBD.RBDPool, "rbd")
		zero(&v.RBD.RadosUser, "admin")
		zero(&v.RBD.Keyring, "/etc/ceph/keyring")
	case v.AzureDisk != nil:
		unset(&v.AzureDisk.CachingMode, corev1.AzureDataDiskCachingReadWrite)
		unset(&v.AzureDisk.Kind, corev1.AzureSharedBlobDisk)
		unset(&v.AzureDisk.FSType, "ext4")
		unset(&v.AzureDisk.ReadOnly, false)
	case v.Projected != nil:
		defaultProjected(v.Projected)
	case v.ScaleIO != nil:
		zero(&v.ScaleIO.StorageMode, "ThinProvisioned")
		zero(&v.ScaleIO.FSType, "xfs")
	case v.Ephemeral != nil:
		if t := v.Ephemeral.VolumeClaimTemplate; t != nil {
			unset(&t.Spec.VolumeMode, corev1.PersistentVolumeFilesystem)
			RoundUp(t.Spec.Resources.Limits)
			RoundUp(t.Spec.Resources.Requests)
		}
	}
}

func defaultProjected(p *corev1.ProjectedVolumeSource) {
	unset(&p.DefaultMode, corev1.ProjectedVolumeSourceDefaultMode)
	for i := range p.Sources {
		s := &p.Sources[i]
		if s.ServiceAccountToken != nil {
			unset(&s.ServiceAccountToken.ExpirationSeconds, 60*60)
		}
		if s.DownwardAPI != nil {
			defaultDownwardAPI(s.DownwardAPI.Items)
		}
	}
}

func defaultDownwardAPI(files []corev1.DownwardAPIVolumeFile) {
	for i := range files {
		if f := files[i].FieldRef; f != nil {
			zero(&f.APIVersion, "v1")
		}
	}
}

// DefaultPod fills in what upstream defaults in a Pod but not in a template: requests that follow limits, service
// links, the host ports of a pod in the host's network, and one second for a negative grace period. It is idempotent.
func DefaultPod(p *corev1.Pod) {
	Default(&p.Spec)
	dropInitAnnotations(&p.ObjectMeta)
	if g := p.Spec.TerminationGracePeriodSeconds; *g < 0 {
		*g = 1
	}
	unset(&p.Spec.EnableServiceLinks, corev1.DefaultEnableServiceLinks)
	for _, cs := range [...][]corev1.Container{p.Spec.Containers, p.Spec.InitContainers} {
		for i := range cs {
			defaultRequests(&cs[i].Resources)
			if p.Spec.HostNetwork {
				for j := range cs[i].Ports {
					zero(&cs[i].Ports[j].HostPort, cs[i].Ports[j].ContainerPort)
				}
			}
		}
	}
}

func defaultRequests(r *corev1.ResourceRequirements) {
	if r.Limits == nil {
		return
	}
	if r.Requests == nil {
		r.Requests = make(corev1.ResourceList, len(r.Limits))
	}
	for name, q := range r.Limits {
		if _, ok := r.Requests[name]; !ok {
			r.Requests[name] = q.DeepCopy()
		}
	}
}
