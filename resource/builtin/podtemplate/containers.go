package podtemplate

import (
	"fmt"
	"strings"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/util/validation/field"

	"pintle.dev/resource/builtin/rules"
)

// containerContext is what the rules of a container need to know of its pod.
type containerContext struct {
	volumes volumeSet
	grace   int64 // terminationGracePeriodSeconds
}

func (x *containerContext) containers(p *field.Path, cs []corev1.Container) field.ErrorList {
	if len(cs) == 0 {
		return field.ErrorList{field.Required(p, "")}
	}
	var errs field.ErrorList
	repeats := rules.Repeats(cs, nameOf)
	for i := range cs {
		c, cp := &cs[i], p.Index(i)
		errs = append(errs, x.container(cp, c)...)
		if repeats(i) {
			errs = append(errs, field.Duplicate(cp.Child("name"), c.Name))
		}
		errs = append(errs, x.lifecycleAndProbes(cp, c)...)
		if c.RestartPolicy != nil {
			errs = append(errs, field.Forbidden(cp.Child("restartPolicy"), "may not be set for non-init containers"))
		}
	}
	return append(errs, uniqueHostPorts(p, cs)...)
}

func nameOf(c *corev1.Container) string                 { return c.Name }
func ephemeralName(c *corev1.EphemeralContainer) string { return c.Name }

func (x *containerContext) initContainers(p *field.Path, s *corev1.PodSpec) field.ErrorList {
	var errs field.ErrorList
	repeats, regular := rules.Repeats(s.InitContainers, nameOf), rules.Holds(s.Containers, nameOf)
	for i := range s.InitContainers {
		c, cp := &s.InitContainers[i], p.Index(i)
		errs = append(errs, x.container(cp, c)...)
		sidecar := false
		if c.RestartPolicy != nil {
			errs = append(errs, rules.Enum(cp, "restartPolicy", *c.RestartPolicy, corev1.ContainerRestartPolicyAlways)...)
			sidecar = *c.RestartPolicy == corev1.ContainerRestartPolicyAlways
		}
		if regular(c.Name) || c.Name != "" && repeats(i) {
			errs = append(errs, field.Duplicate(cp.Child("name"), c.Name))
		}
		// Init containers run one by one, so ports may repeat among them. Upstream's path names the first of them.
		errs = append(errs, uniqueHostPorts(p, s.InitContainers[i:i+1])...)
		if sidecar {
			errs = append(errs, x.lifecycleAndProbes(cp, c)...)
			continue
		}
		errs = append(errs, refuse(cp, "may not be set for init containers without restartPolicy=Always", []setField{
			{"lifecycle", c.Lifecycle != nil}, {"livenessProbe", c.LivenessProbe != nil},
			{"readinessProbe", c.ReadinessProbe != nil}, {"startupProbe", c.StartupProbe != nil},
		})...)
	}
	return errs
}

// setField is a field and whether it is set.
type setField struct {
	name string
	set  bool
}

// refuse forbids those of the fields that are set.
func refuse(p *field.Path, message string, fields []setField) field.ErrorList {
	var errs field.ErrorList
	for _, f := range fields {
		if f.set {
			errs = append(errs, field.Forbidden(p.Child(f.name), message))
		}
	}
	return errs
}

func (x *containerContext) ephemeralContainers(p *field.Path, s *corev1.PodSpec) field.ErrorList {
	var errs field.ErrorList
	if len(s.EphemeralContainers) == 0 {
		return nil
	}
	const message = "cannot be set for an Ephemeral Container"
	regular, initial := rules.Holds(s.Containers, nameOf), rules.Holds(s.InitContainers, nameOf)
	repeats := rules.Repeats(s.EphemeralContainers, ephemeralName)
	for i := range s.EphemeralContainers {
		ec, cp := &s.EphemeralContainers[i], p.Index(i)
		c := corev1.Container(ec.EphemeralContainerCommon)
		errs = append(errs, x.container(cp, &c)...)
		errs = append(errs, trimmedImage(cp, &c)...)
		if regular(c.Name) || initial(c.Name) || repeats(i) {
			errs = append(errs, field.Duplicate(cp.Child("name"), c.Name))
		}
		if t := ec.TargetContainerName; t != "" && !regular(t) && !initial(t) {
			errs = append(errs, field.NotFound(cp.Child("targetContainerName"), t))
		}
		errs = append(errs, refuse(cp, message, []setField{
			{"ports", c.Ports != nil}, {"resources", c.Resources.Limits != nil || c.Resources.Requests != nil || c.Resources.Claims != nil},
			{"resizePolicy", c.ResizePolicy != nil}, {"restartPolicy", c.RestartPolicy != nil},
			{"livenessProbe", c.LivenessProbe != nil}, {"readinessProbe", c.ReadinessProbe != nil},
			{"startupProbe", c.StartupProbe != nil}, {"lifecycle", c.Lifecycle != nil},
		})...)
		for j := range c.VolumeMounts {
			m := &c.VolumeMounts[j]
			errs = append(errs, refuse(cp.Child("volumeMounts").Index(j), message,
				[]setField{{"subPath", m.SubPath != ""}, {"subPathExpr", m.SubPathExpr != ""}})...)
		}
	}
	return errs
}

// container applies the rules common to containers of every sort.
func (x *containerContext) container(p *field.Path, c *corev1.Container) field.ErrorList {
	var errs field.ErrorList
	if c.Name == "" {
		errs = append(errs, field.Required(p.Child("name"), ""))
	} else if msgs := rules.DNSLabel(c.Name); msgs != nil {
		errs = append(errs, rules.Invalid(p, c.Name, msgs, "name")...)
	}
	if c.Image == "" {
		errs = append(errs, field.Required(p.Child("image"), ""))
	}
	errs = append(errs, requiredEnum(p, "terminationMessagePolicy", c.TerminationMessagePolicy, corev1.TerminationMessageReadFile, corev1.TerminationMessageFallbackToLogsOnError)...)
	if len(c.Ports) > 0 {
		errs = append(errs, validatePorts(p.Child("ports"), c.Ports)...)
	}
	if len(c.Env) > 0 {
		errs = append(errs, validateEnv(p.Child("env"), c.Env)...)
	}
	if len(c.EnvFrom) > 0 {
		errs = append(errs, validateEnvFrom(p.Child("envFrom"), c.EnvFrom)...)
	}
	if len(c.VolumeMounts) > 0 {
		errs = append(errs, x.mounts(p.Child("volumeMounts"), c)...)
	}
	if len(c.VolumeDevices) > 0 {
		errs = append(errs, x.devices(p.Child("volumeDevices"), c)...)
	}
	errs = append(errs, requiredEnum(p, "imagePullPolicy", c.ImagePullPolicy, corev1.PullAlways, corev1.PullIfNotPresent, corev1.PullNever)...)
	if !plainResources(&c.Resources) {
		errs = append(errs, validateResources(p.Child("resources"), &c.Resources)...)
	}
	if c.SecurityContext != nil {
		errs = append(errs, validateContainerSecurity(p.Child("securityContext"), c.SecurityContext)...)
	}
	return errs
}

func trimmedImages(p *field.Path, list string, cs []corev1.Container) field.ErrorList {
	var errs field.ErrorList
	for i := range cs {
		if trimmed(cs[i].Image) {
			continue
		}
		errs = append(errs, trimmedImage(p.Child(list).Index(i), &cs[i])...)
	}
	return errs
}

func trimmed(s string) bool { return len(strings.TrimSpace(s)) == len(s) }

// trimmedImage refuses white space around the image, in a pod; templates may have it.
func trimmedImage(p *field.Path, c *corev1.Container) field.ErrorList {
	if trimmed(c.Image) {
		return nil
	}
	return field.ErrorList{field.Invalid(p.Child("image"), c.Image, "must not have leading or trailing whitespace")}
}

func validatePorts(p *field.Path, ports []corev1.ContainerPort) field.ErrorList {
	var errs field.ErrorList
	repeats := rules.Repeats(ports, func(p *corev1.ContainerPort) string { return p.Name })
	for i := range ports {
		c, cp := &ports[i], p.Index(i)
		if c.Name != "" {
			if msgs := rules.PortName(c.Name); len(msgs) > 0 {
				errs = append(errs, rules.Invalid(cp, c.Name, msgs, "name")...)
			} else if repeats(i) {
				errs = append(errs, field.Duplicate(cp.Child("name"), c.Name))
			}
		}
		if c.ContainerPort == 0 {
			errs = append(errs, field.Required(cp.Child("containerPort"), ""))
		} else {
			errs = append(errs, rules.Port(cp, c.ContainerPort, "containerPort")...)
		}
		if c.HostPort != 0 {
			errs = append(errs, rules.Port(cp, c.HostPort, "hostPort")...)
		}
		errs = append(errs, requiredEnum(cp, "protocol", c.Protocol, corev1.ProtocolSCTP, corev1.ProtocolTCP, corev1.ProtocolUDP)...)
	}
	return errs
}

// uniqueHostPorts refuses a port of the host that two of the containers want.
func uniqueHostPorts(p *field.Path, cs []corev1.Container) field.ErrorList {
	var errs field.ErrorList
	var seen map[string]bool
	for i := range cs {
		for j := range cs[i].Ports {
			port := &cs[i].Ports[j]
			if port.HostPort == 0 {
				continue
			}
			key := fmt.Sprintf("%s/%s/%d", port.Protocol, port.HostIP, port.HostPort)
			if seen[key] {
				errs = append(errs, field.Duplicate(p.Index(i).Child("ports").Index(j).Child("hostPort"), key))
			}
			if seen == nil {
				seen = map[string]bool{}
			}
			seen[key] = true
		}
	}
	return errs
}

// validateHostPorts requires of containers in the host's network that a port is the same on either side; a template
// may leave the host's open, for it is filled in when the pod is made.
func validateHostPorts(p *field.Path, cs []corev1.Container, pod bool) field.ErrorList {
	var errs field.ErrorList
	for i := range cs {
		for j := range cs[i].Ports {
			port := &cs[i].Ports[j]
			if (pod || port.HostPort != 0) && port.HostPort != port.ContainerPort {
				errs = append(errs, field.Invalid(p.Index(i).Child("ports").Index(j).Child("hostPort"), port.HostPort,
					"must match `containerPort` when `hostNetwork` is true"))
			}
		}
	}
	return errs
}
