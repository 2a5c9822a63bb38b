package client

import (
	"context"
	"fmt"

	"github.com/go-json-experiment/json"
	jsonv1 "github.com/go-json-experiment/json/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"

	"pintle.dev/api"
)

// Kind is typed access to a resource whose objects are Go values of type T, usually of k8s.io/api. *T has TypeMeta and
// ObjectMeta.
//
// Reads decode; writes return the stored record, so that a caller who needs only its revision or UID pays for nothing
// else. An object given to a write belongs to the API from then on: neither side changes it afterwards.
type Kind[T any] struct {
	Resource api.Resource
	Version  string // of the API to write in: "v1"; "" for the preferred one
}

// Of returns typed access to a resource: client.Of[corev1.Pod](api.Pods, "v1").
func Of[T any](r api.Resource, version string) Kind[T] { return Kind[T]{r, version} }

// encoding/json's semantics, but names match in case, as upstream decodes, and what is read is not read before to see
// whether it is JSON: a record is.
var decodeOptions = json.JoinOptions(
	jsonv1.DefaultOptionsV1(),
	json.MatchCaseInsensitiveNames(false),
	jsonv1.ReportErrorsWithLegacySemantics(false),
)

// Decode reads a record into a new T. Members T does not have are ignored, so T may be a projection: a small struct of
// just the fields that are wanted, at a third of the cost of the whole object.
func Decode[T any](rec *api.Record) (*T, error) {
	v := new(T)
	if err := json.Unmarshal(rec.JSON(), v, decodeOptions); err != nil {
		return nil, fmt.Errorf("decoding %s as %T: %w", rec.Key(), v, err)
	}
	return v, nil
}

// DecodeMetadata reads only the metadata of a record, into a new T: metav1.ObjectMeta or a projection of it.
func DecodeMetadata[T any](rec *api.Record) (*T, error) {
	v := new(T)
	if err := json.Unmarshal(rec.Metadata(), v, decodeOptions); err != nil {
		return nil, fmt.Errorf("decoding the metadata of %s as %T: %w", rec.Key(), v, err)
	}
	return v, nil
}

// Decode reads a record of the resource.
func (k Kind[T]) Decode(rec *api.Record) (*T, error) {
	v, err := Decode[T](rec)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", k.Resource, err)
	}
	return v, nil
}

// Get returns the newest version of an object; a 404 when there is none.
func (k Kind[T]) Get(ctx context.Context, c Client, key api.Key) (*T, error) {
	rec, err := c.Get(ctx, k.Resource, key)
	if err != nil {
		return nil, err
	}
	return k.Decode(rec)
}

// In returns the object in a view, or nil when there is none.
func (k Kind[T]) In(v View, key api.Key) (*T, error) {
	rec := v.Get(k.Resource, key)
	if rec == nil {
		return nil, nil
	}
	return k.Decode(rec)
}

// List returns what matches, from one snapshot.
func (k Kind[T]) List(ctx context.Context, c Client, o Options) ([]*T, error) {
	l, err := c.List(ctx, k.Resource, o)
	if err != nil {
		return nil, err
	}
	items := make([]*T, len(l.Records))
	for i, rec := range l.Records {
		if items[i], err = k.Decode(rec); err != nil {
			return nil, err
		}
	}
	return items, nil
}

// Create stores a new object.
func (k Kind[T]) Create(ctx context.Context, c Client, o *T) (*api.Record, error) {
	return k.write(ctx, c, Change{Verb: api.Create, Object: o})
}

// Update replaces an object; 409 when the resourceVersion it states is not the current one.
func (k Kind[T]) Update(ctx context.Context, c Client, o *T) (*api.Record, error) {
	return k.write(ctx, c, Change{Verb: api.Update, Object: o})
}

// UpdateStatus replaces an object's status and leaves everything else alone.
func (k Kind[T]) UpdateStatus(ctx context.Context, c Client, o *T) (*api.Record, error) {
	return k.write(ctx, c, Change{Verb: api.Update, Object: o, Subresource: "status"})
}

// UpdateStatusOf is UpdateStatus for a caller who still has the record (or nil) that o was made from, and old, exactly
// as the record decodes.
func (k Kind[T]) UpdateStatusOf(ctx context.Context, c Client, rec *api.Record, old, o *T) (*api.Record, error) {
	ch := Change{Verb: api.Update, Object: o, Subresource: "status"}
	if rec != nil {
		ch.Base = &api.Base{Record: rec, Object: old}
	}
	return k.write(ctx, c, ch)
}

// UpdateSubresource writes an object through a subresource that takes the kind itself: "finalize" of a namespace.
func (k Kind[T]) UpdateSubresource(ctx context.Context, c Client, subresource string, o *T) (*api.Record, error) {
	return k.write(ctx, c, Change{Verb: api.Update, Object: o, Subresource: subresource})
}

func (k Kind[T]) write(ctx context.Context, c Client, ch Change) (*api.Record, error) {
	m, ok := ch.Object.(metav1.Object)
	if !ok {
		return nil, fmt.Errorf("writing %s: %T has no metadata", k.Resource, ch.Object)
	}
	ch.Resource, ch.Version = k.Resource, k.Version
	ch.Key = api.Key{Namespace: m.GetNamespace(), Name: m.GetName()}
	return c.Commit(ctx, ch)
}

// Patch changes an object as the JSON of a patch says.
func (k Kind[T]) Patch(ctx context.Context, c Client, key api.Key, p Patch) (*api.Record, error) {
	return c.Commit(ctx, Change{
		Verb: api.Patch, Resource: k.Resource, Version: k.Version, Subresource: p.Subresource, Key: key,
		Patch: p.Body, PatchType: p.Type,
	})
}

// Delete deletes an object; options may be nil.
func (k Kind[T]) Delete(ctx context.Context, c Client, key api.Key, options *metav1.DeleteOptions) (*api.Record, error) {
	return c.Commit(ctx, Change{Verb: api.Delete, Resource: k.Resource, Version: k.Version, Key: key, Delete: options})
}

// Patch is a change of an object in one of the patch languages.
type Patch struct {
	Type        types.PatchType
	Body        []byte
	Subresource string
}

// MergePatch encodes v, a value that marshals to the JSON merge patch (RFC 7386) wanted.
func MergePatch(v any) (Patch, error) {
	b, err := json.Marshal(v, jsonv1.DefaultOptionsV1())
	if err != nil {
		return Patch{}, fmt.Errorf("encoding a merge patch: %w", err)
	}
	return Patch{Type: types.MergePatchType, Body: b}, nil
}

// IfUID makes a deletion conditional on the object's identity: a namesake created since is left alone.
func IfUID(uid types.UID) *metav1.DeleteOptions {
	return &metav1.DeleteOptions{Preconditions: &metav1.Preconditions{UID: &uid}}
}

// KeyOf is the key of an object.
func KeyOf(o metav1.Object) api.Key { return api.Key{Namespace: o.GetNamespace(), Name: o.GetName()} }
