// Package rules is the kit that the validation of built-in kinds is made of: small rules for one field each, worded
// as upstream words them. It knows no kinds.
//
// Two shapes of rule occur. A rule on a string alone returns what is wrong with it as messages, empty when it is well
// formed, so that the caller chooses field and value; a rule on a field takes its path and returns field errors.
// Rules on names scan the string and ask apimachinery's regular expressions only to word a complaint, for names are
// checked on every write and are nearly always well formed.
package rules

import (
	"errors"
	"fmt"
	"math"
	"net/netip"
	"slices"
	"strings"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/equality"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/util/validation"
	"k8s.io/apimachinery/pkg/util/validation/field"
	netutils "k8s.io/utils/net"
)

// Messages that several kinds share.
const (
	NotNegative = "must be greater than or equal to 0"
	FieldFixed  = "field is immutable"
)

// Verbatim is a value that an error shows without quotes, as upstream shows resource names and other Stringers.
type Verbatim string

// String implements fmt.Stringer.
func (v Verbatim) String() string { return string(v) }

// MarshalJSON declines, which makes field.Error fall back to String.
func (v Verbatim) MarshalJSON() ([]byte, error) { return nil, errors.New("shown verbatim") }

// Dump is a value, a struct, as Go writes it. Errors of the release whose words are followed show structs so; where later
// ones show them as JSON objects, that is left to them, but a struct whose JSON is a number or a text looks like another value.
func Dump(v any) Verbatim { return Verbatim(fmt.Sprintf("%#v", v)) }

// at is the path of a field below p, or p itself. Rules make it only to complain: paths are most of the memory that
// validation costs, and nearly all fields are well formed.
func at(p *field.Path, child []string) *field.Path {
	if len(child) == 0 {
		return p
	}
	return p.Child(child[0], child[1:]...)
}

// Invalid turns messages about a value into errors of its field: p, or the child of it.
func Invalid[T any](p *field.Path, value T, messages []string, child ...string) field.ErrorList {
	var errs field.ErrorList
	for _, m := range messages {
		errs = append(errs, field.Invalid(at(p, child), value, m))
	}
	return errs
}

// Enum requires of a child of p ("": of p itself) one of the given values, which the error lists in the order given.
func Enum[T ~string](p *field.Path, child string, value T, allowed ...T) field.ErrorList {
	if slices.Contains(allowed, value) {
		return nil
	}
	if child != "" {
		p = p.Child(child)
	}
	return field.ErrorList{field.NotSupported(p, value, slices.Clone(allowed))}
}

// NonNegative requires zero or more.
func NonNegative(p *field.Path, value int64, child ...string) field.ErrorList {
	if value >= 0 {
		return nil
	}
	return field.ErrorList{field.Invalid(at(p, child), value, NotNegative)}
}

// Range requires lo <= value <= hi.
func Range(p *field.Path, value, lo, hi int64, child ...string) field.ErrorList {
	if lo <= value && value <= hi {
		return nil
	}
	return field.ErrorList{field.Invalid(at(p, child), value, validation.InclusiveRangeError(int(lo), int(hi)))}
}

// ID requires a Unix user or group ID: 0 to 2^31-1.
func ID(p *field.Path, id int64, child ...string) field.ErrorList {
	return Range(p, id, 0, math.MaxInt32, child...)
}

// Port requires a port number: 1 to 65535.
func Port(p *field.Path, n int32, child ...string) field.ErrorList {
	return Range(p, int64(n), 1, 65535, child...)
}

// IP requires an IP address, in the lenient reading of fields that are older than canonical forms.
func IP(p *field.Path, s string, child ...string) field.ErrorList {
	if _, err := netip.ParseAddr(s); err == nil && !strings.Contains(s, "%") {
		return nil
	}
	return validation.IsValidIPForLegacyField(at(p, child), s, false, nil)
}

// NonSpecialIP refuses addresses behind which no other machine can be, which could be used to reach a node's own services
// through an object that names endpoints.
func NonSpecialIP(p *field.Path, s string, child ...string) field.ErrorList {
	ip := netutils.ParseIPSloppy(s)
	if ip == nil {
		return field.ErrorList{field.Invalid(at(p, child), s, "must be a valid IP address")}
	}
	addr, _ := netip.AddrFromSlice(ip)
	addr = addr.Unmap()
	var errs field.ErrorList
	refuse := func(why string) { errs = append(errs, field.Invalid(at(p, child), s, why)) }
	if addr.IsUnspecified() {
		refuse("may not be unspecified (" + s + ")")
	}
	if addr.IsLoopback() {
		refuse("may not be in the loopback range (127.0.0.0/8, ::1/128)")
	}
	if addr.IsLinkLocalUnicast() {
		refuse("may not be in the link-local range (169.254.0.0/16, fe80::/10)")
	}
	if addr.IsLinkLocalMulticast() {
		refuse("may not be in the link-local multicast range (224.0.0.0/24, ff02::/10)")
	}
	return errs
}

// Fixed requires that a field kept its value.
func Fixed(p *field.Path, value, old any) field.ErrorList {
	if equality.Semantic.DeepEqual(value, old) {
		return nil
	}
	return field.ErrorList{field.Invalid(p, value, FieldFixed)}
}

// Required requires a string that is not empty.
func Required(p *field.Path, s string, child ...string) field.ErrorList {
	if s != "" {
		return nil
	}
	return field.ErrorList{field.Required(at(p, child), "")}
}

// StandardFinalizer refuses the name of a finalizer that has no domain and is none of those Kubernetes itself uses.
func StandardFinalizer(p *field.Path, name string) field.ErrorList {
	switch name {
	case string(corev1.FinalizerKubernetes), metav1.FinalizerOrphanDependents, metav1.FinalizerDeleteDependents:
		return nil
	}
	if strings.Contains(name, "/") {
		return nil
	}
	return field.ErrorList{field.Invalid(p, name, "name is neither a standard finalizer name nor is it fully qualified")}
}

// StandardFinalizers is StandardFinalizer for an object's metadata at p.
func StandardFinalizers(m *metav1.ObjectMeta, p *field.Path) field.ErrorList {
	var errs field.ErrorList
	for i, f := range m.Finalizers {
		errs = append(errs, StandardFinalizer(p.Child("finalizers").Index(i), f)...)
	}
	return errs
}

// Descending requires a relative path that does not leave its root by "..".
func Descending(p *field.Path, path string, child ...string) field.ErrorList {
	if strings.HasPrefix(path, "/") {
		p = at(p, child)
		return append(field.ErrorList{field.Invalid(p, path, "must be a relative path")}, NoBacksteps(p, path)...)
	}
	return NoBacksteps(p, path, child...)
}

// NoBacksteps requires a path none of whose parts is "..".
func NoBacksteps(p *field.Path, path string, child ...string) field.ErrorList {
	if HasBackstep(path) {
		return field.ErrorList{field.Invalid(at(p, child), path, "must not contain '..'")}
	}
	return nil
}

// HasBackstep reports whether a part of the path is "..".
func HasBackstep(path string) bool {
	return strings.Contains(path, "..") && slices.Contains(strings.Split(path, "/"), "..")
}
