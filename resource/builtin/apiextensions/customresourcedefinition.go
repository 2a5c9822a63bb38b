package apiextensions

import (
	"context"
	"fmt"
	"slices"

	"k8s.io/apiextensions-apiserver/pkg/apihelpers"
	internal "k8s.io/apiextensions-apiserver/pkg/apis/apiextensions"
	apiextensionsv1 "k8s.io/apiextensions-apiserver/pkg/apis/apiextensions/v1"
	apiextensionsv1beta1 "k8s.io/apiextensions-apiserver/pkg/apis/apiextensions/v1beta1"
	"k8s.io/apiextensions-apiserver/pkg/apis/apiextensions/validation"
	"k8s.io/apimachinery/pkg/api/equality"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/util/validation/field"

	"pintle.dev/api"
	"pintle.dev/resource"
	"pintle.dev/schema"
	"pintle.dev/store"
)

// CustomResourceDefinitions defines CustomResourceDefinition, served as apiextensions.k8s.io/v1 and v1beta1.
func CustomResourceDefinitions() *resource.Definition {
	beta := resource.Older[apiextensionsv1beta1.CustomResourceDefinition](api.CustomResourceDefinitions.Group, betaVersion)
	beta.AsStored, beta.Codec = false, betaCodec{}
	return resource.Typed[apiextensionsv1.CustomResourceDefinition]{
		Definition: resource.Definition{
			Resource: api.CustomResourceDefinitions, Kind: "CustomResourceDefinition", Singular: "customresourcedefinition",
			ShortNames: []string{"crd", "crds"}, Categories: []string{"api-extensions"},
			Versions: []resource.Version{
				{Group: api.CustomResourceDefinitions.Group, Name: "v1", Storage: true, Served: true, Codec: codec},
				beta,
			},
			Subresources: map[string]resource.Subresource{"status": {Verbs: []api.Verb{api.Get, api.Patch, api.Update}}},
			// The name follows from the spec, so that it is checked with it.
			ValidateName:    func(string, bool) []string { return nil },
			PlainFinalizers: true, PinnedUpdate: true, StatusManager: "kube-apiserver", KeepsSpec: true, SettlesDependents: true,
			Index: []resource.IndexField{{Name: api.IndexNamesConflict, Internal: true, Values: groupInConflict}},
		},
		Prepare:   prepare,
		Default:   apiextensionsv1.SetObjectDefaults_CustomResourceDefinition,
		Validate:  validate,
		Warn:      warn,
		Claim:     claim,
		Terminate: terminate,
	}.Define()
}

type definition = apiextensionsv1.CustomResourceDefinition

func groupInConflict(o *resource.Object) []string {
	crd := o.Value.(*definition)
	if apihelpers.IsCRDConditionFalse(crd, apiextensionsv1.NamesAccepted) {
		return []string{crd.Spec.Group}
	}
	return nil
}

func prepare(_ context.Context, w *resource.Write, crd, old *definition) {
	switch {
	case old == nil:
		crd.Status = apiextensionsv1.CustomResourceDefinitionStatus{}
		crd.Generation = 1
	case w.Subresource == "status":
		crd.Spec = old.Spec
		crd.Generation = old.Generation
		// The names are the claims the definition holds; who writes a status cannot take or give any.
		crd.Status.AcceptedNames = old.Status.AcceptedNames
		return
	default:
		crd.Status = *old.Status.DeepCopy()
		crd.Generation = old.Generation
		// What the client left out must not count as a change.
		apiextensionsv1.SetObjectDefaults_CustomResourceDefinition(crd)
		if !sameSpec(crd, old) {
			crd.Generation++
		}
	}
	for _, v := range crd.Spec.Versions {
		if v.Storage {
			if !slices.Contains(crd.Status.StoredVersions, v.Name) {
				crd.Status.StoredVersions = append(crd.Status.StoredVersions, v.Name)
			}
			break
		}
	}
}

// sameSpec reports whether two definitions say the same. JSON within them (defaults, enums, examples) may be written
// differently.
func sameSpec(a, b *definition) bool {
	if equality.Semantic.DeepEqual(a.Spec, b.Spec) {
		return true
	}
	x, errA := toInternal(a)
	y, errB := toInternal(b)
	return errA == nil && errB == nil && equality.Semantic.DeepEqual(x.Spec, y.Spec)
}

// validate asks upstream's validation for its words only where it may have any: most definitions are valid, which their
// skeleton shows for less.
func validate(ctx context.Context, w *resource.Write, crd, old *definition) field.ErrorList {
	if w.Subresource == "status" {
		return validateStatus(ctx, crd, old)
	}
	if err := checkCost(crd); err != nil {
		return field.ErrorList{field.Forbidden(field.NewPath("spec", "versions"), err.Error())}
	}
	if w.Version != nil && w.Version.Name == betaVersion {
		return judge(ctx, crd, old, validateBeta)
	}
	if small, seen, ok := skeleton(crd); ok {
		var was *definition
		if old != nil {
			was = replaced(old)
		}
		if len(judge(ctx, small, was, validateCurrent)) == 0 {
			accepted.add(seen)
			return nil
		}
	}
	return judge(ctx, crd, old, validateCurrent)
}

func validateStatus(ctx context.Context, crd, old *definition) field.ErrorList {
	shown := func(d *definition) *definition {
		return &definition{ObjectMeta: d.ObjectMeta, Status: d.Status} // nothing else is looked at
	}
	return judge(ctx, shown(crd), shown(old), validation.ValidateUpdateCustomResourceDefinitionStatus)
}

// checkCost refuses schemas that are too expensive to validate, which runs their rules on their defaults.
func checkCost(crd *definition) error {
	for i := range crd.Spec.Versions {
		if s := crd.Spec.Versions[i].Schema; s != nil {
			if err := schema.CheckCost(s.OpenAPIV3Schema); err != nil {
				return err
			}
		}
	}
	return nil
}

// recovered is what check finds. Some schemas with rules where CEL has no types, as below items of an object, make
// upstream's code panic: that is an error too.
func recovered(check func() field.ErrorList) (errs field.ErrorList) {
	defer func() {
		if p := recover(); p != nil {
			errs = field.ErrorList{field.InternalError(field.NewPath("spec", "versions"), fmt.Errorf("validating the schemas: %v", p))}
		}
	}()
	return check()
}

// judge has check look at a definition in the form upstream validates; old is nil on create.
func judge(ctx context.Context, crd, old *definition, check func(ctx context.Context, in, was *internal.CustomResourceDefinition) field.ErrorList) field.ErrorList {
	in, err := toInternal(crd)
	if err != nil {
		return field.ErrorList{field.InternalError(nil, err)}
	}
	if old == nil {
		return recovered(func() field.ErrorList { return check(ctx, in, nil) })
	}
	was, err := toInternal(old)
	if err != nil {
		return field.ErrorList{field.InternalError(nil, err)}
	}
	return recovered(func() field.ErrorList { return check(ctx, in, was) })
}

// judgedMeta is the metadata that upstream's own rules of definitions look at.
func judgedMeta(m *metav1.ObjectMeta) metav1.ObjectMeta {
	judged := metav1.ObjectMeta{Name: m.Name, GenerateName: m.GenerateName, ResourceVersion: "1"}
	if v, ok := m.Annotations[apiextensionsv1.KubeAPIApprovedAnnotation]; ok {
		judged.Annotations = map[string]string{apiextensionsv1.KubeAPIApprovedAnnotation: v}
	}
	return judged
}

// validateCurrent checks a definition by the rules of v1.
func validateCurrent(ctx context.Context, in, was *internal.CustomResourceDefinition) field.ErrorList {
	if was != nil {
		return validation.ValidateCustomResourceDefinitionUpdate(ctx, in, was)
	}
	return slices.DeleteFunc(validation.ValidateCustomResourceDefinition(ctx, in), func(e *field.Error) bool {
		return e.Type == field.ErrorTypeRequired && e.Field == "metadata.name" // asked of all kinds
	})
}

// toInternal is crd in the form upstream validates, with just the metadata its own rules look at: all the rest has been
// checked by then.
func toInternal(crd *definition) (*internal.CustomResourceDefinition, error) {
	in := new(internal.CustomResourceDefinition)
	shallow := *crd
	shallow.ObjectMeta = judgedMeta(&crd.ObjectMeta)
	if err := apiextensionsv1.Convert_v1_CustomResourceDefinition_To_apiextensions_CustomResourceDefinition(&shallow, in, nil); err != nil {
		return nil, fmt.Errorf("converting custom resource definition %s: %w", crd.Name, err)
	}
	return in, nil
}

// terminate says that the definition is going, and keeps it until its objects are gone.
func terminate(_ context.Context, _ *resource.Write, crd *definition) {
	if !slices.Contains(crd.Finalizers, apiextensionsv1.CustomResourceCleanupFinalizer) {
		crd.Finalizers = append(crd.Finalizers, apiextensionsv1.CustomResourceCleanupFinalizer)
	}
	apihelpers.SetCRDCondition(crd, apiextensionsv1.CustomResourceDefinitionCondition{
		Type: apiextensionsv1.Terminating, Status: apiextensionsv1.ConditionTrue, Reason: "InstanceDeletionPending",
		Message: "CustomResourceDefinition marked for deletion; CustomResource deletion will begin soon",
	})
}

// claim establishes the definition and takes the names it accepts, or gives them back when it goes. A dry run shows the
// status as it is when upstream's controllers have not seen the write.
func claim(_ context.Context, v store.View, w *resource.Write, crd, old *definition) ([]store.Write, error) {
	if w.DryRun {
		return nil, nil
	}
	held := names{}
	if old != nil {
		held.add(old.Spec.Group, &old.Status.AcceptedNames)
	}
	wanted := names{}
	if crd != nil {
		before := crd.Status.DeepCopy()
		group := crd.Spec.Group
		Establish(crd, func(n Name) bool { return !held[n.in(group)] && v.Get(api.Claims, n.in(group)) != nil })
		if !equality.Semantic.DeepEqual(before, &crd.Status) {
			w.StatusClaimed = true
		}
		wanted.add(group, &crd.Status.AcceptedNames)
	}
	var writes []store.Write
	for k := range wanted {
		if held[k] && v.Get(api.Claims, k) != nil {
			continue
		}
		c, err := resource.NewClaim(k.Namespace, k.Name, api.Key{Name: crd.Name})
		if err != nil {
			return nil, fmt.Errorf("claiming %s for custom resource definition %s: %w", k, crd.Name, err)
		}
		writes = append(writes, store.Put(api.Claims, c, 0))
	}
	for k := range held {
		if c := v.Get(api.Claims, k); c != nil && !wanted[k] {
			writes = append(writes, store.Delete(api.Claims, k, c.Revision()))
		}
	}
	// Names come from maps, commits should not depend on it.
	slices.SortFunc(writes, func(a, b store.Write) int { return a.Key.Compare(b.Key) })
	return writes, nil
}
