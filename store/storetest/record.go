package storetest

import (
	"encoding/json"
	"fmt"
	"strings"

	"pintle.dev/api"
)

// Object is what the tests store: a small ConfigMap-like object.
type Object struct {
	Key    api.Key
	Data   string
	UID    string
	Labels []api.Label
	Index  []api.Index
	Owners api.Owners
}

// Record makes an unstamped record of the object.
func (o Object) Record() *api.Record {
	var b strings.Builder
	b.WriteString(`{"apiVersion":"v1","kind":"ConfigMap","metadata":`)
	start := b.Len()
	b.WriteString(`{"name":` + quote(o.Key.Name))
	if o.Key.Namespace != "" {
		b.WriteString(`,"namespace":` + quote(o.Key.Namespace))
	}
	b.WriteString(`,"resourceVersion":`)
	slot := b.Len()
	b.WriteString(api.Slot + `}`)
	end := b.Len()
	b.WriteString(`,"data":{"v":` + quote(o.Data) + `}}`)
	rec, err := api.NewRecord(api.Parts{
		Key: o.Key, UID: o.UID, JSON: []byte(b.String()), Metadata: api.Span{Start: start, End: end}, Slot: slot,
		Definition: 1, Labels: o.Labels, Index: o.Index, Owners: o.Owners,
	})
	if err != nil {
		panic(err) // the parts are made above
	}
	return rec
}

// Data is the value an Object's record carries.
func Data(rec *api.Record) string {
	var o struct{ Data struct{ V string } }
	if err := json.Unmarshal(rec.JSON(), &o); err != nil {
		panic(fmt.Sprintf("record of %q: %v", rec.Key(), err))
	}
	return o.Data.V
}

func quote(s string) string { return string(api.AppendString(nil, s)) }
