package server

import (
	"context"
	"net/http"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"pintle.dev/api"
	"pintle.dev/resource"
)

func (q *request) update(ctx context.Context) (*api.Response, error) { return nil, errMethod() }
func (q *request) patch(ctx context.Context) (*api.Response, error)  { return nil, errMethod() }
func (q *request) delete(ctx context.Context) (*api.Response, error) { return nil, errMethod() }
func (q *request) deleteCollection(ctx context.Context) (*api.Response, error) {
	return nil, errMethod()
}
func (s *Server) subresource(ctx context.Context, r *api.Request, d *resource.Definition, v *resource.Version) (*api.Response, error) {
	return nil, errMethod()
}
func (s *Server) appendProtobuf(dst []byte, q *request, rec *api.Record) ([]byte, error) {
	return dst, notAcceptable("not served as protobuf")
}
func (s *Server) appendProtobufList(dst []byte, q *request, l *api.RecordList) ([]byte, error) {
	return dst, notAcceptable("not served as protobuf")
}
func (s *Server) appendProtobufFrame(dst []byte, q *request, typ string, e *api.Event) ([]byte, error) {
	return dst, notAcceptable("not served as protobuf")
}
func appendProtobufBookmark(dst []byte, q *request, rev api.Revision, end bool) ([]byte, error) {
	return dst, notAcceptable("not served as protobuf")
}
func appendProtobufFailure(dst []byte, st *metav1.Status) ([]byte, error) {
	return dst, notAcceptable("not served as protobuf")
}
func protobufObject(o any) ([]byte, error) { return nil, notAcceptable("not served as protobuf") }
func (q *request) protobufObject() (*resource.Object, error) {
	return nil, api.NewError(http.StatusUnsupportedMediaType, metav1.StatusReasonUnsupportedMediaType, "415: Unsupported Media Type")
}
func (q *request) customMismatch(t typeMeta) error {
	return api.BadRequest("the API version in the data (%s) does not match the expected API version (%s)", t.APIVersion, q.v.APIVersion())
}
func checkPatchType(q *request) error { return nil }
