package server

import (
	"context"
	"errors"
	"fmt"
	"iter"
	"net/http"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"pintle.dev/api"
	"pintle.dev/store"
)

// patience is how long a read waits for a resourceVersion that lies in the future, as upstream's does.
const patience = 3 * time.Second

// get answers with the newest state of an object; a resourceVersion in the query asks for one at least that new.
func (q *request) get(ctx context.Context) (*api.Response, error) {
	var atLeast api.Revision
	if len(q.Query) > 0 {
		var err error
		if atLeast, err = parseVersion(q.Query.Get("resourceVersion")); err != nil {
			return nil, err
		}
	}
	v, err := q.s.view(ctx, atLeast)
	if err != nil {
		return nil, err
	}
	rec := v.Get(q.d.Resource, q.Key)
	if rec == nil {
		return nil, q.notFound()
	}
	return &api.Response{Record: rec}, nil
}

// view is a snapshot at least as new as a revision. One that does not come in time is a 504 that says how far the
// store is.
func (s *Server) view(ctx context.Context, atLeast api.Revision) (store.View, error) {
	if now := s.Store.Revision(); atLeast > now {
		var cancel context.CancelFunc
		ctx, cancel = context.WithTimeout(ctx, patience)
		defer cancel()
	}
	v, err := s.Store.View(ctx, atLeast)
	if errors.Is(err, context.DeadlineExceeded) {
		return v, tooLarge(atLeast, s.Store.Revision())
	}
	return v, storeError(err)
}

func tooLarge(want, have api.Revision) error {
	e := api.TimedOut(fmt.Sprintf("Too large resource version: %d, current: %d", want, have))
	e.Status.Details = &metav1.StatusDetails{RetryAfterSeconds: 1, Causes: []metav1.StatusCause{{
		Type: metav1.CauseTypeResourceVersionTooLarge, Message: "Too large resource version",
	}}}
	return e
}

// reasonFull is the reason of a 507: upstream has none for a full disk.
const reasonFull metav1.StatusReason = "InsufficientStorage"

// storeError turns what the store cannot do into what the client should do.
func storeError(err error) error {
	switch {
	case err == nil:
		return nil
	case errors.Is(err, store.ErrExpired):
		return api.Expired(listExpired)
	case errors.Is(err, store.ErrUnknown):
		return &api.Error{Status: api.TimedOut("the outcome of the write is not known; read the object to learn it").Status, Err: err}
	case errors.Is(err, store.ErrFull):
		return &api.Error{Status: api.NewError(http.StatusInsufficientStorage, reasonFull, "%s", err).Status, Err: err}
	case errors.Is(err, store.ErrClosed):
		return &api.Error{Status: api.NewError(http.StatusServiceUnavailable, metav1.StatusReasonServiceUnavailable,
			"the server is shutting down").Status, Err: err}
	}
	return err
}

// list answers with one page of one revision (W1).
func (q *request) list(ctx context.Context) (*api.Response, error) {
	o, err := parseListOptions(q.d, q.v, q.Query, api.List)
	if err != nil {
		return nil, err
	}
	if o.timeout > 0 {
		var cancel context.CancelFunc
		ctx, cancel = context.WithTimeout(ctx, o.timeout)
		defer cancel()
	}
	l, err := q.listPage(ctx, &o)
	if err != nil {
		return nil, err
	}
	return &api.Response{List: l}, nil
}

func (q *request) listPage(ctx context.Context, o *listOptions) (*api.RecordList, error) {
	from, err := q.listStart(ctx, o)
	if err != nil {
		return nil, err
	}
	v := from.view
	l := &api.RecordList{Revision: v.Revision()}
	limit := o.limit
	if limit < 0 || o.given && o.version == 0 && o.next == "" {
		limit = 0 // upstream serves resourceVersion=0 whole
	}
	if limit == 0 && o.selector.empty() && from.given == 0 {
		l.Records = make([]*api.Record, 0, v.Len(q.d.Resource, q.Key.Namespace))
	}
	for rec, err := range q.chosen(v, o, from.after) {
		if err != nil {
			return nil, err
		}
		if limit > 0 && int64(len(l.Records)) == limit {
			given := from.given + len(l.Records)
			l.Continue = encodeContinue(int64(v.Revision()), q.Key.Namespace, l.Records[limit-1].Key(), given)
			if o.selector.empty() {
				n := int64(max(v.Len(q.d.Resource, q.Key.Namespace)-given, 1))
				l.Remaining = &n
			}
			break
		}
		l.Records = append(l.Records, rec)
	}
	return l, nil
}

// listStart is where a page begins: the state it reads, the key it comes after, and how many came before.
type listStart struct {
	view  store.View
	after api.Key
	given int
}

func (q *request) listStart(ctx context.Context, o *listOptions) (l listStart, err error) {
	switch {
	case o.next != "":
		var t continueToken
		if t, l.after, err = decodeContinue(o.next, q.Key.Namespace, q.d.Namespaced); err != nil {
			return l, err
		}
		if o.version != 0 {
			return l, api.BadRequest("specifying resource version is not allowed when using continue")
		}
		l.given = t.Given
		if t.Revision == -1 {
			l.view, err = q.s.view(ctx, 0)
			return l, err
		}
		if l.view, err = q.at(ctx, api.Revision(t.Revision)); api.IsExpired(err) {
			e := api.Expired(continueExpired)
			e.Status.Continue = encodeContinue(-1, q.Key.Namespace, l.after, t.Given)
			err = e
		}
	case o.match == metav1.ResourceVersionMatchExact:
		l.view, err = q.at(ctx, o.version)
	default:
		l.view, err = q.s.view(ctx, o.version)
	}
	return l, err
}

// at is the request's table as of a revision; one that lies in the future is waited for a little.
func (q *request) at(ctx context.Context, rev api.Revision) (store.View, error) {
	if _, err := q.s.view(ctx, rev); err != nil {
		return store.View{}, err
	}
	v, err := q.s.Store.At(ctx, q.d.Resource, rev)
	return v, storeError(err)
}

// chosen yields the objects after a key that pass the selector, or the error that keeps it from telling.
func (q *request) chosen(v store.View, o *listOptions, after api.Key) iter.Seq2[*api.Record, error] {
	candidates := q.candidates(v, o, after)
	if !q.v.Converted || o.selector.empty() {
		return func(yield func(*api.Record, error) bool) {
			for rec := range candidates {
				if ok, err := o.selector.matches(q.s, rec); (ok || err != nil) && !yield(rec, err) || err != nil {
					return
				}
			}
		}
	}
	return func(yield func(*api.Record, error) bool) {
		for batch := range batches(candidates) {
			if err := q.s.convertAhead(q.d, q.v, batch); err != nil {
				yield(nil, err)
				return
			}
			for _, rec := range batch {
				if ok, err := o.selector.matches(q.s, rec); (ok || err != nil) && !yield(rec, err) || err != nil {
					return
				}
			}
		}
	}
}

// settled reports whether the indexes of v's objects are those that q's definition declares. Objects stored under an
// earlier one have its.
func (q *request) settled(v store.View) bool {
	switch {
	case q.d.Settled == nil:
		return true
	case q.v.Converted:
		return false
	case q.d.Settled.Load():
		return true
	}
	for rec := range v.All(q.d.Resource, "") {
		if rec.Definition() != q.d.Generation {
			return false
		}
	}
	q.d.Settled.Store(true)
	return true
}

// candidates yields the objects after a key that may pass the selector, by the narrowest way the store has.
func (q *request) candidates(v store.View, o *listOptions, after api.Key) iter.Seq[*api.Record] {
	res, ns := q.d.Resource, q.Key.Namespace
	if name, ok := o.selector.name(); ok && (ns != "" || !q.d.Namespaced) {
		return func(yield func(*api.Record) bool) {
			if rec := v.Get(res, api.Key{Namespace: ns, Name: name}); rec != nil && rec.Key().Compare(after) > 0 {
				yield(rec)
			}
		}
	}
	x, ok := o.selector.index()
	if !ok || !q.settled(v) {
		return v.From(res, ns, after)
	}
	return func(yield func(*api.Record) bool) {
		for rec := range v.ByIndex(res, x) {
			if (ns == "" || rec.Namespace() == ns) && rec.Key().Compare(after) > 0 && !yield(rec) {
				return
			}
		}
	}
}
