package rules

import (
	"strings"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	metavalidation "k8s.io/apimachinery/pkg/apis/meta/v1/validation"
	"k8s.io/apimachinery/pkg/util/validation"
	"k8s.io/apimachinery/pkg/util/validation/field"
)

const (
	lower = 1 << iota
	upper
	digit
	dash
	dot
	underscore
)

// class says of every ASCII byte what it is; bytes beyond are nothing.
var class = func() (t [256]uint8) {
	for c := 'a'; c <= 'z'; c++ {
		t[c], t[c-'a'+'A'] = lower, upper
	}
	for c := '0'; c <= '9'; c++ {
		t[c] = digit
	}
	t['-'], t['.'], t['_'] = dash, dot, underscore
	return t
}()

// all reports whether s is at most limit bytes of the given classes, with one of ends at either end.
func all(s string, limit int, classes, ends uint8) bool {
	if s == "" || len(s) > limit || class[s[0]]&ends == 0 || class[s[len(s)-1]]&ends == 0 {
		return false
	}
	for i := range len(s) {
		if class[s[i]]&classes == 0 {
			return false
		}
	}
	return true
}

// DNSLabel complains about what is no lowercase RFC 1123 label of at most 63 bytes.
func DNSLabel(s string) []string {
	if all(s, 63, lower|digit|dash, lower|digit) {
		return nil
	}
	return validation.IsDNS1123Label(s)
}

// DNSSubdomain complains about what is no lowercase RFC 1123 subdomain of at most 253 bytes: names of most kinds.
func DNSSubdomain(s string) []string {
	if subdomain(s) {
		return nil
	}
	return validation.IsDNS1123Subdomain(s)
}

// QualifiedName complains about what is no label key: [DNS subdomain/]name of at most 63 bytes.
func QualifiedName(s string) []string {
	if qualifiedName(s) {
		return nil
	}
	return validation.IsQualifiedName(s)
}

// qualifiedName reports a well-formed label key.
func qualifiedName(s string) bool {
	prefix, name, found := strings.Cut(s, "/")
	if !found {
		name = s
	} else if !subdomain(prefix) {
		return false
	}
	return all(name, 63, lower|upper|digit|dash|dot|underscore, lower|upper|digit)
}

// subdomain reports a well-formed DNS subdomain.
func subdomain(s string) bool {
	if len(s) > 253 {
		return false
	}
	for {
		label, rest, more := strings.Cut(s, ".")
		if !all(label, 253, lower|digit|dash, lower|digit) {
			return false
		}
		if !more {
			return true
		}
		s = rest
	}
}

// LabelValue complains about what is no label value: empty, or at most 63 bytes.
func LabelValue(s string) []string {
	if s == "" || all(s, 63, lower|upper|digit|dash|dot|underscore, lower|upper|digit) {
		return nil
	}
	return validation.IsValidLabelValue(s)
}

// Labels requires well-formed keys and values.
func Labels(p *field.Path, labels map[string]string) field.ErrorList {
	var errs field.ErrorList
	for k, v := range labels {
		errs = append(errs, Invalid(p, k, QualifiedName(k))...)
		errs = append(errs, Invalid(p, v, LabelValue(v))...)
	}
	return errs
}

// EnvName complains about what cannot name an environment variable: printable ASCII but "=", not empty.
func EnvName(s string) []string {
	if all(s, len(s), lower|upper|digit|underscore|dot|dash, lower|upper|digit|underscore) {
		return nil
	}
	return validation.IsRelaxedEnvVarName(s)
}

// ConfigKey complains about what is no key of a ConfigMap or Secret.
func ConfigKey(s string) []string {
	if all(s, 253, lower|upper|digit|dash|dot|underscore, lower|upper|digit) {
		return nil
	}
	return validation.IsConfigMapKey(s)
}

// Selector requires a well-formed label selector.
func Selector(p *field.Path, s *metav1.LabelSelector) field.ErrorList {
	return metavalidation.ValidateLabelSelector(s, metavalidation.LabelSelectorValidationOptions{}, p)
}

// PortName complains about what cannot name a port: at most 15 lower case letters, digits and single dashes within,
// with a letter among them.
func PortName(s string) []string {
	if all(s, 15, lower, lower) {
		return nil
	}
	return validation.IsValidPortName(s)
}
