package podtemplate

import (
	"fmt"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/util/intstr"
	"k8s.io/apimachinery/pkg/util/validation"
	"k8s.io/apimachinery/pkg/util/validation/field"

	"pintle.dev/resource/builtin/rules"
)

// lifecycleAndProbes checks what containers have that stay: hooks and probes.
func (x *containerContext) lifecycleAndProbes(p *field.Path, c *corev1.Container) field.ErrorList {
	var errs field.ErrorList
	if l := c.Lifecycle; l != nil {
		if l.PostStart != nil {
			errs = append(errs, x.hook(p.Child("lifecycle", "postStart"), l.PostStart)...)
		}
		if l.PreStop != nil {
			errs = append(errs, x.hook(p.Child("lifecycle", "preStop"), l.PreStop)...)
		}
	}
	if c.LivenessProbe != nil {
		pp := p.Child("livenessProbe")
		errs = append(errs, validateProbe(pp, c.LivenessProbe)...)
		errs = append(errs, onlyOneSuccess(pp, c.LivenessProbe)...)
	}
	if c.ReadinessProbe != nil {
		pp := p.Child("readinessProbe")
		errs = append(errs, validateProbe(pp, c.ReadinessProbe)...)
		if n := c.ReadinessProbe.TerminationGracePeriodSeconds; n != nil {
			errs = append(errs, field.Invalid(pp.Child("terminationGracePeriodSeconds"), *n, "must not be set for readinessProbes"))
		}
	}
	if c.StartupProbe != nil {
		pp := p.Child("startupProbe")
		errs = append(errs, validateProbe(pp, c.StartupProbe)...)
		errs = append(errs, onlyOneSuccess(pp, c.StartupProbe)...)
	}
	return errs
}

func onlyOneSuccess(p *field.Path, b *corev1.Probe) field.ErrorList {
	if b.SuccessThreshold == 1 {
		return nil
	}
	return field.ErrorList{field.Invalid(p.Child("successThreshold"), b.SuccessThreshold, "must be 1")}
}

func validateProbe(p *field.Path, b *corev1.Probe) field.ErrorList {
	errs := validateHandler(p, handler{exec: b.Exec, http: b.HTTPGet, tcp: b.TCPSocket, grpc: b.GRPC}, 0)
	errs = append(errs, rules.NonNegative(p, int64(b.InitialDelaySeconds), "initialDelaySeconds")...)
	errs = append(errs, rules.NonNegative(p, int64(b.TimeoutSeconds), "timeoutSeconds")...)
	errs = append(errs, rules.NonNegative(p, int64(b.PeriodSeconds), "periodSeconds")...)
	errs = append(errs, rules.NonNegative(p, int64(b.SuccessThreshold), "successThreshold")...)
	errs = append(errs, rules.NonNegative(p, int64(b.FailureThreshold), "failureThreshold")...)
	if n := b.TerminationGracePeriodSeconds; n != nil && *n <= 0 {
		errs = append(errs, field.Invalid(p.Child("terminationGracePeriodSeconds"), *n, "must be greater than 0"))
	}
	return errs
}

func (x *containerContext) hook(p *field.Path, h *corev1.LifecycleHandler) field.ErrorList {
	return validateHandler(p, handler{exec: h.Exec, http: h.HTTPGet, tcp: h.TCPSocket, sleep: h.Sleep}, x.grace)
}

// handler is what a probe or a hook does: one of these.
type handler struct {
	exec  *corev1.ExecAction
	http  *corev1.HTTPGetAction
	tcp   *corev1.TCPSocketAction
	grpc  *corev1.GRPCAction
	sleep *corev1.SleepAction
}

// validateHandler requires exactly one action. grace bounds how long a sleep may be, in seconds.
func validateHandler(p *field.Path, h handler, grace int64) field.ErrorList {
	var errs field.ErrorList
	n := 0
	// only notes an action that is set, and reports whether it is the first.
	only := func(name string, set bool) bool {
		if !set {
			return false
		}
		if n++; n > 1 {
			errs = append(errs, field.Forbidden(p.Child(name), "may not specify more than 1 handler type"))
		}
		return n == 1
	}
	if only("exec", h.exec != nil) && len(h.exec.Command) == 0 {
		errs = append(errs, field.Required(p.Child("exec", "command"), ""))
	}
	if only("httpGet", h.http != nil) {
		errs = append(errs, validateHTTPGet(p.Child("httpGet"), h.http)...)
	}
	if only("tcpSocket", h.tcp != nil) {
		errs = append(errs, portOrName(p, h.tcp.Port, "tcpSocket", "port")...)
	}
	if only("grpc", h.grpc != nil) {
		errs = append(errs, rules.Port(p, h.grpc.Port, "grpc", "port")...)
	}
	if only("sleep", h.sleep != nil) && (h.sleep.Seconds <= 0 || h.sleep.Seconds > grace) {
		errs = append(errs, field.Invalid(p.Child("sleep"), h.sleep.Seconds, fmt.Sprintf("must be greater than 0 and less than "+
			"terminationGracePeriodSeconds (%d). Enable AllowPodLifecycleSleepActionZeroValue feature gate for zero sleep.", grace)))
	}
	if n == 0 {
		errs = append(errs, field.Required(p, "must specify a handler type"))
	}
	return errs
}

func validateHTTPGet(p *field.Path, a *corev1.HTTPGetAction) field.ErrorList {
	errs := rules.Required(p, a.Path, "path")
	errs = append(errs, portOrName(p, a.Port, "port")...)
	errs = append(errs, rules.Enum(p, "scheme", a.Scheme, corev1.URISchemeHTTP, corev1.URISchemeHTTPS)...)
	for i := range a.HTTPHeaders {
		name := a.HTTPHeaders[i].Name
		errs = append(errs, rules.Invalid(p, name, validation.IsHTTPHeaderName(name), "httpHeaders")...)
	}
	return errs
}

func portOrName(p *field.Path, port intstr.IntOrString, child ...string) field.ErrorList {
	if port.Type == intstr.Int {
		return rules.Port(p, port.IntVal, child...)
	}
	return rules.Invalid(p, port.StrVal, rules.PortName(port.StrVal), child...)
}
