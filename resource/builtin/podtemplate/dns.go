package podtemplate

import (
	"fmt"
	"strings"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/util/validation/field"

	"pintle.dev/resource/builtin/rules"
)

// Limits of the resolver in the C library: name servers, search paths, and bytes of all search paths with spaces
// between them.
const (
	maxNameservers   = 3
	maxSearches      = 32
	maxSearchesBytes = 2048
)

func validateDNSConfig(p *field.Path, s *corev1.PodSpec) field.ErrorList {
	c := s.DNSConfig
	if s.DNSPolicy == corev1.DNSNone {
		if c == nil {
			return field.ErrorList{field.Required(p, "must provide `dnsConfig` when `dnsPolicy` is None")}
		}
		if len(c.Nameservers) == 0 {
			return field.ErrorList{field.Required(p.Child("nameservers"), "must provide at least one DNS nameserver when `dnsPolicy` is None")}
		}
	}
	if c == nil {
		return nil
	}
	var errs field.ErrorList
	np, sp := p.Child("nameservers"), p.Child("searches")
	if len(c.Nameservers) > maxNameservers {
		errs = append(errs, field.Invalid(np, c.Nameservers, fmt.Sprintf("must not have more than %v nameservers", maxNameservers)))
	}
	for i, ip := range c.Nameservers {
		errs = append(errs, rules.IP(np.Index(i), ip)...)
	}
	if len(c.Searches) > maxSearches {
		errs = append(errs, field.Invalid(sp, c.Searches, fmt.Sprintf("must not have more than %v search paths", maxSearches)))
	}
	if len(strings.Join(c.Searches, " ")) > maxSearchesBytes {
		errs = append(errs, field.Invalid(sp, c.Searches, fmt.Sprintf("must not have more than %v characters (including spaces) in the search list", maxSearchesBytes)))
	}
	for i, search := range c.Searches {
		search = strings.TrimSuffix(search, ".")
		errs = append(errs, rules.Invalid(sp.Index(i), search, rules.DNSSubdomain(search))...)
	}
	for i := range c.Options {
		if c.Options[i].Name == "" {
			errs = append(errs, field.Required(p.Child("options").Index(i), "must not be empty"))
		}
	}
	return errs
}

func validateHostAliases(p *field.Path, hs []corev1.HostAlias) field.ErrorList {
	var errs field.ErrorList
	for i := range hs {
		errs = append(errs, rules.IP(p.Index(i), hs[i].IP, "ip")...)
		for j, name := range hs[i].Hostnames {
			errs = append(errs, rules.Invalid(p.Index(i).Child("hostnames").Index(j), name, rules.DNSSubdomain(name))...)
		}
	}
	return errs
}
