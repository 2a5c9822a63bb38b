package podtemplate

import (
	"errors"
	"fmt"
	"slices"
	"strings"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/util/validation/field"

	"pintle.dev/resource/builtin/rules"
)

func validateEnv(p *field.Path, vars []corev1.EnvVar) field.ErrorList {
	var errs field.ErrorList
	for i := range vars {
		v, vp := &vars[i], p.Index(i)
		if v.Name == "" {
			errs = append(errs, field.Required(vp.Child("name"), ""))
		} else if msgs := rules.EnvName(v.Name); msgs != nil {
			errs = append(errs, rules.Invalid(vp, v.Name, msgs, "name")...)
		}
		if v.ValueFrom != nil {
			errs = append(errs, validateValueFrom(vp.Child("valueFrom"), v)...)
		}
	}
	return errs
}

func validateValueFrom(p *field.Path, v *corev1.EnvVar) field.ErrorList {
	var errs field.ErrorList
	from, n := v.ValueFrom, 0
	if from.FieldRef != nil {
		n++
		errs = append(errs, validateFieldRef(p.Child("fieldRef"), from.FieldRef, envFields)...)
	}
	if from.ResourceFieldRef != nil {
		n++
		errs = append(errs, validateResourceFieldRef(p.Child("resourceFieldRef"), from.ResourceFieldRef, false)...)
	}
	if r := from.ConfigMapKeyRef; r != nil {
		n++
		errs = append(errs, validateKeyRef(p.Child("configMapKeyRef"), r.Name, r.Key)...)
	}
	if r := from.SecretKeyRef; r != nil {
		n++
		errs = append(errs, validateKeyRef(p.Child("secretKeyRef"), r.Name, r.Key)...)
	}
	switch {
	case n == 0:
		errs = append(errs, field.Invalid(p, "", "must specify one of: `fieldRef`, `resourceFieldRef`, `configMapKeyRef` or `secretKeyRef`"))
	case v.Value != "":
		errs = append(errs, field.Invalid(p, "", "may not be specified when `value` is not empty"))
	case n > 1:
		errs = append(errs, field.Invalid(p, "", "may not have more than one field specified at a time"))
	}
	return errs
}

func validateKeyRef(p *field.Path, name, key string) field.ErrorList {
	errs := rules.Invalid(p, name, rules.DNSSubdomain(name), "name")
	if key == "" {
		return append(errs, field.Required(p.Child("key"), ""))
	}
	return append(errs, rules.Invalid(p, key, rules.ConfigKey(key), "key")...)
}

func validateEnvFrom(p *field.Path, sources []corev1.EnvFromSource) field.ErrorList {
	var errs field.ErrorList
	for i := range sources {
		s, sp, n := &sources[i], p.Index(i), 0
		if s.Prefix != "" {
			errs = append(errs, rules.Invalid(sp, s.Prefix, rules.EnvName(s.Prefix), "prefix")...)
		}
		reference := func(name, target string) {
			n++
			if target == "" {
				errs = append(errs, field.Required(sp.Child(name, "name"), ""))
				return
			}
			errs = append(errs, rules.Invalid(sp, target, rules.DNSSubdomain(target), name, "name")...)
		}
		if s.ConfigMapRef != nil {
			reference("configMapRef", s.ConfigMapRef.Name)
		}
		if s.SecretRef != nil {
			reference("secretRef", s.SecretRef.Name)
		}
		switch {
		case n == 0:
			errs = append(errs, field.Invalid(p, "", "must specify one of: `configMapRef` or `secretRef`"))
		case n > 1:
			errs = append(errs, field.Invalid(p, "", "may not have more than one field specified at a time"))
		}
	}
	return errs
}

// Fields of a pod that it can be told about, sorted: in the environment, and in a volume.
var (
	envFields = []string{"metadata.name", "metadata.namespace", "metadata.uid", "spec.nodeName", "spec.serviceAccountName",
		"status.hostIP", "status.hostIPs", "status.podIP", "status.podIPs"}
	volumeFields = []string{"metadata.annotations", "metadata.labels", "metadata.name", "metadata.namespace", "metadata.uid"}
)

func validateFieldRef(p *field.Path, r *corev1.ObjectFieldSelector, allowed []string) field.ErrorList {
	if r.APIVersion == "" {
		return field.ErrorList{field.Required(p.Child("apiVersion"), "")}
	}
	if r.FieldPath == "" {
		return field.ErrorList{field.Required(p.Child("fieldPath"), "")}
	}
	path, subscript, subscripted := subscripted(r.FieldPath)
	canonical, err := downwardField(r.APIVersion, path, subscripted)
	if err != nil {
		return field.ErrorList{field.Invalid(p.Child("fieldPath"), r.FieldPath, fmt.Sprintf("error converting fieldPath: %v", err))}
	}
	switch {
	case subscripted && path == "metadata.annotations":
		return rules.Invalid(p, subscript, rules.QualifiedName(strings.ToLower(subscript)))
	case subscripted:
		return rules.Invalid(p, subscript, rules.QualifiedName(subscript))
	case !slices.Contains(allowed, canonical):
		return field.ErrorList{field.NotSupported(p.Child("fieldPath"), canonical, allowed)}
	}
	return nil
}

// subscripted splits "metadata.labels['key']" into path and key.
func subscripted(path string) (base, subscript string, ok bool) {
	inner, ok := strings.CutSuffix(path, "']")
	if !ok {
		return path, "", false
	}
	base, subscript, ok = strings.Cut(inner, "['")
	if !ok || base == "" {
		return path, "", false
	}
	return base, subscript, true
}

// downwardField says what a version calls a field of a pod.
func downwardField(version, path string, subscripted bool) (string, error) {
	if version != "v1" {
		return "", fmt.Errorf("unsupported pod version: %s", version)
	}
	if subscripted {
		if path == "metadata.annotations" || path == "metadata.labels" {
			return path, nil
		}
		return "", errors.New("field label does not support subscript: " + path)
	}
	switch path {
	case "metadata.annotations", "metadata.labels", "metadata.name", "metadata.namespace", "metadata.uid",
		"spec.nodeName", "spec.restartPolicy", "spec.serviceAccountName", "spec.schedulerName",
		"status.phase", "status.hostIP", "status.hostIPs", "status.podIP", "status.podIPs":
		return path, nil
	case "spec.host":
		return "spec.nodeName", nil
	}
	return "", fmt.Errorf("field label not supported: %s", path)
}

// Divisors that a reference to a container's resource may have: of cpu, and of all that is counted in bytes.
var (
	cpuDivisors  = []string{"1m", "1"}
	byteDivisors = []string{"1", "1k", "1M", "1G", "1T", "1P", "1E", "1Ki", "1Mi", "1Gi", "1Ti", "1Pi", "1Ei"}

	resourceFields = []string{"limits.cpu", "limits.ephemeral-storage", "limits.memory", "requests.cpu", "requests.ephemeral-storage", "requests.memory"}
)

// validateResourceFieldRef checks a reference to a container's request or limit; in a volume it must say whose.
func validateResourceFieldRef(p *field.Path, r *corev1.ResourceFieldSelector, inVolume bool) field.ErrorList {
	var errs field.ErrorList
	hugepages := strings.HasPrefix(r.Resource, "limits.hugepages-") || strings.HasPrefix(r.Resource, "requests.hugepages-")
	switch {
	case inVolume && r.ContainerName == "":
		errs = append(errs, field.Required(p.Child("containerName"), ""))
	case r.Resource == "":
		errs = append(errs, field.Required(p.Child("resource"), ""))
	case !hugepages && !slices.Contains(resourceFields, r.Resource):
		errs = append(errs, field.NotSupported(p.Child("resource"), r.Resource, resourceFields))
	}
	if r.Divisor.IsZero() {
		return errs
	}
	name, allowed := "", byteDivisors
	switch {
	case hugepages:
		name = "hugepages"
	case strings.HasSuffix(r.Resource, "s.cpu"):
		name, allowed = "cpu", cpuDivisors
	case strings.HasSuffix(r.Resource, "s.memory"):
		name = "memory"
	case strings.HasSuffix(r.Resource, "s.ephemeral-storage"):
		name = "local ephemeral storage"
	default:
		return errs
	}
	if slices.Contains(allowed, r.Divisor.String()) {
		return errs
	}
	values := strings.Join(allowed, ", ")
	if name == "cpu" {
		values = strings.Join(allowed, " and ")
	}
	return append(errs, field.Invalid(p.Child("divisor"), r.Resource, fmt.Sprintf("only divisor's values %s are supported with the %s resource", values, name)))
}
