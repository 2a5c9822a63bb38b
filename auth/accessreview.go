package auth

import (
	"context"
	"fmt"
	"net/url"
	"strings"

	authorizationv1 "k8s.io/api/authorization/v1"
	"k8s.io/apimachinery/pkg/api/equality"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	metavalidation "k8s.io/apimachinery/pkg/apis/meta/v1/validation"
	"k8s.io/apimachinery/pkg/fields"
	"k8s.io/apimachinery/pkg/labels"
	"k8s.io/apimachinery/pkg/util/validation/field"

	"pintle.dev/api"
)

// ReviewAccess answers a SubjectAccessReview: whether somebody may do something. Nobody checks that there is such a user.
func (a *Authorizer) ReviewAccess(ctx context.Context, _ *api.Request, sar *authorizationv1.SubjectAccessReview) (*authorizationv1.SubjectAccessReview, error) {
	errs := checkSubject(&sar.Spec)
	if !isBlank(sar.ObjectMeta) {
		errs = append(errs, field.Invalid(field.NewPath("metadata"), sar.ObjectMeta, "must be empty"))
	}
	if len(errs) > 0 {
		return nil, invalidReview(errs)
	}
	var err error
	sar.Status, err = a.judge(ctx, subject(&sar.Spec), sar.Spec.ResourceAttributes, sar.Spec.NonResourceAttributes)
	return sar, err
}

// ReviewLocalAccess answers a LocalSubjectAccessReview: the same about one namespace, for those who may ask only there.
func (a *Authorizer) ReviewLocalAccess(ctx context.Context, _ *api.Request, sar *authorizationv1.LocalSubjectAccessReview) (*authorizationv1.LocalSubjectAccessReview, error) {
	errs := checkSubject(&sar.Spec)
	meta := sar.ObjectMeta
	meta.Namespace = ""
	if !isBlank(meta) {
		errs = append(errs, field.Invalid(field.NewPath("metadata"), sar.ObjectMeta, "must be empty except for namespace"))
	}
	if at := sar.Spec.ResourceAttributes; at != nil && at.Namespace != sar.Namespace {
		errs = append(errs, field.Invalid(field.NewPath("spec.resourceAttributes.namespace"), at.Namespace, "must match metadata.namespace"))
	}
	if at := sar.Spec.NonResourceAttributes; at != nil {
		errs = append(errs, field.Invalid(field.NewPath("spec.nonResourceAttributes"), at, "disallowed on this kind of request"))
	}
	if len(errs) > 0 {
		return nil, invalidReview(errs)
	}
	var err error
	sar.Status, err = a.judge(ctx, subject(&sar.Spec), sar.Spec.ResourceAttributes, sar.Spec.NonResourceAttributes)
	return sar, err
}

// ReviewOwnAccess answers a SelfSubjectAccessReview: whether the caller may do something.
func (a *Authorizer) ReviewOwnAccess(ctx context.Context, r *api.Request, sar *authorizationv1.SelfSubjectAccessReview) (*authorizationv1.SelfSubjectAccessReview, error) {
	errs := checkAttributes(sar.Spec.ResourceAttributes, sar.Spec.NonResourceAttributes)
	errs = append(errs, checkSelectors(sar.Spec.ResourceAttributes)...)
	if !isBlank(sar.ObjectMeta) {
		errs = append(errs, field.Invalid(field.NewPath("metadata"), sar.ObjectMeta, "must be empty"))
	}
	if len(errs) > 0 {
		return nil, invalidReview(errs)
	}
	var err error
	sar.Status, err = a.judge(ctx, r.User, sar.Spec.ResourceAttributes, sar.Spec.NonResourceAttributes)
	return sar, err
}

// ReviewOwnRules answers a SelfSubjectRulesReview: what the caller may do in a namespace. What a node may do hangs on
// the objects it is about, so that no rules say it.
func (a *Authorizer) ReviewOwnRules(_ context.Context, r *api.Request, srr *authorizationv1.SelfSubjectRulesReview) (*authorizationv1.SelfSubjectRulesReview, error) {
	if srr.Spec.Namespace == "" {
		return nil, api.BadRequest("no namespace on request")
	}
	st := authorizationv1.SubjectRulesReviewStatus{
		ResourceRules: []authorizationv1.ResourceRule{}, NonResourceRules: []authorizationv1.NonResourceRule{},
	}
	for rule := range rulesOf(r.User) {
		st.ResourceRules = append(st.ResourceRules, rule.shown())
	}
	for _, paths := range pathsOf(r.User) {
		verb := "get"
		if paths[0] == everyPath {
			verb = "*"
		}
		st.NonResourceRules = append(st.NonResourceRules, authorizationv1.NonResourceRule{Verbs: []string{verb}, NonResourceURLs: paths})
	}
	if _, ok := NodeOf(r.User); ok {
		st.Incomplete, st.EvaluationError = true, "node authorizer does not support user rule resolution"
	}
	return &authorizationv1.SelfSubjectRulesReview{Status: st}, nil
}

// shown is the rule as rule reviews show it.
func (r rule) shown() authorizationv1.ResourceRule {
	all := []string{"*"}
	s := authorizationv1.ResourceRule{Verbs: all, APIGroups: all, Resources: all}
	if r.verbs != nil {
		s.Verbs = nil
		for _, v := range r.verbs {
			s.Verbs = append(s.Verbs, string(v))
		}
	}
	if r.resources != nil {
		s.APIGroups, s.Resources = []string{r.group}, r.resources
	}
	return s
}

// subject is the user that a review is about.
func subject(spec *authorizationv1.SubjectAccessReviewSpec) *api.User {
	u := &api.User{Name: spec.User, UID: spec.UID, Groups: spec.Groups}
	for k, v := range spec.Extra {
		if u.Extra == nil {
			u.Extra = map[string][]string{}
		}
		u.Extra[k] = v
	}
	return u
}

// judge decides about what the attributes of a review describe; one of them is nil.
func (a *Authorizer) judge(ctx context.Context, u *api.User, at *authorizationv1.ResourceAttributes, path *authorizationv1.NonResourceAttributes) (authorizationv1.SubjectAccessReviewStatus, error) {
	if at == nil {
		return authorizationv1.SubjectAccessReviewStatus{Allowed: mayPath(u, path.Verb, path.Path)}, nil
	}
	r := &api.Request{
		User: u, Verb: api.Verb(at.Verb), Resource: api.Resource{Group: at.Group, Name: at.Resource}, Version: at.Version,
		Subresource: at.Subresource, Key: api.Key{Namespace: at.Namespace, Name: at.Name},
	}
	var problems []string
	if s := at.FieldSelector; s != nil {
		text, problem := fieldSelector(s)
		r.Query, problems = url.Values{"fieldSelector": {text}}, append(problems, problem...)
	}
	if s := at.LabelSelector; s != nil {
		problems = append(problems, labelSelectorProblem(s)...)
	}
	allowed, why, err := a.decide(ctx, r)
	return authorizationv1.SubjectAccessReviewStatus{Allowed: allowed, Reason: why, EvaluationError: strings.Join(problems, "; ")}, err
}

// fieldSelector is what a review's field selector demands as text, as far as it can be understood: what it demands
// besides may only widen what is asked for.
func fieldSelector(s *authorizationv1.FieldSelectorAttributes) (text string, problem []string) {
	if s.RawSelector != "" {
		if _, err := fields.ParseSelector(s.RawSelector); err != nil {
			return "", ignored("fieldSelector", 0)
		}
		return s.RawSelector, nil
	}
	var known []fields.Selector
	for _, q := range s.Requirements {
		switch {
		case len(q.Values) != 1:
		case q.Operator == metav1.FieldSelectorOpIn:
			known = append(known, fields.OneTermEqualSelector(q.Key, q.Values[0]))
		case q.Operator == metav1.FieldSelectorOpNotIn:
			known = append(known, fields.OneTermNotEqualSelector(q.Key, q.Values[0]))
		}
	}
	if len(known) < len(s.Requirements) {
		problem = ignored("fieldSelector", len(known))
	}
	return fields.AndSelectors(known...).String(), problem
}

// labelSelectorProblem says when a review's label selector cannot be understood. No rule looks at labels.
func labelSelectorProblem(s *authorizationv1.LabelSelectorAttributes) []string {
	if s.RawSelector != "" {
		if _, err := labels.Parse(s.RawSelector); err != nil {
			return ignored("labelSelector", 0)
		}
		return nil
	}
	known := 0
	for _, q := range s.Requirements {
		one := &metav1.LabelSelector{MatchExpressions: []metav1.LabelSelectorRequirement{q}}
		if _, err := metav1.LabelSelectorAsSelector(one); err == nil {
			known++
		}
	}
	if known < len(s.Requirements) {
		return ignored("labelSelector", known)
	}
	return nil
}

// ignored says that a selector was not understood, or that only some of its requirements were.
func ignored(selector string, known int) []string {
	how := "ignored"
	if known > 0 {
		how = "partially ignored"
	}
	return []string{fmt.Sprintf("spec.resourceAttributes.%s %s due to parse error", selector, how)}
}

// invalidReview refuses a review. Upstream knows the kind of none by then.
func invalidReview(errs field.ErrorList) error {
	return api.Invalid(api.SubjectAccessReviews.Group, "", "", errs)
}

// isBlank reports whether metadata says nothing but who set which fields.
func isBlank(m metav1.ObjectMeta) bool {
	m.ManagedFields = nil
	return equality.Semantic.DeepEqual(m, metav1.ObjectMeta{})
}

func checkSubject(spec *authorizationv1.SubjectAccessReviewSpec) field.ErrorList {
	errs := checkAttributes(spec.ResourceAttributes, spec.NonResourceAttributes)
	if spec.User == "" && len(spec.Groups) == 0 {
		errs = append(errs, field.Invalid(field.NewPath("spec", "user"), spec.User, "at least one of user or group must be specified"))
	}
	return append(errs, checkSelectors(spec.ResourceAttributes)...)
}

func checkAttributes(at *authorizationv1.ResourceAttributes, path *authorizationv1.NonResourceAttributes) (errs field.ErrorList) {
	spec := field.NewPath("spec")
	if at != nil && path != nil {
		errs = append(errs, field.Invalid(spec.Child("nonResourceAttributes"), path, "cannot be specified in combination with resourceAttributes"))
	}
	if at == nil && path == nil {
		errs = append(errs, field.Invalid(spec.Child("resourceAttributes"), path, "exactly one of nonResourceAttributes or resourceAttributes must be specified"))
	}
	return errs
}

// checkSelectors checks the selectors of what is asked about. Operators that are not known pass: newer clients may send
// some, and are told that they were ignored.
func checkSelectors(at *authorizationv1.ResourceAttributes) (errs field.ErrorList) {
	if at == nil {
		return nil
	}
	path := field.NewPath("spec.resourceAttributes")
	if s := at.FieldSelector; s != nil {
		path := path.Child("fieldSelector")
		errs = append(errs, checkForms(path, s.RawSelector, len(s.Requirements))...)
		for i, q := range s.Requirements {
			options := metavalidation.FieldSelectorValidationOptions{AllowUnknownOperatorInRequirement: true}
			errs = append(errs, metavalidation.ValidateFieldSelectorRequirement(q, options, path.Child("requirements").Index(i))...)
		}
	}
	if s := at.LabelSelector; s != nil {
		path := path.Child("labelSelector")
		errs = append(errs, checkForms(path, s.RawSelector, len(s.Requirements))...)
		for i, q := range s.Requirements {
			options := metavalidation.LabelSelectorValidationOptions{AllowUnknownOperatorInRequirement: true}
			errs = append(errs, metavalidation.ValidateLabelSelectorRequirement(q, options, path.Child("requirements").Index(i))...)
		}
	}
	return errs
}

// checkForms demands one of the two forms of a selector.
func checkForms(path *field.Path, raw string, requirements int) field.ErrorList {
	switch {
	case raw != "" && requirements > 0:
		return field.ErrorList{field.Invalid(path.Child("rawSelector"), raw, "may not specified at the same time as requirements")}
	case raw == "" && requirements == 0:
		return field.ErrorList{field.Required(path.Child("requirements"), fmt.Sprintf("when %s is specified, requirements or rawSelector is required", path))}
	}
	return nil
}
