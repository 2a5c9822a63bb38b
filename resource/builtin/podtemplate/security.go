package podtemplate

import (
	"fmt"
	"regexp"
	"strings"
	"sync"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/util/validation/field"

	"pintle.dev/resource/builtin/rules"
)

func validatePodSecurity(p *field.Path, s *corev1.PodSpec) field.ErrorList {
	c := s.SecurityContext
	var errs field.ErrorList
	if c.FSGroup != nil {
		errs = append(errs, rules.ID(p, *c.FSGroup, "fsGroup")...)
	}
	if c.RunAsUser != nil {
		errs = append(errs, rules.ID(p, *c.RunAsUser, "runAsUser")...)
	}
	if c.RunAsGroup != nil {
		errs = append(errs, rules.ID(p, *c.RunAsGroup, "runAsGroup")...)
	}
	for i, id := range c.SupplementalGroups {
		errs = append(errs, rules.ID(p.Child("supplementalGroups").Index(i), id)...)
	}
	if s.HostPID && deref(s.ShareProcessNamespace) {
		errs = append(errs, field.Invalid(p.Child("shareProcessNamespace"), true, "ShareProcessNamespace and HostPID cannot both be enabled"))
	}
	if len(c.Sysctls) > 0 {
		errs = append(errs, validateSysctls(p.Child("sysctls"), s)...)
	}
	if c.FSGroupChangePolicy != nil {
		errs = append(errs, rules.Enum(p, "fsGroupChangePolicy", *c.FSGroupChangePolicy, corev1.FSGroupChangeAlways, corev1.FSGroupChangeOnRootMismatch)...)
	}
	return append(errs, validateProfiles(p, c.SeccompProfile, c.WindowsOptions, c.AppArmorProfile)...)
}

// validateProfiles checks what the security contexts of pods and containers have alike.
func validateProfiles(p *field.Path, s *corev1.SeccompProfile, w *corev1.WindowsSecurityContextOptions, a *corev1.AppArmorProfile) field.ErrorList {
	var errs field.ErrorList
	if s != nil {
		errs = append(errs, validateSeccomp(p.Child("seccompProfile"), s)...)
	}
	if w != nil {
		errs = append(errs, validateWindowsOptions(p.Child("windowsOptions"), w)...)
	}
	if a != nil {
		errs = append(errs, validateAppArmor(p.Child("appArmorProfile"), a)...)
	}
	return errs
}

func validateContainerSecurity(p *field.Path, c *corev1.SecurityContext) field.ErrorList {
	var errs field.ErrorList
	if c.RunAsUser != nil {
		errs = append(errs, rules.ID(p, *c.RunAsUser, "runAsUser")...)
	}
	if c.RunAsGroup != nil {
		errs = append(errs, rules.ID(p, *c.RunAsGroup, "runAsGroup")...)
	}
	if c.ProcMount != nil {
		errs = append(errs, rules.Enum(p, "procMount", *c.ProcMount, corev1.DefaultProcMount, corev1.UnmaskedProcMount)...)
		if *c.ProcMount == corev1.UnmaskedProcMount {
			errs = append(errs, field.Invalid(p.Child("procMount"), *c.ProcMount, "`hostUsers` must be false to use `Unmasked`"))
		}
	}
	if c.AllowPrivilegeEscalation != nil && !*c.AllowPrivilegeEscalation {
		if deref(c.Privileged) {
			errs = append(errs, field.Invalid(p, c, "cannot set `allowPrivilegeEscalation` to false and `privileged` to true"))
		}
		if c.Capabilities != nil {
			for _, name := range c.Capabilities.Add {
				if name == "CAP_SYS_ADMIN" {
					errs = append(errs, field.Invalid(p, c, "cannot set `allowPrivilegeEscalation` to false and `capabilities.Add` CAP_SYS_ADMIN"))
				}
			}
		}
	}
	return append(errs, validateProfiles(p, c.SeccompProfile, c.WindowsOptions, c.AppArmorProfile)...)
}

const (
	maxSysctlName = 253
	sysctlFormat  = `^([a-z0-9]([-_a-z0-9]*[a-z0-9])?[\./])*[a-z0-9]([-_a-z0-9]*[a-z0-9])?$`
)

var sysctlName = sync.OnceValue(func() *regexp.Regexp { return regexp.MustCompile(sysctlFormat) })

func validateSysctls(p *field.Path, s *corev1.PodSpec) field.ErrorList {
	var errs field.ErrorList
	seen := map[string]bool{}
	for i := range s.SecurityContext.Sysctls {
		name, np := s.SecurityContext.Sysctls[i].Name, p.Index(i).Child("name")
		switch {
		case name == "":
			errs = append(errs, field.Required(np, ""))
		case len(name) > maxSysctlName || !sysctlName().MatchString(name):
			errs = append(errs, field.Invalid(np, name, fmt.Sprintf("must have at most %d characters and match regex %s", maxSysctlName, sysctlFormat)))
		case seen[name]:
			errs = append(errs, field.Duplicate(np, name))
		}
		seen[name] = true
		switch namespace := sysctlNamespace(name); {
		case s.HostNetwork && namespace == "net":
			errs = append(errs, field.Invalid(np, name, "may not be specified when 'hostNetwork' is true"))
		case s.HostIPC && namespace == "ipc":
			errs = append(errs, field.Invalid(np, name, "may not be specified when 'hostIPC' is true"))
		}
	}
	return errs
}

// sysctlNamespace is the kernel namespace a sysctl belongs to: "ipc", "net", or "" for the host's. Its parts may be
// separated by slashes, in which case dots are part of names; what comes first decides.
func sysctlNamespace(name string) string {
	if i := strings.IndexAny(name, "./"); i >= 0 && name[i] == '/' {
		name = strings.NewReplacer("/", ".", ".", "/").Replace(name)
	}
	switch {
	case name == "kernel.sem", strings.HasPrefix(name, "kernel.shm"), strings.HasPrefix(name, "kernel.msg"), strings.HasPrefix(name, "fs.mqueue."):
		return "ipc"
	case strings.HasPrefix(name, "net."):
		return "net"
	}
	return ""
}

func validateSeccomp(p *field.Path, s *corev1.SeccompProfile) field.ErrorList {
	var errs field.ErrorList
	if s.Type == "" {
		errs = append(errs, field.Required(p.Child("type"), "type is required when seccompProfile is set"))
	} else {
		errs = append(errs, rules.Enum(p, "type", s.Type, corev1.SeccompProfileTypeLocalhost, corev1.SeccompProfileTypeRuntimeDefault, corev1.SeccompProfileTypeUnconfined)...)
	}
	lp := p.Child("localhostProfile")
	switch {
	case s.Type != corev1.SeccompProfileTypeLocalhost:
		if s.LocalhostProfile != nil {
			errs = append(errs, field.Invalid(lp, s, "can only be set when seccomp type is Localhost"))
		}
	case s.LocalhostProfile == nil:
		errs = append(errs, field.Required(lp, "must be set when seccomp type is Localhost"))
	default:
		errs = append(errs, rules.Descending(lp, *s.LocalhostProfile)...)
	}
	return errs
}

// maxAppArmorProfile bounds the name of a profile, in bytes: the longest path but one.
const maxAppArmorProfile = 4095

func validateAppArmor(p *field.Path, s *corev1.AppArmorProfile) field.ErrorList {
	var errs field.ErrorList
	lp := p.Child("localhostProfile")
	switch s.Type {
	case corev1.AppArmorProfileTypeLocalhost:
		name := deref(s.LocalhostProfile)
		switch strings.TrimSpace(name) {
		case name:
			if name == "" {
				errs = append(errs, field.Required(lp, "must be set when AppArmor type is Localhost"))
			}
		default:
			errs = append(errs, field.Invalid(lp, name, "must not be padded with whitespace"))
		}
		if len(name) > maxAppArmorProfile {
			errs = append(errs, field.TooLong(lp, "", maxAppArmorProfile))
		}
	case corev1.AppArmorProfileTypeRuntimeDefault, corev1.AppArmorProfileTypeUnconfined:
		if s.LocalhostProfile != nil {
			errs = append(errs, field.Invalid(lp, *s.LocalhostProfile, "can only be set when AppArmor type is Localhost"))
		}
	case "":
		errs = append(errs, field.Required(p.Child("type"), "type is required when appArmorProfile is set"))
	default:
		errs = append(errs, rules.Enum(p, "type", s.Type, corev1.AppArmorProfileTypeLocalhost, corev1.AppArmorProfileTypeRuntimeDefault, corev1.AppArmorProfileTypeUnconfined)...)
	}
	return errs
}
