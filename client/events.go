package client

import (
	"context"
	"errors"
	"fmt"
	"hash/maphash"
	"log/slog"
	"net/http"
	"slices"
	"strconv"
	"sync"
	"sync/atomic"
	"time"

	"github.com/google/uuid"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/validation"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"

	"pintle.dev/api"
)

// The limits of client-go's event recorder.
const (
	eventsRemembered  = 4096             // distinct events, objects and groups a recorder remembers, each
	eventGroupSize    = 10               // messages of one object and reason that are kept apart
	eventGroupWindow  = 10 * time.Minute // ... within this time
	eventBurst        = 25               // events about one object before they are held to one per eventRefill
	eventRefill       = 5 * time.Minute
	eventAttempts     = 12 // when the API does not answer
	eventRetry        = 10 * time.Second
	eventShards       = 16     // events about different objects that are written at a time
	eventsWaiting     = 16_384 // of all shards; more are dropped
	eventGroupMessage = "(combined from similar events): "
)

// Recorder writes Events about objects the way client-go's recorder does: a repeated event raises the count of the
// first, ten different messages for one reason become one event, and an object that is the cause of more than a burst
// of events is held to one in five minutes. It never blocks its caller: events wait in memory and are dropped, and
// counted, only when the API is far behind. The zero of all state is free, so a Recorder per node is cheap.
type Recorder struct {
	client          Client
	component, host string

	dropped atomic.Uint64
	waiting atomic.Int64
	pending sync.WaitGroup
	shards  [eventShards]eventShard
	seed    maphash.Seed

	ctx    context.Context // ends when Close has waited long enough
	cancel context.CancelFunc

	mu     sync.Mutex
	last   int64                // nanoseconds in the newest event's name
	groups recent[groupState]   // by eventGroup
	seen   recent[writtenEvent] // by eventIdentity, or eventGroup once it is combined
	spam   recent[bucket]       // by eventObject
}

// An eventShard writes its events in order; its goroutine lives while there are any.
type eventShard struct {
	mu      sync.Mutex
	queue   []*corev1.Event
	running bool
}

// NewRecorder returns a Recorder that writes as component ("deployment-controller"), on the named host ("" for none).
func NewRecorder(c Client, component, host string) *Recorder {
	ctx, cancel := context.WithCancel(context.Background())
	return &Recorder{client: c, component: component, host: host, seed: maphash.MakeSeed(), ctx: ctx, cancel: cancel}
}

// Reference names an object in an Event. Its TypeMeta must be set, as it is on everything decoded from a record.
func Reference(o interface {
	runtime.Object
	metav1.Object
}) corev1.ObjectReference {
	gvk := o.GetObjectKind().GroupVersionKind()
	return corev1.ObjectReference{
		Kind: gvk.Kind, APIVersion: gvk.GroupVersion().String(), Namespace: o.GetNamespace(), Name: o.GetName(),
		UID: o.GetUID(), ResourceVersion: o.GetResourceVersion(),
	}
}

// Normal records an event of type Normal.
func (r *Recorder) Normal(about corev1.ObjectReference, reason, format string, args ...any) {
	r.record(about, corev1.EventTypeNormal, reason, message(format, args))
}

// Warning records an event of type Warning.
func (r *Recorder) Warning(about corev1.ObjectReference, reason, format string, args ...any) {
	r.record(about, corev1.EventTypeWarning, reason, message(format, args))
}

func message(format string, args []any) string {
	if len(args) == 0 {
		return format
	}
	return fmt.Sprintf(format, args...)
}

// Dropped is how many events were not written because too many were waiting.
func (r *Recorder) Dropped() uint64 { return r.dropped.Load() }

// Close waits until everything recorded before it has been written, or ctx ends, and stops the Recorder.
func (r *Recorder) Close(ctx context.Context) error {
	defer r.cancel()
	done := make(chan struct{})
	go func() {
		r.pending.Wait()
		close(done)
	}()
	select {
	case <-done:
		return nil
	case <-ctx.Done():
		return fmt.Errorf("writing the last events of %s: %w", r.component, ctx.Err())
	}
}

func (r *Recorder) record(about corev1.ObjectReference, kind, reason, message string) {
	if r.waiting.Add(1) > eventsWaiting {
		r.waiting.Add(-1)
		r.dropped.Add(1)
		return
	}
	t := metav1.NewTime(time.Now())
	ev := &corev1.Event{
		TypeMeta:            metav1.TypeMeta{APIVersion: "v1", Kind: "Event"},
		ObjectMeta:          metav1.ObjectMeta{Namespace: about.Namespace},
		InvolvedObject:      about,
		Reason:              reason,
		Message:             message,
		Source:              corev1.EventSource{Component: r.component, Host: r.host},
		ReportingController: r.component,
		ReportingInstance:   r.host,
		FirstTimestamp:      t,
		LastTimestamp:       t,
		Count:               1,
		Type:                kind,
	}
	if ev.Namespace == "" {
		ev.Namespace = metav1.NamespaceDefault
	}
	s := &r.shards[maphash.Comparable(r.seed, [3]string{about.Namespace, about.Name, string(about.UID)})%eventShards]
	r.pending.Add(1)
	s.mu.Lock()
	defer s.mu.Unlock()
	s.queue = append(s.queue, ev)
	if !s.running {
		s.running = true
		go r.drain(s)
	}
}

func (r *Recorder) drain(s *eventShard) {
	for {
		s.mu.Lock()
		if len(s.queue) == 0 {
			s.queue, s.running = nil, false
			s.mu.Unlock()
			return
		}
		ev := s.queue[0]
		s.queue[0] = nil
		s.queue = s.queue[1:]
		s.mu.Unlock()
		r.write(ev)
		r.waiting.Add(-1)
		r.pending.Done()
	}
}

// object identifies what an event is about; group adds the reason, identity the message.
type (
	eventObject struct {
		kind, namespace, name, uid, apiVersion, eventType string
	}
	eventGroup struct {
		eventObject
		reason string
	}
	eventIdentity struct {
		eventGroup
		fieldPath, message string
	}
)

func objectKey(ev *corev1.Event) eventObject {
	o := ev.InvolvedObject
	return eventObject{o.Kind, o.Namespace, o.Name, string(o.UID), o.APIVersion, ev.Type}
}

// groupState is what is known of the recent messages of a group.
type groupState struct {
	messages [eventGroupSize - 1]uint64 // hashes of the first ones
	n        int
	last     time.Time
}

// combine takes a message in. It reports whether there are too many of them by now to keep this one apart.
func (g *groupState) combine(message uint64, now time.Time) bool {
	if now.Sub(g.last) > eventGroupWindow {
		g.n = 0
	}
	g.last = now
	switch {
	case slices.Contains(g.messages[:g.n], message):
		return false
	case g.n == len(g.messages):
		return true
	}
	g.messages[g.n] = message
	g.n++
	return false
}

// bucket is a token bucket of eventBurst tokens, one more every eventRefill.
type bucket struct {
	tokens float64
	last   time.Time
}

func (b *bucket) take(now time.Time) bool {
	b.tokens = min(eventBurst, b.tokens+now.Sub(b.last).Seconds()/eventRefill.Seconds())
	b.last = now
	if b.tokens < 1 {
		return false
	}
	b.tokens--
	return true
}

// writtenEvent is the Event written for an identity or a group.
type writtenEvent struct {
	name  string
	count int32
}

// correlate decides what becomes of an event: an addition to one written before (repeat), a new one, or nothing. ev is
// completed accordingly.
func (r *Recorder) correlate(ev *corev1.Event) (repeat, skip bool) {
	object := objectKey(ev)
	group := eventGroup{object, ev.Reason}
	objectHash, groupHash := maphash.Comparable(r.seed, object), maphash.Comparable(r.seed, group)
	key := maphash.Comparable(r.seed, eventIdentity{group, ev.InvolvedObject.FieldPath, ev.Message})
	message := maphash.String(r.seed, ev.Message)

	r.mu.Lock()
	defer r.mu.Unlock()
	now := ev.LastTimestamp.Time
	r.last = max(now.UnixNano(), r.last+1)
	ev.Name = eventName(ev.InvolvedObject.Name, r.last)

	g := r.groups.get(groupHash)
	if g == nil {
		g = r.groups.add(groupHash)
	}
	if g.combine(message, now) {
		ev.Message = eventGroupMessage + ev.Message
		key = groupHash
	}

	w := r.seen.get(key)
	if repeat = w != nil; repeat {
		ev.Name, ev.Count = w.name, w.count+1
	} else {
		w = r.seen.add(key)
	}
	*w = writtenEvent{ev.Name, ev.Count}

	b := r.spam.get(objectHash)
	if b == nil {
		b = r.spam.add(objectHash)
		*b = bucket{tokens: eventBurst, last: now}
	}
	return repeat, !b.take(now)
}

// eventName makes the name of an event of the object's and a time.
func eventName(object string, nanoseconds int64) string {
	b := make([]byte, 0, len(object)+17)
	b = append(append(b, object...), '.')
	name := string(strconv.AppendInt(b, nanoseconds, 16))
	if !validEventName(name) {
		return uuid.NewString()
	}
	return name
}

// validEventName reports whether an event may have the name, which is made of an object's and may be no DNS subdomain
// then. Almost all are, and are seen to be without a regular expression.
func validEventName(name string) bool {
	if len(name) > 253 {
		return false
	}
	for i := range len(name) {
		switch c := name[i]; {
		case c >= 'a' && c <= 'z' || c >= '0' && c <= '9':
		case i > 0 && name[i-1] != '.' && (c == '-' || c == '.' && name[i-1] != '-'): // the last is a digit
		default:
			return len(validation.NameIsDNSSubdomain(name, false)) == 0
		}
	}
	return true
}

func (r *Recorder) write(ev *corev1.Event) {
	repeat, skip := r.correlate(ev)
	if skip {
		return
	}
	for attempt := 1; ; attempt++ {
		err := r.store(ev, repeat)
		if err == nil || r.ctx.Err() != nil {
			return
		}
		final := refused(err)
		if final && (api.IsAlreadyExists(err) || api.HasCause(err, corev1.NamespaceTerminatingCause)) {
			return
		}
		if final || attempt == eventAttempts {
			slog.Error("event not recorded", "about", ev.InvolvedObject.Kind+" "+ev.Namespace+"/"+ev.InvolvedObject.Name,
				"reason", ev.Reason, "message", ev.Message, "err", err)
			return
		}
		select {
		case <-time.After(eventRetry):
		case <-r.ctx.Done():
		}
	}
}

// refused reports whether the API answered that it will not have the event, rather than not answering: an internal
// error with a cause is what a lost connection looks like.
func refused(err error) bool {
	var e *api.Error
	if !errors.As(err, &e) {
		return false
	}
	switch e.Status.Code {
	case http.StatusTooManyRequests, http.StatusServiceUnavailable, http.StatusGatewayTimeout:
		return false
	case http.StatusInternalServerError:
		return e.Err == nil
	}
	return true
}

// store raises the count of the event on the server, or creates it when it is new or has expired there.
func (r *Recorder) store(ev *corev1.Event, repeat bool) error {
	if repeat {
		p, err := MergePatch(struct {
			Count         int32       `json:"count"`
			LastTimestamp metav1.Time `json:"lastTimestamp"`
			Message       string      `json:"message"`
		}{ev.Count, ev.LastTimestamp, ev.Message})
		if err != nil {
			return err
		}
		if _, err = Events.Patch(r.ctx, r.client, KeyOf(ev), p); !api.IsNotFound(err) {
			return err
		}
	}
	_, err := Events.Create(r.ctx, r.client, ev)
	return err
}
