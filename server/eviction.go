package server

import (
	"context"
	"net/http"
	"slices"

	policyv1 "k8s.io/api/policy/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	metav1validation "k8s.io/apimachinery/pkg/apis/meta/v1/validation"
	"k8s.io/apimachinery/pkg/util/validation/field"

	"pintle.dev/api"
	"pintle.dev/resource"
)

// evict deletes a pod on behalf of somebody who wants it elsewhere: policy/v1 Eviction.
func (q *request) evict(ctx context.Context) (*api.Response, error) {
	if err := q.parseWriteOptions("CreateOptions"); err != nil {
		return nil, err
	}
	body, err := q.subresourceBody(&resource.Subresource{Kind: "Eviction", Body: func() any { return new(policyv1.Eviction) }})
	if err != nil {
		return nil, err
	}
	e := body.(*policyv1.Eviction)
	if e.Name != q.Key.Name {
		return nil, withWarnings(api.BadRequest("name in URL does not match name in Eviction object"), q.warnings)
	}
	options := e.DeleteOptions
	if options == nil {
		options = new(metav1.DeleteOptions)
	}
	if p := options.IgnoreStoreReadErrorWithClusterBreakingPotential; p != nil && *p {
		return nil, withWarnings(api.Invalid(policyv1.GroupName, "Eviction", e.Name, field.ErrorList{field.Invalid(
			field.NewPath("deleteOptions", "ignoreStoreReadErrorWithClusterBreakingPotential"), true, "can not be set for pod eviction, try after removing the option")}), q.warnings)
	}
	if asked := q.Query["dryRun"]; len(asked) > 0 && len(options.DryRun) > 0 && !slices.Equal(asked, options.DryRun) {
		return nil, withWarnings(api.BadRequest("Non-matching dry-run options in request and content: %v and %v", asked, options.DryRun), q.warnings)
	}
	q.options.dryRun = q.options.dryRun || len(options.DryRun) > 0
	if errs := metav1validation.ValidateDeleteOptions(options); len(errs) > 0 {
		rec, _, err := q.stored(ctx)
		switch {
		case err != nil:
			return nil, err
		case rec == nil:
			return nil, q.notFound() // which upstream finds out first
		}
		return nil, withWarnings(api.Invalid(metav1.GroupName, "DeleteOptions", "", errs), q.warnings)
	}
	return q.attempts(ctx, func(int) (*api.Response, error) {
		if _, err := q.deleteOnce(ctx, options); err != nil {
			return nil, err
		}
		return &api.Response{Code: http.StatusCreated, Object: created()}, nil
	})
}
