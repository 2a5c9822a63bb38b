package core

import (
	"context"
	"crypto/tls"
	"encoding/json"
	"reflect"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/util/validation"
	"k8s.io/apimachinery/pkg/util/validation/field"
	"k8s.io/utils/ptr"

	"pintle.dev/api"
	"pintle.dev/object"
	"pintle.dev/resource"
)

// Secrets defines core/v1 Secret.
func Secrets() *resource.Definition {
	doc := corev1.Secret{}.SwaggerDoc()
	return resource.Typed[corev1.Secret]{
		Definition: resource.Definition{
			Resource: api.Secrets, Kind: "Secret", Singular: "secret", Namespaced: true,
			MetadataRules: []resource.MetadataRule{resource.ChangedMetadata, resource.WholeMetadata},
			Versions: []resource.Version{{Name: "v1", Storage: true, Served: true, Columns: []metav1.TableColumnDefinition{
				resource.NameColumn,
				{Name: "Type", Type: "string", Description: doc["type"]},
				{Name: "Data", Type: "string", Description: doc["data"]},
				resource.AgeColumn,
			}}},
			Index: []resource.IndexField{{Name: "type", Values: func(o *resource.Object) []string {
				return []string{string(o.Value.(*corev1.Secret).Type)}
			}}},
			Hooks: resource.Hooks{Cells: secretCells},
		},
		Default: func(o *corev1.Secret) {
			if o.Type == "" {
				o.Type = corev1.SecretTypeOpaque
			}
			emptyNotNull(o.Data)
			// stringData is write-only: it is laid over data and never stored.
			if len(o.StringData) > 0 && o.Data == nil {
				o.Data = make(map[string][]byte, len(o.StringData))
			}
			for k, v := range o.StringData {
				o.Data[k] = []byte(v)
			}
			o.StringData = nil
		},
		Prepare: func(_ context.Context, _ *resource.Write, o, old *corev1.Secret) {
			// A replacement that leaves the type out keeps it; defaulting has filled in Opaque by now.
			if old != nil && o.Type == "" {
				o.Type = old.Type
			}
		},
		Validate: validateSecret,
		Warn: func(_ context.Context, _ *resource.Write, o, _ *corev1.Secret) []string {
			if o == nil || o.Type != corev1.SecretTypeTLS {
				return nil
			}
			if _, err := tls.X509KeyPair(o.Data[corev1.TLSCertKey], o.Data[corev1.TLSPrivateKeyKey]); err != nil {
				return []string{err.Error()}
			}
			return nil
		},
	}.Define()
}

var secretCells = resource.PickedCells(
	object.PickFields("metadata.name", "metadata.creationTimestamp", "type", "data.*"),
	func(o *object.Value) []any {
		return []any{resource.NameIn(o), o.Get("type").Str(), int64(o.Get("data").Len()), resource.AgeIn(o)}
	})

// emptyNotNull makes null values empty ones, as upstream's are once they are stored.
func emptyNotNull(data map[string][]byte) {
	for k, v := range data {
		if v == nil {
			data[k] = []byte{}
		}
	}
}

func validateSecret(_ context.Context, _ *resource.Write, o, old *corev1.Secret) field.ErrorList {
	var errs field.ErrorList
	data := field.NewPath("data")
	total := 0
	for k, v := range o.Data {
		for _, msg := range validation.IsConfigMapKey(k) {
			errs = append(errs, field.Invalid(data.Key(k), k, msg))
		}
		total += len(v)
	}
	if total > maxDataSize {
		errs = append(errs, field.TooLong(data, "", maxDataSize))
	}
	errs = append(errs, validateSecretType(o, data)...)
	if old == nil {
		return errs
	}
	if o.Type != old.Type {
		errs = append(errs, field.Invalid(field.NewPath("type"), o.Type, immutableField))
	}
	if ptr.Deref(old.Immutable, false) {
		errs = append(errs, immutableSet(field.NewPath("immutable"), !ptr.Deref(o.Immutable, false))...)
		errs = append(errs, immutableSet(data, !reflect.DeepEqual(o.Data, old.Data))...)
	}
	return errs
}

// immutableField is upstream's text for a field that an update may not change.
const immutableField = "field is immutable"

func immutableSet(p *field.Path, changed bool) field.ErrorList {
	if !changed {
		return nil
	}
	return field.ErrorList{field.Forbidden(p, "field is immutable when `immutable` is set")}
}

// validateSecretType checks what the well-known types must hold.
func validateSecretType(o *corev1.Secret, data *field.Path) (errs field.ErrorList) {
	required := func(keys ...string) {
		for _, k := range keys {
			if _, ok := o.Data[k]; !ok {
				errs = append(errs, field.Required(data.Key(k), ""))
			}
		}
	}
	isJSON := func(key string) {
		v, ok := o.Data[key]
		if !ok {
			errs = append(errs, field.Required(data.Key(key), ""))
			return
		}
		if err := json.Unmarshal(v, &map[string]any{}); err != nil {
			errs = append(errs, field.Invalid(data.Key(key), "<secret contents redacted>", err.Error()))
		}
	}
	switch o.Type {
	case corev1.SecretTypeServiceAccountToken:
		if o.Annotations[corev1.ServiceAccountNameKey] == "" {
			errs = append(errs, field.Required(field.NewPath("metadata", "annotations").Key(corev1.ServiceAccountNameKey), ""))
		}
	case corev1.SecretTypeDockercfg:
		isJSON(corev1.DockerConfigKey)
	case corev1.SecretTypeDockerConfigJson:
		isJSON(corev1.DockerConfigJsonKey)
	case corev1.SecretTypeBasicAuth:
		_, user := o.Data[corev1.BasicAuthUsernameKey]
		_, password := o.Data[corev1.BasicAuthPasswordKey]
		if !user && !password { // one of the two is enough
			required(corev1.BasicAuthUsernameKey, corev1.BasicAuthPasswordKey)
		}
	case corev1.SecretTypeSSHAuth:
		if len(o.Data[corev1.SSHAuthPrivateKey]) == 0 {
			errs = append(errs, field.Required(data.Key(corev1.SSHAuthPrivateKey), ""))
		}
	case corev1.SecretTypeTLS:
		required(corev1.TLSCertKey, corev1.TLSPrivateKeyKey)
	}
	return errs
}
