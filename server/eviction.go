package server

import (
	"context"
	"net/http"

	policyv1 "k8s.io/api/policy/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

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
	q.options.dryRun = q.options.dryRun || len(options.DryRun) > 0
	return q.attempts(ctx, func(int) (*api.Response, error) {
		if _, err := q.deleteOnce(ctx, options); err != nil {
			return nil, err
		}
		return &api.Response{Code: http.StatusCreated, Object: created()}, nil
	})
}
