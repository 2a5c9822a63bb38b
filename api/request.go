package api

import (
	"context"
	"net/http"
	"net/url"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

// Verb is what a request does, in the words of authorization.
type Verb string

// The verbs of the API. Connecting to a subresource (exec, portforward, log) is a Get or Create of it.
const (
	Get              Verb = "get"
	List             Verb = "list"
	Watch            Verb = "watch"
	Create           Verb = "create"
	Update           Verb = "update"
	Patch            Verb = "patch"
	Delete           Verb = "delete"
	DeleteCollection Verb = "deletecollection"
)

// User is who asks: what authentication established.
type User struct {
	Name   string
	UID    string
	Groups []string
	Extra  map[string][]string
}

// InGroup reports whether the user belongs to the group.
func (u *User) InGroup(group string) bool {
	for _, g := range u.Groups {
		if g == group {
			return true
		}
	}
	return false
}

// Request is one call of the API. Resource and Version are as requested: authorization, admission and managedFields
// speak of them, whatever version is stored.
type Request struct {
	Verb        Verb
	Resource    Resource
	Version     string // of the group, as requested: "v1"
	Subresource string // "status", "scale", "binding", ...; empty for the object itself
	Key         Key    // Name is empty for list, create and deletecollection
	User        *User

	Body        []byte // as sent
	ContentType string // media type of Body, without parameters
	Object      any    // in place of Body, from in-process callers: a pointer to the typed object, frozen by the call
	Base        *Base  // what an in-process caller started from; nil when it does not say
	Query       url.Values
	UserAgent   string // its first part names the field manager when the query does not

	HTTP *http.Request // the request behind an upgrade (exec, portforward); nil in process
}

// Base is a stored version of an object as an in-process caller has decoded it. A write that finds this version in place
// takes Object over in place of decoding the record once more. Neither side changes it.
type Base struct {
	Record *Record
	Object any // a pointer to the typed object, exactly as Record decodes
}

// Response is the answer to a Request. Exactly one of Record, List, Watch, Object and Handler is set.
type Response struct {
	Code     int // HTTP status; 0 stands for 200
	Warnings []string

	Record  *Record      // one stored object, shown in the requested version
	List    *RecordList  // list
	Watch   Stream       // watch
	Object  any          // what is not stored: *metav1.Status, *autoscalingv1.Scale, ...; has its TypeMeta set
	Handler http.Handler // takes the connection over: log, exec, portforward
}

// RecordList is a page of one snapshot.
type RecordList struct {
	Records   []*Record
	Revision  Revision // of the snapshot
	Continue  string   // token of the next page; empty on the last
	Remaining *int64   // objects after this page, where known
}

// Stream is an open watch: the events of one resource that pass the request's selectors, in order, each once.
// An event whose Old passes but whose New does not is given as a deletion, and the other way round as an addition.
type Stream interface {
	// Next waits for events. It returns none and no error when only the revision has advanced (a bookmark is due)
	// and an *Error with code 410 when the log no longer reaches back to the stream's position.
	Next(ctx context.Context) ([]Event, error)
	// Revision is the position up to which everything has been delivered.
	Revision() Revision
	// Initial reports whether events still to come before InitialEnd are the snapshot asked for by sendInitialEvents.
	Initial() bool
	Close()
}

// Success is the Status that answers a request which has no object to return.
func Success(details *metav1.StatusDetails) *metav1.Status {
	return &metav1.Status{
		TypeMeta: metav1.TypeMeta{APIVersion: "v1", Kind: "Status"},
		Status:   metav1.StatusSuccess,
		Details:  details,
	}
}
