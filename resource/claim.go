package resource

import (
	"pintle.dev/api"
)

// NewClaim makes the record that says what is held by whom: kind is a name such as "clusterip", value what is held.
// Putting it with an expected revision of 0 fails when someone else holds the value.
func NewClaim(kind, value string, holder api.Key) (*api.Record, error) {
	var b []byte
	b = append(b, `{"apiVersion":"pintle.dev/v1","kind":"Claim","metadata":`...)
	start := len(b)
	b = append(b, `{"name":`...)
	b = api.AppendString(b, value)
	b = append(b, `,"namespace":`...)
	b = api.AppendString(b, kind)
	b = append(b, `,"resourceVersion":`...)
	slot := len(b)
	b = append(b, api.Slot...)
	b = append(b, '}')
	end := len(b)
	b = append(b, `,"holder":{"namespace":`...)
	b = api.AppendString(b, holder.Namespace)
	b = append(b, `,"name":`...)
	b = api.AppendString(b, holder.Name)
	b = append(b, "}}"...)
	return api.NewRecord(api.Parts{
		Key:  ClaimKey(kind, value),
		JSON: b, Metadata: api.Span{Start: start, End: end}, Slot: slot,
	})
}

// ClaimKey is where a claim is kept.
func ClaimKey(kind, value string) api.Key { return api.Key{Namespace: kind, Name: value} }
