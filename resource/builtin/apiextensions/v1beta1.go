package apiextensions

import (
	"context"
	"fmt"

	"k8s.io/apiextensions-apiserver/pkg/apihelpers"
	internal "k8s.io/apiextensions-apiserver/pkg/apis/apiextensions"
	apiextensionsv1 "k8s.io/apiextensions-apiserver/pkg/apis/apiextensions/v1"
	apiextensionsv1beta1 "k8s.io/apiextensions-apiserver/pkg/apis/apiextensions/v1beta1"
	"k8s.io/apiextensions-apiserver/pkg/apis/apiextensions/validation"
	structuralschema "k8s.io/apiextensions-apiserver/pkg/apiserver/schema"
	apivalidation "k8s.io/apimachinery/pkg/api/validation"
	"k8s.io/apimachinery/pkg/util/validation/field"

	"pintle.dev/resource"
)

// betaVersion is apiextensions.k8s.io/v1beta1, for clients from before Kubernetes 1.16: the same definitions, with what is
// alike in all versions at the top, and looser rules for schemas.
const betaVersion = "v1beta1"

// betaCodec reads and writes v1beta1; in flight and stored, a definition is a v1 one.
type betaCodec struct{}

var betaJSON = resource.TypedCodec[apiextensionsv1beta1.CustomResourceDefinition]{APIVersion: "apiextensions.k8s.io/v1beta1", Kind: "CustomResourceDefinition"}

// Decode implements resource.Codec. The defaults of v1beta1 are filled in here, as they differ.
func (betaCodec) Decode(data []byte, stored bool) (*resource.Object, []string, error) {
	o, problems, err := betaJSON.Decode(data, stored)
	if err != nil {
		return nil, nil, err
	}
	beta := o.Value.(*apiextensionsv1beta1.CustomResourceDefinition)
	problems = append(problems, overruled(&beta.Spec)...)
	apiextensionsv1beta1.SetObjectDefaults_CustomResourceDefinition(beta)
	in, crd := new(internal.CustomResourceDefinition), new(definition)
	if err := apiextensionsv1beta1.Convert_v1beta1_CustomResourceDefinition_To_apiextensions_CustomResourceDefinition(beta, in, nil); err != nil {
		return nil, nil, err
	}
	if err := apiextensionsv1.Convert_apiextensions_CustomResourceDefinition_To_v1_CustomResourceDefinition(in, crd, nil); err != nil {
		return nil, nil, err
	}
	// The conversions carry what a client says of the type nowhere.
	crd.TypeMeta = beta.TypeMeta
	o, err = resource.TypedObject(crd)
	return o, problems, err
}

// overruled names what a definition says twice and differently: v1, which is stored, has but one place for it. Upstream
// refused these.
func overruled(spec *apiextensionsv1beta1.CustomResourceDefinitionSpec) (problems []string) {
	if len(spec.Versions) > 0 && spec.Version != "" && spec.Version != spec.Versions[0].Name {
		problems = append(problems, fmt.Sprintf("spec.version: Invalid value: %q: must match the first version in spec.versions", spec.Version))
	}
	for i := range spec.Versions {
		v := &spec.Versions[i]
		for _, f := range []struct {
			all, one      string
			stated, again bool
		}{
			{"validation", "schema", spec.Validation != nil, v.Schema != nil},
			{"subresources", "subresources", spec.Subresources != nil, v.Subresources != nil},
			{"additionalPrinterColumns", "additionalPrinterColumns", spec.AdditionalPrinterColumns != nil, v.AdditionalPrinterColumns != nil},
		} {
			if f.stated && f.again {
				problems = append(problems, fmt.Sprintf("spec.versions[%d].%s: Forbidden: spec.%s and per-version ones are mutually exclusive", i, f.one, f.all))
			}
		}
	}
	return problems
}

// Encode implements resource.Codec.
func (betaCodec) Encode(dst []byte, o *resource.Object) ([]byte, error) {
	in, beta := new(internal.CustomResourceDefinition), new(apiextensionsv1beta1.CustomResourceDefinition)
	// The conversions share what they can and write through it: what is in flight must not change.
	crd := o.Value.(*definition).DeepCopy()
	if err := apiextensionsv1.Convert_v1_CustomResourceDefinition_To_apiextensions_CustomResourceDefinition(crd, in, nil); err != nil {
		return dst, fmt.Errorf("converting custom resource definition %s to v1beta1: %w", crd.Name, err)
	}
	if err := apiextensionsv1beta1.Convert_apiextensions_CustomResourceDefinition_To_v1beta1_CustomResourceDefinition(in, beta, nil); err != nil {
		return dst, fmt.Errorf("converting custom resource definition %s to v1beta1: %w", crd.Name, err)
	}
	b, err := resource.TypedObject(beta)
	if err != nil {
		return dst, err
	}
	return betaJSON.Encode(dst, b)
}

// NewMessage implements resource.MessageCodec.
func (betaCodec) NewMessage() any { return new(apiextensionsv1beta1.CustomResourceDefinition) }

// validateBeta checks a definition by the rules of v1beta1: there may be no schema, and it need not be structural, but for
// what needs that (x-kubernetes extensions), and may have no defaults.
func validateBeta(ctx context.Context, in, was *internal.CustomResourceDefinition) field.ErrorList {
	var errs field.ErrorList
	old := was
	if was == nil {
		name := field.NewPath("metadata", "name")
		for _, msg := range apivalidation.NameIsDNSSubdomain(in.Name, false) {
			errs = append(errs, field.Invalid(name, in.Name, msg))
		}
		if in.Name != in.Spec.Names.Plural+"."+in.Spec.Group {
			errs = append(errs, field.Invalid(name, in.Name, `must be spec.names.plural+"."+spec.group`))
		}
		old = in.DeepCopy()
		old.Status = internal.CustomResourceDefinitionStatus{}
	}
	if was == nil || !validation.HasSchemaWith(&was.Spec, hasDefault) {
		errs = append(errs, forbidDefaults(&in.Spec)...)
	}
	return append(errs, validation.ValidateCustomResourceDefinitionUpdate(ctx, in, loosened(old))...)
}

func hasDefault(s *internal.JSONSchemaProps) bool {
	return validation.SchemaHas(s, func(s *internal.JSONSchemaProps) bool { return s.Default != nil })
}

// forbidDefaults names the schemas that have defaults.
func forbidDefaults(spec *internal.CustomResourceDefinitionSpec) field.ErrorList {
	var errs field.ErrorList
	check := func(p *field.Path, v *internal.CustomResourceValidation) {
		if v != nil && v.OpenAPIV3Schema != nil && hasDefault(v.OpenAPIV3Schema) {
			errs = append(errs, field.Forbidden(p.Child("openAPIV3Schema").Child("default"),
				"must not be set (cannot set default values in apiextensions.k8s.io/v1beta1 CRDs, must use apiextensions.k8s.io/v1)"))
		}
	}
	at := field.NewPath("spec")
	check(at.Child("validation"), spec.Validation)
	for i := range spec.Versions {
		check(at.Child("versions").Index(i).Child("schema"), spec.Versions[i].Schema)
	}
	return errs
}

// loosened is old, changed so that upstream's rules for updates of definitions from before v1, which are those of v1beta1,
// hold for what replaces it: to whom already has no schema, or one that is not structural, they demand none.
func loosened(old *internal.CustomResourceDefinition) *internal.CustomResourceDefinition {
	old = old.DeepCopy()
	preserve := true
	old.Spec.PreserveUnknownFields = &preserve
	if all := old.Spec.Validation; all != nil {
		for i := range old.Spec.Versions {
			old.Spec.Versions[i].Schema = all
		}
		old.Spec.Validation = nil
	}
	old.Spec.Versions = append(old.Spec.Versions,
		internal.CustomResourceDefinitionVersion{Name: "without-schema"},
		internal.CustomResourceDefinitionVersion{Name: "not-structural", Schema: &internal.CustomResourceValidation{
			OpenAPIV3Schema: &internal.JSONSchemaProps{Properties: map[string]internal.JSONSchemaProps{"a": {Type: "null"}}},
		}})
	return old
}

// nonStructural is the condition of definitions whose schemas are not structural, which only v1beta1 lets come to be; nil
// for all others.
func nonStructural(crd *definition) *apiextensionsv1.CustomResourceDefinitionCondition {
	had := apihelpers.FindCRDCondition(crd, apiextensionsv1.NonStructuralSchema) != nil
	if !crd.Spec.PreserveUnknownFields && !had && !betaMade(crd) {
		return nil // v1 has seen to it
	}
	c := &apiextensionsv1.CustomResourceDefinitionCondition{Type: apiextensionsv1.NonStructuralSchema, Status: apiextensionsv1.ConditionTrue, Reason: "Violations"}
	var errs field.ErrorList
	if crd.Spec.PreserveUnknownFields {
		errs = append(errs, field.Invalid(field.NewPath("spec", "preserveUnknownFields"), true, "must be false"))
	}
	for i := range crd.Spec.Versions {
		v := &crd.Spec.Versions[i]
		if v.Schema == nil || v.Schema.OpenAPIV3Schema == nil {
			continue
		}
		props := new(internal.JSONSchemaProps)
		err := apiextensionsv1.Convert_v1_JSONSchemaProps_To_apiextensions_JSONSchemaProps(v.Schema.OpenAPIV3Schema, props, nil)
		var s *structuralschema.Structural
		if err == nil {
			s, err = structuralschema.NewStructural(props)
		}
		if err != nil {
			c.Status, c.Reason = apiextensionsv1.ConditionUnknown, "StructuralError"
			c.Message = fmt.Sprintf("failed to check validation schema for version %s: %v", v.Name, err)
			return c
		}
		errs = append(errs, structuralschema.ValidateStructural(field.NewPath("spec", "versions").Index(i).Child("schema", "openAPIV3Schema"), s)...)
	}
	if len(errs) == 0 {
		return nil
	}
	c.Message = errs.ToAggregate().Error()
	return c
}

// betaMade reports whether a definition lacks what v1 demands: a schema of each version.
func betaMade(crd *definition) bool {
	for i := range crd.Spec.Versions {
		if s := crd.Spec.Versions[i].Schema; s == nil || s.OpenAPIV3Schema == nil || s.OpenAPIV3Schema.Type == "" {
			return true
		}
	}
	return false
}
