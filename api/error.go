package api

import (
	"errors"
	"fmt"
	"net/http"
	"slices"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/util/validation/field"
)

// Error is a failure as the API reports it: the Status a client gets, and the cause, which only the log gets.
type Error struct {
	Status metav1.Status
	Err    error
}

// Error is the status message, followed by the cause where there is one that the message does not consist of.
func (e *Error) Error() string {
	if e.Err != nil && e.Err.Error() != e.Status.Message {
		return e.Status.Message + ": " + e.Err.Error()
	}
	return e.Status.Message
}

// Unwrap returns the cause.
func (e *Error) Unwrap() error { return e.Err }

// AsError finds the *Error in err's chain; any other error becomes an internal error (500) that wraps it.
func AsError(err error) *Error {
	var e *Error
	if errors.As(err, &e) {
		return e
	}
	var s apierrors.APIStatus
	if errors.As(err, &s) {
		return &Error{Status: s.Status()}
	}
	return &Error{Status: fromStatus(apierrors.NewInternalError(err)).Status, Err: err}
}

func fromStatus(s *apierrors.StatusError) *Error {
	s.ErrStatus.Kind, s.ErrStatus.APIVersion = "Status", "v1"
	return &Error{Status: s.ErrStatus}
}

// NotFound is a 404 for an object.
func NotFound(r Resource, name string) *Error {
	return fromStatus(apierrors.NewNotFound(r.GroupResource(), name))
}

// AlreadyExists is a 409 for a create.
func AlreadyExists(r Resource, name string) *Error {
	return fromStatus(apierrors.NewAlreadyExists(r.GroupResource(), name))
}

// Conflict is a 409 for a write whose precondition no longer holds.
func Conflict(r Resource, name string, err error) *Error {
	return fromStatus(apierrors.NewConflict(r.GroupResource(), name, err))
}

// maxCauses and maxCausesText, of bytes, bound what Invalid lists: a body of 3 MB can be wrong in a million places, and
// upstream's library takes time in the square of their number, and of the length of what they say, to tell of them.
const (
	maxCauses     = 1000
	maxCausesText = 1 << 20
)

// Invalid is a 422 that lists what is wrong, field by field: the first 1,000 things, or fewer when they take a megabyte.
func Invalid(group, kind, name string, errs field.ErrorList) *Error {
	told, text := 0, 0
	for told < min(len(errs), maxCauses) && text <= maxCausesText {
		text += len(errs[told].Error())
		told++
	}
	e := fromStatus(apierrors.NewInvalid(schema.GroupKind{Group: group, Kind: kind}, name, errs[:told]))
	if more := len(errs) - told; more > 0 {
		e.Status.Message += fmt.Sprintf(", and %d more", more)
	}
	return e
}

// BadRequest is a 400 with the given message.
func BadRequest(format string, args ...any) *Error {
	return fromStatus(apierrors.NewBadRequest(fmt.Sprintf(format, args...)))
}

// Forbidden is a 403 for what the user may not do, or what admission refuses.
func Forbidden(r Resource, name string, err error) *Error {
	return fromStatus(apierrors.NewForbidden(r.GroupResource(), name, err))
}

// Expired is a 410: the history a watch or a continue token needs is gone.
func Expired(message string) *Error {
	return fromStatus(apierrors.NewResourceExpired(message))
}

// TimedOut is a 504: the outcome of the request is not known.
func TimedOut(message string) *Error {
	return fromStatus(apierrors.NewTimeoutError(message, 0))
}

// NewError makes an Error of any code and reason.
func NewError(code int, reason metav1.StatusReason, format string, args ...any) *Error {
	return &Error{Status: metav1.Status{
		TypeMeta: metav1.TypeMeta{APIVersion: "v1", Kind: "Status"},
		Status:   metav1.StatusFailure, Code: int32(code), Reason: reason, Message: fmt.Sprintf(format, args...),
	}}
}

// IsNotFound reports whether err is a 404.
func IsNotFound(err error) bool { return code(err) == http.StatusNotFound }

// IsConflict reports whether err is a lost race or a failed precondition (409 Conflict, not AlreadyExists).
func IsConflict(err error) bool { return reason(err) == metav1.StatusReasonConflict }

// IsAlreadyExists reports whether err says that the name is taken.
func IsAlreadyExists(err error) bool { return reason(err) == metav1.StatusReasonAlreadyExists }

// IsExpired reports whether err is a 410.
func IsExpired(err error) bool { return code(err) == http.StatusGone }

// HasCause reports whether the details of err's status name a cause: corev1.NamespaceTerminatingCause, for instance.
func HasCause(err error, cause metav1.CauseType) bool {
	if err == nil {
		return false
	}
	d := AsError(err).Status.Details
	return d != nil && slices.ContainsFunc(d.Causes, func(c metav1.StatusCause) bool { return c.Type == cause })
}

func code(err error) int {
	if err == nil {
		return 0
	}
	return int(AsError(err).Status.Code)
}

func reason(err error) metav1.StatusReason {
	if err == nil {
		return ""
	}
	return AsError(err).Status.Reason
}
