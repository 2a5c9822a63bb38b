package server

import (
	"bytes"
	"encoding/binary"
	"encoding/json"
	"fmt"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"

	"pintle.dev/api"
	"pintle.dev/resource"
	"pintle.dev/server/accept"
)

// Protobuf, as the API uses it: "k8s\0", then a runtime.Unknown that holds an object's apiVersion, kind and message.
// Messages of k8s.io/api encode themselves; what is around them (lists, watch events) is written here, field by field,
// so that a list need not be built in memory to be sent.

var protobufMagic = []byte("k8s\x00")

// protoMessage is what the types of k8s.io/api do.
type protoMessage interface {
	Marshal() ([]byte, error)
	Unmarshal([]byte) error
}

// appendField appends a length-delimited field of a message.
func appendField(dst []byte, number int, b []byte) []byte {
	dst = binary.AppendUvarint(dst, uint64(number)<<3|2)
	dst = binary.AppendUvarint(dst, uint64(len(b)))
	return append(dst, b...)
}

// appendUnknown appends a runtime.Unknown: fields typeMeta (1) and raw (2), and the two empty encodings.
func appendUnknown(dst []byte, apiVersion, kind string, raw []byte) []byte {
	t := appendField(appendField(nil, 1, []byte(apiVersion)), 2, []byte(kind))
	dst = appendField(append(dst, protobufMagic...), 1, t)
	dst = appendField(dst, 2, raw)
	return appendField(appendField(dst, 3, nil), 4, nil)
}

// message is rec as the protobuf message of its type, or of its metadata alone, with its managedFields.
func (q *request) message(f form, rec *api.Record, rev api.Revision) ([]byte, error) {
	if f.partial() {
		return q.partialMessage(rec, rev)
	}
	if _, own := q.v.Codec.(resource.MessageCodec); !own && !q.v.Storage && !q.v.AsStored {
		return nil, accept.Only(accept.TypeJSON, accept.TypeYAML)
	}
	b, err := q.s.appendObject(nil, q.d, q.v, rec, rev, false)
	if err != nil {
		return nil, err
	}
	m, _, err := q.readMessage(b)
	if err != nil {
		return nil, errStored(q.d, rec, err)
	}
	return m.Marshal()
}

func (q *request) partialMessage(rec *api.Record, rev api.Revision) ([]byte, error) {
	b, err := q.s.appendMetadata(nil, q.d, q.v, rec, rev)
	if err != nil {
		return nil, err
	}
	var p metav1.PartialObjectMetadata
	if err := json.Unmarshal(b, &p.ObjectMeta); err != nil {
		return nil, errStored(q.d, rec, err)
	}
	return p.Marshal()
}

// messageType is what an object, or with list set a list of them, says it is in the form that was asked for.
func (q *request) messageType(f form, list bool) (apiVersion, kind string) {
	switch {
	case f.partial() && list:
		return "meta.k8s.io/" + f.version, "PartialObjectMetadataList"
	case f.partial():
		return "meta.k8s.io/" + f.version, "PartialObjectMetadata"
	case list:
		return q.v.APIVersion(), q.listKind()
	}
	return q.v.APIVersion(), q.kind()
}

// readMessage reads the JSON of the request's version into what encodes itself as protobuf.
func (q *request) readMessage(data []byte) (protoMessage, *metav1.ObjectMeta, error) {
	var o *resource.Object
	var err error
	if c, ok := q.v.Codec.(resource.MessageCodec); ok {
		v := c.NewMessage()
		if err = json.Unmarshal(data, v); err == nil {
			o, err = resource.TypedObject(v)
		}
	} else {
		o, _, err = q.v.Codec.Decode(data, true)
	}
	if err != nil {
		return nil, nil, err
	}
	m, ok := o.Value.(protoMessage)
	if !ok {
		return nil, nil, accept.Only(accept.TypeJSON, accept.TypeYAML)
	}
	return m, o.Meta, nil
}

func (s *Server) appendProtobuf(dst []byte, q *request, f form, rec *api.Record) ([]byte, error) {
	raw, err := q.message(f, rec, rec.Revision())
	if err != nil {
		return dst, err
	}
	apiVersion, kind := q.messageType(f, false)
	return appendUnknown(dst, apiVersion, kind, raw), nil
}

// appendProtobufList appends a list message: metadata (1) and items (2), which is how all lists are numbered.
func (s *Server) appendProtobufList(dst []byte, q *request, f form, l *api.RecordList) ([]byte, error) {
	meta := metav1.ListMeta{ResourceVersion: l.Revision.String(), Continue: l.Continue, RemainingItemCount: l.Remaining}
	m, err := meta.Marshal()
	if err != nil {
		return dst, fmt.Errorf("encoding a list's metadata: %w", err)
	}
	raw := appendField(nil, 1, m)
	for _, rec := range l.Records {
		item, err := q.message(f, rec, rec.Revision())
		if err != nil {
			return dst, err
		}
		raw = appendField(raw, 2, item)
	}
	apiVersion, kind := q.messageType(f, true)
	return appendUnknown(dst, apiVersion, kind, raw), nil
}

// appendEvent appends a watch event: its length in four bytes, then a bare WatchEvent message of type (1) and object (2), a
// RawExtension whose raw (1) is a whole encoded object.
func appendEvent(dst []byte, typ string, object []byte) []byte {
	e := appendField(nil, 1, []byte(typ))
	e = appendField(e, 2, appendField(nil, 1, object))
	dst = binary.BigEndian.AppendUint32(dst, uint32(len(e)))
	return append(dst, e...)
}

func (s *Server) appendProtobufFrame(dst []byte, q *request, f form, typ string, e *api.Event) ([]byte, error) {
	raw, err := q.message(f, e.Record(), e.Revision)
	if err != nil {
		return dst, err
	}
	apiVersion, kind := q.messageType(f, false)
	return appendEvent(dst, typ, appendUnknown(nil, apiVersion, kind, raw)), nil
}

func appendProtobufBookmark(dst []byte, q *request, f form, rev api.Revision, end bool) ([]byte, error) {
	m, meta, err := q.bookmark(f)
	if err != nil {
		return dst, err
	}
	meta.ResourceVersion = rev.String()
	if end {
		meta.Annotations = map[string]string{metav1.InitialEventsAnnotationKey: "true"}
	}
	raw, err := m.Marshal()
	if err != nil {
		return dst, fmt.Errorf("encoding a bookmark: %w", err)
	}
	apiVersion, kind := q.messageType(f, false)
	return appendEvent(dst, "BOOKMARK", appendUnknown(nil, apiVersion, kind, raw)), nil
}

// bookmark is an object of which nothing is set, and its metadata.
func (q *request) bookmark(f form) (protoMessage, *metav1.ObjectMeta, error) {
	if f.partial() {
		p := new(metav1.PartialObjectMetadata)
		return p, &p.ObjectMeta, nil
	}
	return q.readMessage([]byte("{}"))
}

func appendProtobufFailure(dst []byte, st *metav1.Status) ([]byte, error) {
	b, err := protobufObject(st)
	if err != nil {
		return dst, err
	}
	return appendEvent(dst, "ERROR", b), nil
}

// protobufObject encodes what is not stored: a Status, a Scale.
func protobufObject(o any) ([]byte, error) {
	m, ok := o.(protoMessage)
	t, typed := o.(runtime.Object)
	if !ok || !typed {
		return nil, accept.Only(accept.TypeJSON, accept.TypeYAML)
	}
	raw, err := m.Marshal()
	if err != nil {
		return nil, fmt.Errorf("encoding %T: %w", o, err)
	}
	gvk := t.GetObjectKind().GroupVersionKind()
	return appendUnknown(nil, gvk.GroupVersion().String(), gvk.Kind, raw), nil
}

// decodeProtobuf reads a message into a pointer to its type.
func decodeProtobuf(data []byte, into any) error {
	u, err := unwrap(data)
	if err != nil {
		return err
	}
	m, ok := into.(protoMessage)
	if !ok {
		return api.BadRequest("%T cannot be read from protobuf", into)
	}
	if err := m.Unmarshal(u.Raw); err != nil {
		return api.BadRequest("%s in version %q cannot be read from protobuf: %s", u.Kind, u.APIVersion, err)
	}
	return nil
}

func unwrap(data []byte) (*runtime.Unknown, error) {
	body, ok := bytes.CutPrefix(data, protobufMagic)
	if !ok {
		return nil, api.BadRequest("provided data does not appear to be a protobuf message, expected prefix %v", protobufMagic)
	}
	u := new(runtime.Unknown)
	if err := u.Unmarshal(body); err != nil {
		return nil, api.BadRequest("the body is no protobuf message: %s", err)
	}
	return u, nil
}

// protobufObject decodes a body of the request's kind.
func (q *request) protobufObject() (*resource.Object, error) {
	u, err := unwrap(q.Body)
	if err != nil {
		return nil, err
	}
	if err := q.mismatch(nil, typeMeta{APIVersion: u.APIVersion, Kind: u.Kind}); err != nil {
		return nil, err
	}
	if err := resource.CheckMessage(u.Raw); err != nil {
		return nil, q.unhandled(typeMeta{APIVersion: u.APIVersion, Kind: u.Kind}, err.Error())
	}
	if c, ok := q.v.Codec.(resource.MessageCodec); ok {
		m := c.NewMessage()
		if err := decodeProtobuf(q.Body, m); err != nil {
			return nil, err
		}
		data, err := json.Marshal(m)
		if err != nil {
			return nil, fmt.Errorf("converting %s: %w", q.kind(), err)
		}
		o, _, err := q.v.Codec.Decode(data, true)
		return o, err
	}
	o, _, err := q.v.Codec.Decode([]byte("{}"), true)
	if err != nil {
		return nil, err
	}
	m, ok := o.Value.(protoMessage)
	if !ok || !resource.Fits(q.v.Codec, o) {
		return nil, api.BadRequest("%s in version %q cannot be read from protobuf; send JSON", q.kind(), q.v.APIVersion())
	}
	if err := m.Unmarshal(u.Raw); err != nil {
		return nil, q.unhandled(typeMeta{APIVersion: u.APIVersion, Kind: u.Kind}, err.Error())
	}
	return resource.TypedObject(o.Value)
}
