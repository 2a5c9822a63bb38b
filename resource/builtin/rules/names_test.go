package rules

import (
	"math/rand"
	"strings"
	"testing"

	"k8s.io/apimachinery/pkg/util/validation"
	"k8s.io/apimachinery/pkg/util/validation/field"
)

// TestAgreeWithApimachinery compares the scans with the regular expressions they stand in for, on strings that are
// nearly well formed.
func TestAgreeWithApimachinery(t *testing.T) {
	checks := map[string]struct{ fast, slow func(string) []string }{
		"DNSLabel":      {DNSLabel, validation.IsDNS1123Label},
		"DNSSubdomain":  {DNSSubdomain, validation.IsDNS1123Subdomain},
		"QualifiedName": {QualifiedName, validation.IsQualifiedName},
		"LabelValue":    {LabelValue, validation.IsValidLabelValue},
		"EnvName":       {EnvName, validation.IsRelaxedEnvVarName},
		"ConfigKey":     {ConfigKey, validation.IsConfigMapKey},
		"PortName":      {PortName, validation.IsValidPortName},
	}
	samples := []string{"", ".", "..", "...", "a", "A", "-", "a-", "-a", "a.b", "a..b", "a/b", "a.b/c", "A/b", "/", "a/", "/a", "a/b/c", "1", "_", "a_b",
		"a--b", "é", "a b", "a\n", "=", "a=b", "..data", strings.Repeat("a", 15), strings.Repeat("a", 16), strings.Repeat("a", 63), strings.Repeat("a", 64),
		strings.Repeat("a", 253), strings.Repeat("a", 254), strings.Repeat("a.", 126) + "a", strings.Repeat("a.", 127) + "a", strings.Repeat("a", 254) + "/b", "a/" + strings.Repeat("b", 64)}
	const alphabet = "aab1Z-._/ =é"
	r := rand.New(rand.NewSource(1))
	for range 5000 {
		var b strings.Builder
		for range r.Intn(9) {
			b.WriteByte(alphabet[r.Intn(len(alphabet))])
		}
		samples = append(samples, b.String())
	}
	for name, c := range checks {
		for _, s := range samples {
			if fast, slow := c.fast(s), c.slow(s); strings.Join(fast, "|") != strings.Join(slow, "|") {
				t.Errorf("%s(%q) = %q, want %q", name, s, fast, slow)
			}
		}
	}
}

func TestFieldRules(t *testing.T) {
	p := field.NewPath("spec")
	for _, c := range []struct {
		name string
		errs field.ErrorList
		want string
	}{
		{"enum", Enum(p, "policy", "C", "A", "B"), `spec.policy: Unsupported value: "C": supported values: "A", "B"`},
		{"enum of itself", Enum(p, "", "C", "A"), `spec: Unsupported value: "C": supported values: "A"`},
		{"enum fits", Enum(p, "policy", "A", "A", "B"), ""},
		{"negative", NonNegative(p, -1, "n"), "spec.n: Invalid value: -1: must be greater than or equal to 0"},
		{"zero", NonNegative(p, 0, "n"), ""},
		{"port 0", Port(p, 0, "a", "b"), "spec.a.b: Invalid value: 0: must be between 1 and 65535, inclusive"},
		{"port 65535", Port(p, 65535), ""},
		{"port 65536", Port(p, 65536), "spec: Invalid value: 65536: must be between 1 and 65535, inclusive"},
		{"id", ID(p, 1<<31), "spec: Invalid value: 2147483648: must be between 0 and 2147483647, inclusive"},
		{"highest id", ID(p, 1<<31-1), ""},
		{"ip", IP(p, "1.2.3", "ip"), `spec.ip: Invalid value: "1.2.3": must be a valid IP address, (e.g. 10.9.8.7 or 2001:db8::ffff)`},
		{"ip with zone", IP(p, "fe80::1%eth0"), `spec: Invalid value: "fe80::1%eth0": must be a valid IP address, (e.g. 10.9.8.7 or 2001:db8::ffff)`},
		{"old ip", IP(p, "010.1.1.1"), ""},
		{"ipv6", IP(p, "::1"), ""},
		{"required", Required(p, "", "name"), "spec.name: Required value"},
		{"present", Required(p, "x", "name"), ""},
		{"absolute", Descending(p, "/a", "path"), `spec.path: Invalid value: "/a": must be a relative path`},
		{"absolute and back", Descending(p, "/a/..", "path"), `[spec.path: Invalid value: "/a/..": must be a relative path, spec.path: Invalid value: "/a/..": must not contain '..']`},
		{"back", Descending(p, "a/../b", "path"), `spec.path: Invalid value: "a/../b": must not contain '..'`},
		{"dots in a name", Descending(p, "a..b/c", "path"), ""},
		{"fixed", Fixed(p, 1, 2), "spec: Invalid value: 1: field is immutable"},
		{"fixed and same", Fixed(p, []string{}, []string(nil)), ""},
		{"verbatim", Invalid(p, Verbatim("x"), []string{"bad"}), "spec: Invalid value: x: bad"},
		{"quoted", Invalid(p, "x", []string{"bad"}, "y"), `spec.y: Invalid value: "x": bad`},
		{"labels", Labels(p, map[string]string{"a b": "c"}), "spec: Invalid value: \"a b\": " + validation.IsQualifiedName("a b")[0]},
	} {
		got := ""
		if err := c.errs.ToAggregate(); err != nil {
			got = err.Error()
		}
		if got != c.want {
			t.Errorf("%s: got %s, want %s", c.name, got, c.want)
		}
	}
}

func TestScansDoNotAllocate(t *testing.T) {
	p := field.NewPath("spec")
	if n := testing.AllocsPerRun(100, func() {
		DNSLabel("web-5d8f7c9b4-abcde")
		DNSSubdomain("kube-root-ca.crt")
		QualifiedName("app.kubernetes.io/name")
		LabelValue("v1.2.3")
		Required(p, "x", "name")
		NonNegative(p, 3, "n")
		Enum(p, "protocol", "TCP", "SCTP", "TCP", "UDP")
	}); n > 0 {
		t.Errorf("%v allocations for well-formed fields", n)
	}
}
