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

// validateOS checks spec.os of the spec at p, and that no other field contradicts it.
func validateOS(p *field.Path, s *corev1.PodSpec) field.ErrorList {
	if s.OS == nil {
		return nil
	}
	switch s.OS.Name {
	case "":
		return field.ErrorList{field.Required(p.Child("os", "name"), "cannot be empty")}
	case corev1.Linux:
		return validateLinux(p, s)
	case corev1.Windows:
		return validateWindows(p, s)
	}
	return field.ErrorList{field.NotSupported(p.Child("os"), s.OS.Name, []corev1.OSName{corev1.Linux, corev1.Windows})}
}

func validateLinux(p *field.Path, s *corev1.PodSpec) field.ErrorList {
	const message = "windows options cannot be set for a linux pod"
	var errs field.ErrorList
	if c := s.SecurityContext; c != nil && c.WindowsOptions != nil {
		errs = append(errs, field.Forbidden(p.Child("securityContext", "windowsOptions"), message))
	}
	eachContainer(p, s, func(p *field.Path, c *corev1.Container) {
		if c.SecurityContext != nil && c.SecurityContext.WindowsOptions != nil {
			errs = append(errs, field.Forbidden(p.Child("securityContext", "windowsOptions"), message))
		}
	})
	return errs
}

func validateWindows(p *field.Path, s *corev1.PodSpec) field.ErrorList {
	const message = "cannot be set for a windows pod"
	errs := refuse(p, message, []setField{
		{"hostPID", s.HostPID}, {"hostIPC", s.HostIPC}, {"shareProcessNamespace", s.ShareProcessNamespace != nil},
	})
	if c := s.SecurityContext; c != nil {
		errs = append(errs, refuse(p.Child("securityContext"), message, []setField{
			{"appArmorProfile", c.AppArmorProfile != nil}, {"seLinuxOptions", c.SELinuxOptions != nil},
			{"seccompProfile", c.SeccompProfile != nil}, {"fsGroup", c.FSGroup != nil},
			{"fsGroupChangePolicy", c.FSGroupChangePolicy != nil}, {"sysctls", len(c.Sysctls) > 0},
			{"runAsUser", c.RunAsUser != nil}, {"runAsGroup", c.RunAsGroup != nil},
			{"supplementalGroups", c.SupplementalGroups != nil},
		})...)
	}
	eachContainer(p, s, func(p *field.Path, c *corev1.Container) {
		sc := c.SecurityContext
		if sc == nil {
			return
		}
		errs = append(errs, refuse(p.Child("securityContext"), message, []setField{
			{"appArmorProfile", sc.AppArmorProfile != nil}, {"seLinuxOptions", sc.SELinuxOptions != nil},
			{"seccompProfile", sc.SeccompProfile != nil}, {"capabilities", sc.Capabilities != nil},
			{"readOnlyRootFilesystem", sc.ReadOnlyRootFilesystem != nil}, {"privileged", sc.Privileged != nil},
			{"allowPrivilegeEscalation", sc.AllowPrivilegeEscalation != nil}, {"procMount", sc.ProcMount != nil},
			{"runAsUser", sc.RunAsUser != nil}, {"runAsGroup", sc.RunAsGroup != nil},
		})...)
	})
	return errs
}

func hostProcess(o *corev1.WindowsSecurityContextOptions) *bool {
	if o == nil {
		return nil
	}
	return o.HostProcess
}

// validateHostProcess requires of a Windows pod that all its containers are processes of the host, with the host's
// network, when one is.
func validateHostProcess(p *field.Path, s *corev1.PodSpec) field.ErrorList {
	var whole *bool
	if s.SecurityContext != nil {
		whole = hostProcess(s.SecurityContext.WindowsOptions)
	}
	if whole == nil && !anyWindowsOptions(s) {
		return nil
	}
	var errs field.ErrorList
	total, count := 0, 0
	eachContainer(p, s, func(p *field.Path, c *corev1.Container) {
		total++
		var own *bool
		if c.SecurityContext != nil {
			own = hostProcess(c.SecurityContext.WindowsOptions)
		}
		if whole != nil && own != nil && *whole != *own {
			errs = append(errs, field.Invalid(p.Child("securityContext", "windowsOptions", "hostProcess"), *own,
				fmt.Sprintf("pod hostProcess value must be identical if both are specified, was %v", *whole)))
		}
		if deref(own) || own == nil && deref(whole) {
			count++
		}
	})
	if count == 0 {
		return errs
	}
	if count != total {
		errs = append(errs, field.Invalid(p, "", "If pod contains any hostProcess containers then all containers must be HostProcess containers"))
	}
	if !s.HostNetwork {
		errs = append(errs, field.Invalid(p.Child("hostNetwork"), false, "hostNetwork must be true if pod contains any hostProcess containers"))
	}
	return errs
}

func anyWindowsOptions(s *corev1.PodSpec) bool {
	for _, cs := range [...][]corev1.Container{s.InitContainers, s.Containers} {
		for i := range cs {
			if c := cs[i].SecurityContext; c != nil && c.WindowsOptions != nil {
				return true
			}
		}
	}
	return false
}

// Limits of Windows user names and credential specs, in bytes.
const (
	maxUserDomain     = 256
	maxUserName       = 104
	maxCredentialSpec = 64 * 1024
)

type userPatterns struct{ control, netBIOS, domain, dots, characters *regexp.Regexp }

var windowsUser = sync.OnceValue(func() userPatterns {
	return userPatterns{
		control:    regexp.MustCompile(`[[:cntrl:]]+`),
		netBIOS:    regexp.MustCompile(`^[^\\/:\*\?"<>|\.][^\\/:\*\?"<>|]{0,14}$`),
		domain:     regexp.MustCompile(`^[a-zA-Z0-9]([-a-zA-Z0-9]*[a-zA-Z0-9])?(\.[a-zA-Z0-9]([-a-zA-Z0-9]*[a-zA-Z0-9])?)*$`),
		dots:       regexp.MustCompile(`^[. ]+$`),
		characters: regexp.MustCompile(`["/\\:;|=,\+\*\?<>@\[\]]`),
	}
})

func validateWindowsOptions(p *field.Path, o *corev1.WindowsSecurityContextOptions) field.ErrorList {
	var errs field.ErrorList
	if name := o.GMSACredentialSpecName; name != nil {
		errs = append(errs, rules.Invalid(p, *name, rules.DNSSubdomain(*name), "gmsaCredentialSpecName")...)
	}
	if spec := o.GMSACredentialSpec; spec != nil {
		if *spec == "" {
			errs = append(errs, field.Invalid(p.Child("gmsaCredentialSpec"), *spec, "gmsaCredentialSpec cannot be an empty string"))
		} else if len(*spec) > maxCredentialSpec {
			errs = append(errs, field.Invalid(p.Child("gmsaCredentialSpec"), *spec, fmt.Sprintf("gmsaCredentialSpec size must be under %d KiB", maxCredentialSpec/1024)))
		}
	}
	if o.RunAsUserName != nil {
		errs = append(errs, rules.Invalid(p, *o.RunAsUserName, windowsUserName(*o.RunAsUserName), "runAsUserName")...)
	}
	return errs
}

// windowsUserName complains about what is no [DOMAIN\]USER.
func windowsUserName(s string) []string {
	patterns := windowsUser()
	switch {
	case s == "":
		return []string{"runAsUserName cannot be an empty string"}
	case patterns.control.MatchString(s):
		return []string{"runAsUserName cannot contain control characters"}
	case strings.Count(s, `\`) > 1:
		return []string{"runAsUserName cannot contain more than one backslash"}
	}
	domain, user, hasDomain := strings.Cut(s, `\`)
	if !hasDomain {
		domain, user = "", s
	}
	var msgs []string
	if len(domain) >= maxUserDomain {
		msgs = append(msgs, fmt.Sprintf("runAsUserName's Domain length must be under %d characters", maxUserDomain))
	}
	if hasDomain && !patterns.netBIOS.MatchString(domain) && !patterns.domain.MatchString(domain) {
		msgs = append(msgs, "runAsUserName's Domain doesn't match the NetBios nor the DNS format")
	}
	if user == "" {
		msgs = append(msgs, "runAsUserName's User cannot be empty")
	} else if len(user) > maxUserName {
		msgs = append(msgs, fmt.Sprintf("runAsUserName's User length must not be longer than %d characters", maxUserName))
	}
	if patterns.dots.MatchString(user) {
		msgs = append(msgs, "runAsUserName's User cannot contain only periods or spaces")
	}
	if patterns.characters.MatchString(user) {
		msgs = append(msgs, `runAsUserName's User cannot contain the following characters: "/\:;|=,+*?<>@[]`)
	}
	return msgs
}
