package server

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"io"
	"mime"
	"net/http"
	"strings"
	"sync"
	"time"
	"unicode/utf8"

	weighted "golang.org/x/sync/semaphore"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"

	"pintle.dev/api"
	"pintle.dev/object"
	"pintle.dev/server/accept"
)

const (
	// maxBody bounds a request's body, in bytes: upstream's 3 MiB.
	maxBody = 3 << 20
	// bodyPatience is how long a body may take to arrive, and an answer to be read: upstream's bound for a request as a
	// whole.
	bodyPatience = time.Minute
	// trustedLength is how much memory a declared length alone is given.
	trustedLength = 64 << 10
	// Bodies above largeBody bytes wait for each other: at most arrivingBudget bytes of them are in memory, so that many
	// slow clients together cannot take more, and at most largeBudget are worked on at once: a million empty objects in
	// 3 MB take 50 times that when they are read. Each further largeBody bytes have their share of bodyPatience to arrive
	// (5 s: 52 kB/s), so that those who stall keep others waiting no longer. The room is reserved as a whole: bodies that
	// took it as they arrive could wait for each other for ever.
	largeBody      = 256 << 10
	arrivingBudget = 64 << 20
	largeBudget    = 2 * maxBody
)

// acquire waits until there is room for n bytes of a large body; release, which may be called again, gives it back.
func (x *exchange) acquire(room *weighted.Weighted, n int) (release func(), err error) {
	if n <= largeBody {
		return func() {}, nil
	}
	ctx, cancel := context.WithTimeout(x.r.Context(), x.s.bodyPatience)
	defer cancel()
	if err := room.Acquire(ctx, int64(n)); err != nil {
		return nil, x.tooMany()
	}
	return sync.OnceFunc(func() { room.Release(int64(n)) }), nil
}

// tooMany is the 429 that asks to try again in a second.
func (x *exchange) tooMany() error {
	x.w.Header().Set("Retry-After", "1")
	return api.NewError(http.StatusTooManyRequests, metav1.StatusReasonTooManyRequests, "Too many requests, please try again later.")
}

func errTooLarge() error {
	return api.NewError(http.StatusRequestEntityTooLarge, metav1.StatusReasonRequestEntityTooLarge,
		"Request entity too large: limit is %d", maxBody)
}

// readBody reads the body and its media type into the request. release is called when it is needed no longer.
func (x *exchange) readBody(q *request) (release func(), err error) {
	r := x.r
	release = func() {}
	q.ContentType = mediaType(r.Header.Get("Content-Type"), q.Verb != api.Patch)
	if q.Verb == api.Patch {
		if err := checkPatchType(q); err != nil {
			return nil, err
		}
	}
	if r.ContentLength > maxBody {
		return nil, errTooLarge()
	}
	if streams(q.d, q.Subresource) || r.Body == nil {
		return release, nil
	}
	var b bytes.Buffer
	if r.ContentLength > 0 {
		b.Grow(int(min(r.ContentLength, trustedLength)) + bytes.MinRead)
	}
	if err := x.receive(&b, largeBody, x.s.bodyPatience); err != nil {
		return nil, err
	}
	if b.Len() == largeBody && r.ContentLength != largeBody {
		n := maxBody // unless it says how much is to come
		if r.ContentLength > 0 {
			n = int(r.ContentLength)
		}
		if release, err = x.acquire(x.s.arriving, n); err != nil {
			return nil, err
		}
		b.Grow(n - b.Len() + bytes.MinRead)
		const steps = maxBody / largeBody
		for most := largeBody; b.Len() == most && most <= n; {
			most = min(most+largeBody, n+1)
			if err := x.receive(&b, most, x.s.bodyPatience/steps); err != nil {
				release()
				return nil, err
			}
		}
	}
	if b.Len() > maxBody {
		release()
		return nil, errTooLarge()
	}
	q.Body = b.Bytes()
	if q.ContentType != accept.TypeYAML && q.ContentType != string(types.ApplyYAMLPatchType) {
		q.Body = readable(q.Body)
	}
	return release, nil
}

// readable is a JSON text with U+FFFD for each byte that is not UTF-8, as upstream's decoder reads it; its decoder of YAML
// refuses them. What is no JSON stays as it is.
func readable(text []byte) []byte {
	if utf8.Valid(text) || !json.Valid(text) {
		return text
	}
	runes := make([]byte, 0, len(text)+len(text)/2)
	for len(text) > 0 {
		r, n := utf8.DecodeRune(text) // U+FFFD for one byte when it is none
		runes = utf8.AppendRune(runes, r)
		text = text[n:]
	}
	return runes
}

// receive reads the body on until b has most bytes, which have patience to arrive.
func (x *exchange) receive(b *bytes.Buffer, most int, patience time.Duration) error {
	// A timer is free when it does not fire; a read deadline is one too, which takes the connection's lock to set and again
	// to take back.
	late := time.AfterFunc(patience, func() {
		if err := http.NewResponseController(x.w).SetReadDeadline(time.Now()); err != nil {
			x.s.Log.Debug("a slow body cannot be broken off", "err", err)
		}
	})
	began := b.Len()
	_, err := b.ReadFrom(io.LimitReader(x.r.Body, int64(most-b.Len())))
	if !late.Stop() {
		x.w.Header().Set("Connection", "close")
		return api.NewError(http.StatusGatewayTimeout, metav1.StatusReasonTimeout,
			"Timeout: bytes %d to %d of the request's body did not arrive within %s", began, most, patience)
	}
	if err != nil {
		if errors.Is(err, io.ErrUnexpectedEOF) {
			return api.BadRequest("the body ends before its declared length")
		}
		return api.BadRequest("reading the body: %s", err)
	}
	return nil
}

// breakOff ends the writing of an answer that its client has not read in bodyPatience: it counts as a request being
// served, and a few clients that stop reading would keep all others out.
func (x *exchange) breakOff() *time.Timer {
	return time.AfterFunc(x.s.bodyPatience, func() {
		if err := http.NewResponseController(x.w).SetWriteDeadline(time.Now()); err != nil {
			x.s.Log.Debug("an answer that is not read cannot be broken off", "err", err)
		}
	})
}

// mediaType is a Content-Type without its parameters, or when strict and they are malformed, all of it: no type there is.
// Upstream passes over the parameters of patches only.
func mediaType(s string, strict bool) string {
	t, _, parameters := strings.Cut(s, ";")
	if strict && parameters {
		if _, _, err := mime.ParseMediaType(s); err != nil {
			return s
		}
	}
	return strings.ToLower(strings.TrimSpace(t))
}

// jsonBody is the body as JSON. Types that the resource does not take are upstream's 415.
func (q *request) jsonBody() ([]byte, error) {
	switch q.ContentType {
	case "", accept.TypeJSON:
		return q.Body, nil
	case accept.TypeYAML:
		b, err := object.FromYAML(q.Body)
		if err != nil {
			return nil, api.BadRequest("the object provided is unrecognized (must be of type %s): %s (%s)", q.kind(), err, summary(q.Body))
		}
		return b, nil
	}
	return nil, errBodyType()
}

// errBodyType is the 415 for a body of a type that objects are not sent in.
func errBodyType() error {
	return api.NewError(http.StatusUnsupportedMediaType, metav1.StatusReasonUnsupportedMediaType,
		"the body of the request was in an unknown format - accepted media types include: %s, %s, %s",
		accept.TypeJSON, accept.TypeYAML, accept.TypeProtobuf)
}
