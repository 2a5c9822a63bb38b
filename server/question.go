package server

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"reflect"
	"sync"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"

	"pintle.dev/api"
	"pintle.dev/object"
	"pintle.dev/resource"
)

// Question is an object that is created for its answer and never kept: a TokenReview, a TokenRequest. Admission is not
// asked about it: no plugin looks at such kinds. (Upstream asks its webhooks and policies.)
type Question interface {
	runtime.Object
	metav1.Object
}

// Answer answers a Question, which it may change and return.
type Answer func(ctx context.Context, r *api.Request, asked Question) (Question, error)

// Answering is the Answer to questions of one type.
func Answering[Q Question](answer func(ctx context.Context, r *api.Request, asked Q) (Q, error)) Answer {
	return func(ctx context.Context, r *api.Request, asked Question) (Question, error) {
		a, ok := asked.(Q)
		if !ok {
			return nil, fmt.Errorf("asked %T of what answers %T", asked, a)
		}
		return answer(ctx, r, a)
	}
}

// ask answers a create of a transient kind, or, with sub, of a subresource that is a question.
func (q *request) ask(ctx context.Context, answer Answer, sub *resource.Subresource) (*api.Response, error) {
	if q.Verb != api.Create {
		return nil, errMethod()
	}
	if err := q.parseWriteOptions("CreateOptions"); err != nil {
		return nil, err
	}
	asked, err := q.question(sub)
	if err != nil {
		return nil, err
	}
	gv := schema.GroupVersion{Group: q.v.Group, Version: q.v.Name}
	kind := q.kind()
	if sub != nil {
		gv, kind = schema.GroupVersion{Group: sub.Group, Version: sub.Version}, sub.Kind
	}
	if err := q.ownQuestion(asked, gv.String()); err != nil {
		return nil, err
	}
	answered, err := answer(ctx, q.Request, asked)
	if err != nil {
		return nil, withWarnings(err, q.warnings)
	}
	answered.GetObjectKind().SetGroupVersionKind(gv.WithKind(kind))
	return &api.Response{Code: http.StatusCreated, Object: answered, Warnings: q.warnings}, nil
}

// question decodes what is asked.
func (q *request) question(sub *resource.Subresource) (Question, error) {
	var body any
	if sub != nil {
		b, err := q.subresourceBody(sub)
		if err != nil {
			return nil, err
		}
		body = b
	} else {
		o, err := q.newObject()
		if err != nil {
			return nil, err
		}
		if err := q.scope(o.Meta); err != nil {
			return nil, withWarnings(err, q.warnings)
		}
		body = o.Value
	}
	asked, ok := body.(Question)
	if !ok {
		return nil, fmt.Errorf("%T is no question: it has no metadata", body)
	}
	return asked, nil
}

// ignoreAnswer is what of a question is not the client's to say.
var ignoreAnswer = object.FieldPaths("metadata", "status")

// ownQuestion shows in managedFields which fields the client set, as upstream does though the object is never stored.
func (q *request) ownQuestion(asked Question, apiVersion string) error {
	asked.SetManagedFields(nil)
	before, err := emptyDocument(reflect.TypeOf(asked).Elem())
	if err != nil {
		return err
	}
	after, err := document(asked)
	if err != nil {
		return err
	}
	by := object.Write{
		Owner:  api.Owner{Manager: q.options.manager, APIVersion: apiVersion, Subresource: q.Subresource, Time: now().Unix()},
		Ignore: ignoreAnswer,
	}
	owners, err := object.Own(nil, before, after, nil, by)
	if err != nil {
		return err
	}
	asked.SetManagedFields(resource.ManagedFields(owners))
	return nil
}

// emptyDocuments holds the document of each type's empty object, by reflect.Type.
var emptyDocuments sync.Map

func emptyDocument(t reflect.Type) (*object.Value, error) {
	if d, ok := emptyDocuments.Load(t); ok {
		return d.(*object.Value), nil
	}
	d, err := document(reflect.New(t).Interface())
	if err == nil {
		emptyDocuments.Store(t, d)
	}
	return d, err
}

func document(o any) (*object.Value, error) {
	b, err := json.Marshal(o)
	if err != nil {
		return nil, fmt.Errorf("encoding %T: %w", o, err)
	}
	return object.Parse(b)
}
