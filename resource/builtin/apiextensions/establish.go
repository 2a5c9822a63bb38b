package apiextensions

import (
	"errors"
	"fmt"
	"reflect"
	"slices"

	"k8s.io/apiextensions-apiserver/pkg/apihelpers"
	apiextensionsv1 "k8s.io/apiextensions-apiserver/pkg/apis/apiextensions/v1"
	"k8s.io/apimachinery/pkg/api/equality"
	utilerrors "k8s.io/apimachinery/pkg/util/errors"
	"k8s.io/apiserver/pkg/util/webhook"

	"pintle.dev/api"
	"pintle.dev/resource"
)

// Name is a name that only one CustomResourceDefinition of a group may hold. Plural, singular and short names are of one
// space, kinds and list kinds of another.
type Name struct {
	Kind  bool
	Value string
}

// in is where the claim on the name is kept.
func (n Name) in(group string) api.Key {
	if n.Kind {
		return resource.ClaimKey("kindname", group+"/"+n.Value)
	}
	return resource.ClaimKey("resourcename", group+"/"+n.Value)
}

// names are the claims on a definition's names.
type names map[api.Key]bool

func (s names) add(group string, n *apiextensionsv1.CustomResourceDefinitionNames) {
	for _, n := range namesOf(n) {
		s[n.in(group)] = true
	}
}

func namesOf(n *apiextensionsv1.CustomResourceDefinitionNames) []Name {
	all := []Name{{false, n.Plural}, {false, n.Singular}, {true, n.Kind}, {true, n.ListKind}}
	for _, s := range n.ShortNames {
		all = append(all, Name{false, s})
	}
	return slices.DeleteFunc(all, func(n Name) bool { return n.Value == "" })
}

// Establish brings the status of a valid definition up to date: which of its names are accepted, and the conditions
// NamesAccepted, Established and, for groups of the Kubernetes community, KubernetesAPIApprovalPolicyConformant. taken
// says which names another definition of the group holds. What upstream's controllers do one after the other (names,
// then establishing) happens at once, with the result they arrive at.
func Establish(crd *apiextensionsv1.CustomResourceDefinition, taken func(Name) bool) {
	if c := approval(crd); c != nil {
		setCondition(crd, *c)
	}
	if c := nonStructural(crd); c != nil {
		setCondition(crd, *c)
	} else {
		apihelpers.RemoveCRDCondition(crd, apiextensionsv1.NonStructuralSchema)
	}
	if equality.Semantic.DeepEqual(crd.Spec.Names, crd.Status.AcceptedNames) && apihelpers.IsCRDConditionTrue(crd, apiextensionsv1.Established) {
		return
	}
	accepted, conflict := acceptNames(crd, taken)
	crd.Status.AcceptedNames = accepted
	established := apiextensionsv1.CustomResourceDefinitionCondition{
		Type: apiextensionsv1.Established, Status: apiextensionsv1.ConditionFalse, Reason: "NotAccepted", Message: "not all names are accepted",
	}
	if conflict == nil {
		setCondition(crd, apiextensionsv1.CustomResourceDefinitionCondition{
			Type: apiextensionsv1.NamesAccepted, Status: apiextensionsv1.ConditionTrue, Reason: "NoConflicts", Message: "no conflicts found",
		})
		established.Status, established.Reason, established.Message = apiextensionsv1.ConditionTrue, "InitialNamesAccepted", "the initial names have been accepted"
		if invalidBundle(crd) {
			established.Status, established.Reason, established.Message = apiextensionsv1.ConditionFalse, "InvalidCABundle", "The conversion webhook CABundle is invalid"
		}
	} else {
		setCondition(crd, *conflict)
	}
	// Once established, a definition stays so.
	if !apihelpers.IsCRDConditionTrue(crd, apiextensionsv1.Established) {
		setCondition(crd, established)
	}
}

// invalidBundle reports a conversion webhook that could not be called for want of certificates that can be read. A new
// definition may have one, but is not served before it is mended.
func invalidBundle(crd *apiextensionsv1.CustomResourceDefinition) bool {
	c := crd.Spec.Conversion
	return c != nil && c.Webhook != nil && c.Webhook.ClientConfig != nil &&
		len(webhook.ValidateCABundle(nil, c.Webhook.ClientConfig.CABundle)) > 0
}

func setCondition(crd *apiextensionsv1.CustomResourceDefinition, c apiextensionsv1.CustomResourceDefinitionCondition) {
	if !apihelpers.IsCRDConditionEquivalent(&c, apihelpers.FindCRDCondition(crd, c.Type)) {
		apihelpers.SetCRDCondition(crd, c)
	}
}

// acceptNames takes each name that is free; one that is not leaves what was accepted in its place before. The conflict
// reported is the last one, in the order plural, singular, short names, kind, list kind.
func acceptNames(crd *apiextensionsv1.CustomResourceDefinition, taken func(Name) bool) (apiextensionsv1.CustomResourceDefinitionNames, *apiextensionsv1.CustomResourceDefinitionCondition) {
	want, have := &crd.Spec.Names, crd.Status.AcceptedNames
	got := *have.DeepCopy()
	mine := namesOf(&have)
	var conflict *apiextensionsv1.CustomResourceDefinitionCondition
	refuse := func(reason string, err error) {
		conflict = &apiextensionsv1.CustomResourceDefinitionCondition{
			Type: apiextensionsv1.NamesAccepted, Status: apiextensionsv1.ConditionFalse, Reason: reason, Message: err.Error(),
		}
	}
	// A name the definition itself holds in another role counts as used, as upstream has it.
	free := func(n Name, held string) error {
		if n.Value == held || !taken(n) && !slices.Contains(mine, n) {
			return nil
		}
		return fmt.Errorf("%q is already in use", n.Value)
	}
	accept := func(reason string, n Name, slot *string) {
		if err := free(n, *slot); err != nil {
			refuse(reason, err)
		} else {
			*slot = n.Value
		}
	}
	accept("PluralConflict", Name{false, want.Plural}, &got.Plural)
	accept("SingularConflict", Name{false, want.Singular}, &got.Singular)
	if !reflect.DeepEqual(want.ShortNames, have.ShortNames) {
		var errs []error
		for _, s := range want.ShortNames {
			if slices.Contains(have.ShortNames, s) {
				continue
			}
			if err := free(Name{false, s}, ""); err != nil {
				errs = append(errs, err)
			}
		}
		if err := utilerrors.NewAggregate(errs); err != nil {
			refuse("ShortNamesConflict", errors.New(err.Error()))
		} else {
			got.ShortNames = slices.Clone(want.ShortNames)
		}
	}
	accept("KindConflict", Name{true, want.Kind}, &got.Kind)
	accept("ListKindConflict", Name{true, want.ListKind}, &got.ListKind)
	got.Categories = slices.Clone(want.Categories)
	return got, conflict
}

// approval is the condition of definitions in groups of the Kubernetes community; nil for all others.
func approval(crd *apiextensionsv1.CustomResourceDefinition) *apiextensionsv1.CustomResourceDefinitionCondition {
	if !apihelpers.IsProtectedCommunityGroup(crd.Spec.Group) {
		return nil
	}
	state, message := apihelpers.GetAPIApprovalState(crd.Annotations)
	c := &apiextensionsv1.CustomResourceDefinitionCondition{
		Type: apiextensionsv1.KubernetesAPIApprovalPolicyConformant, Status: apiextensionsv1.ConditionFalse, Message: message,
	}
	switch state {
	case apihelpers.APIApprovalInvalid:
		c.Reason = "InvalidAnnotation"
	case apihelpers.APIApprovalMissing:
		c.Reason = "MissingAnnotation"
	case apihelpers.APIApproved:
		c.Status, c.Reason = apiextensionsv1.ConditionTrue, "ApprovedAnnotation"
	case apihelpers.APIApprovalBypassed:
		c.Reason = "UnapprovedAnnotation"
	default:
		c.Status, c.Reason = apiextensionsv1.ConditionUnknown, "UnknownAnnotation"
	}
	return c
}
