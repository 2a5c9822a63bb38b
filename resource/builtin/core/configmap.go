package core

import (
	"context"
	"maps"
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

// maxDataSize bounds the data of a ConfigMap or Secret, in bytes: 1 MiB.
const maxDataSize = 1 << 20

// ConfigMaps defines core/v1 ConfigMap.
func ConfigMaps() *resource.Definition {
	return resource.Typed[corev1.ConfigMap]{
		Definition: resource.Definition{
			Resource: api.ConfigMaps, Kind: "ConfigMap", Singular: "configmap", ShortNames: []string{"cm"}, Namespaced: true,
			MetadataRules: []resource.MetadataRule{resource.ChangedMetadata, resource.WholeMetadata},
			Versions: []resource.Version{{Name: "v1", Storage: true, Served: true, Columns: []metav1.TableColumnDefinition{
				resource.NameColumn,
				{Name: "Data", Type: "string", Description: corev1.ConfigMap{}.SwaggerDoc()["data"]},
				resource.AgeColumn,
			}}},
			Hooks: resource.Hooks{Cells: configMapCells},
		},
		Default:  func(o *corev1.ConfigMap) { emptyNotNull(o.BinaryData) },
		Validate: validateConfigMap,
	}.Define()
}

var configMapCells = resource.PickedCells(
	object.PickFields("metadata.name", "metadata.creationTimestamp", "data.*", "binaryData.*"),
	func(o *object.Value) []any {
		return []any{resource.NameIn(o), int64(o.Get("data").Len() + o.Get("binaryData").Len()), resource.AgeIn(o)}
	})

func validateConfigMap(_ context.Context, _ *resource.Write, o, old *corev1.ConfigMap) field.ErrorList {
	var errs field.ErrorList
	if old != nil && ptr.Deref(old.Immutable, false) {
		errs = append(errs, immutableSet(field.NewPath("immutable"), !ptr.Deref(o.Immutable, false))...)
		errs = append(errs, immutableSet(field.NewPath("data"), !maps.Equal(o.Data, old.Data))...)
		errs = append(errs, immutableSet(field.NewPath("binaryData"), !reflect.DeepEqual(o.BinaryData, old.BinaryData))...)
	}
	total := 0
	for k, v := range o.Data {
		for _, msg := range validation.IsConfigMapKey(k) {
			errs = append(errs, field.Invalid(field.NewPath("data").Key(k), k, msg))
		}
		if _, ok := o.BinaryData[k]; ok {
			errs = append(errs, field.Invalid(field.NewPath("data").Key(k), k, "duplicate of key present in binaryData"))
		}
		total += len(v)
	}
	for k, v := range o.BinaryData {
		for _, msg := range validation.IsConfigMapKey(k) {
			errs = append(errs, field.Invalid(field.NewPath("binaryData").Key(k), k, msg))
		}
		total += len(v)
	}
	if total > maxDataSize {
		errs = append(errs, field.TooLong(field.NewPath(""), "", maxDataSize))
	}
	return errs
}
