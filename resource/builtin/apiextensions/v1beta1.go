package apiextensions

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"strings"

	"k8s.io/apiextensions-apiserver/pkg/apihelpers"
	internal "k8s.io/apiextensions-apiserver/pkg/apis/apiextensions"
	apiextensionsv1 "k8s.io/apiextensions-apiserver/pkg/apis/apiextensions/v1"
	apiextensionsv1beta1 "k8s.io/apiextensions-apiserver/pkg/apis/apiextensions/v1beta1"
	"k8s.io/apiextensions-apiserver/pkg/apis/apiextensions/validation"
	structuralschema "k8s.io/apiextensions-apiserver/pkg/apiserver/schema"
	"k8s.io/apimachinery/pkg/api/equality"
	apivalidation "k8s.io/apimachinery/pkg/api/validation"
	"k8s.io/apimachinery/pkg/util/validation/field"

	"pintle.dev/api"
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
	apiextensionsv1beta1.SetObjectDefaults_CustomResourceDefinition(beta)
	in, crd := new(internal.CustomResourceDefinition), new(definition)
	if err := apiextensionsv1beta1.Convert_v1beta1_CustomResourceDefinition_To_apiextensions_CustomResourceDefinition(beta, in, nil); err != nil {
		return nil, nil, err
	}
	contradictions := twice(&in.Spec)
	if err := apiextensionsv1.Convert_apiextensions_CustomResourceDefinition_To_v1_CustomResourceDefinition(in, crd, nil); err != nil {
		return nil, nil, err
	}
	if len(contradictions) > 0 && !stored {
		errs := contradictory(crd, in, contradictions)
		return nil, nil, api.Invalid(api.CustomResourceDefinitions.Group, "CustomResourceDefinition", in.Name, errs)
	}
	// The conversions carry what a client says of the type nowhere.
	crd.TypeMeta = beta.TypeMeta
	o, err = resource.TypedObject(crd)
	return o, problems, err
}

// twice is what a definition must not say, as it would say it in two places or for each version alike: v1, which is stored,
// has but one place for it.
func twice(spec *internal.CustomResourceDefinitionSpec) (errs field.ErrorList) {
	at, versions := field.NewPath("spec"), spec.Versions
	for _, f := range []struct {
		field, what string
		top         bool
		of          func(*internal.CustomResourceDefinitionVersion) (value any, given bool)
	}{
		{"validation", "schemas", spec.Validation != nil, func(v *internal.CustomResourceDefinitionVersion) (any, bool) { return v.Schema, v.Schema != nil }},
		{"subresources", "subresources", spec.Subresources != nil, func(v *internal.CustomResourceDefinitionVersion) (any, bool) {
			return v.Subresources, v.Subresources != nil
		}},
		{"additionalPrinterColumns", "additionalPrinterColumns", len(spec.AdditionalPrinterColumns) > 0, func(v *internal.CustomResourceDefinitionVersion) (any, bool) {
			return v.AdditionalPrinterColumns, len(v.AdditionalPrinterColumns) > 0
		}},
	} {
		some, alike := false, len(versions) > 0
		for i := range versions {
			value, given := f.of(&versions[i])
			first, _ := f.of(&versions[0])
			some = some || given
			alike = alike && given && equality.Semantic.DeepEqual(value, first)
		}
		if f.top && some {
			errs = append(errs, field.Forbidden(at.Child(f.field), fmt.Sprintf("top-level and per-version %s are mutually exclusive", f.what)))
		}
		if alike {
			errs = append(errs, field.Invalid(at.Child("versions"), versions,
				fmt.Sprintf("per-version %s may not all be set to identical values (top-level %s should be used instead)", f.what, f.field)))
		}
	}
	if len(versions) > 0 && spec.Version != "" && spec.Version != versions[0].Name {
		errs = append(errs, field.Invalid(at.Child("version"), spec.Version, "must match the first version in spec.versions"))
	}
	return errs
}

// contradictory is all that is wrong with a definition that contradicts itself, as far as it alone shows: the rules are
// asked here, as crd, which is all that gets further, does not show the contradictions any more.
func contradictory(crd *definition, in *internal.CustomResourceDefinition, contradictions field.ErrorList) field.ErrorList {
	if err := checkCost(crd); err != nil {
		return contradictions
	}
	in = in.DeepCopy()
	in.ObjectMeta = judgedMeta(&crd.ObjectMeta)
	if i := slices.IndexFunc(in.Spec.Versions, func(v internal.CustomResourceDefinitionVersion) bool { return v.Storage }); i >= 0 {
		if name := in.Spec.Versions[i].Name; !slices.Contains(in.Status.StoredVersions, name) {
			in.Status.StoredVersions = append(in.Status.StoredVersions, name)
		}
	}
	errs := recovered(func() field.ErrorList { return validateBeta(context.Background(), in, nil) })
	if len(errs) == 0 {
		return contradictions
	}
	return errs
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
		old.Spec.Conversion = nil // nothing excuses versions of reviews that are not known
	}
	rest := validation.ValidateCustomResourceDefinitionUpdate(ctx, in, loosened(old))
	if was == nil || !validation.HasSchemaWith(&was.Spec, hasDefault) {
		if forbidden := forbidDefaults(&in.Spec); len(forbidden) > 0 {
			errs = append(errs, forbidden...)
			rest = slices.DeleteFunc(rest, func(e *field.Error) bool { // where they are forbidden, nothing is asked for them
				return e.Field == "spec.preserveUnknownFields" && strings.Contains(e.Detail, "in order to use defaults")
			})
		}
	}
	return append(errs, rest...)
}

func hasDefault(s *internal.JSONSchemaProps) bool {
	return validation.SchemaHas(s, func(s *internal.JSONSchemaProps) bool { return s.Default != nil })
}

// forbidDefaults names the schemas that have defaults.
func forbidDefaults(spec *internal.CustomResourceDefinitionSpec) field.ErrorList {
	var errs field.ErrorList
	check := func(p *field.Path, v *internal.CustomResourceValidation) {
		if v == nil {
			return
		}
		eachAt(p.Child("openAPIV3Schema"), v.OpenAPIV3Schema, func(p *field.Path, s *internal.JSONSchemaProps) {
			if s.Default != nil {
				errs = append(errs, field.Forbidden(p.Child("default"),
					"must not be set (cannot set default values in apiextensions.k8s.io/v1beta1 CRDs, must use apiextensions.k8s.io/v1)"))
			}
		})
	}
	at := field.NewPath("spec")
	check(at.Child("validation"), spec.Validation)
	for i := range spec.Versions {
		check(at.Child("versions").Index(i).Child("schema"), spec.Versions[i].Schema)
	}
	return errs
}

// eachAt calls see with s and every schema in it, and where they are.
func eachAt(p *field.Path, s *internal.JSONSchemaProps, see func(*field.Path, *internal.JSONSchemaProps)) {
	if s == nil {
		return
	}
	see(p, s)
	list := func(name string, list []internal.JSONSchemaProps) {
		for i := range list {
			eachAt(p.Child(name).Index(i), &list[i], see)
		}
	}
	named := func(name string, m map[string]internal.JSONSchemaProps) {
		for _, k := range slices.Sorted(maps.Keys(m)) {
			of := m[k]
			eachAt(p.Child(name).Key(k), &of, see)
		}
	}
	named("properties", s.Properties)
	named("patternProperties", s.PatternProperties)
	named("definitions", s.Definitions)
	list("allOf", s.AllOf)
	list("anyOf", s.AnyOf)
	list("oneOf", s.OneOf)
	eachAt(p.Child("not"), s.Not, see)
	if s.Items != nil {
		eachAt(p.Child("items"), s.Items.Schema, see)
		list("items", s.Items.JSONSchemas)
	}
	if s.AdditionalProperties != nil {
		eachAt(p.Child("additionalProperties"), s.AdditionalProperties.Schema, see)
	}
	if s.AdditionalItems != nil {
		eachAt(p.Child("additionalItems"), s.AdditionalItems.Schema, see)
	}
	for _, k := range slices.Sorted(maps.Keys(s.Dependencies)) {
		eachAt(p.Child("dependencies").Key(k), s.Dependencies[k].Schema, see)
	}
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
