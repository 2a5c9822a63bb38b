package server

import (
	"context"
	"errors"
	"log/slog"
	"net/http"
	"time"

	weighted "golang.org/x/sync/semaphore"

	"pintle.dev/api"
	"pintle.dev/resource"
	"pintle.dev/server/describe"
	"pintle.dev/store"
)

// Config is what a Server is made of. Store and Registry are required; the zero value of anything else has a default.
type Config struct {
	Store    *store.Store
	Registry *resource.Registry

	// Authenticate tells who sends a request; an *api.Error with code 401 when a credential is bad. nil makes everybody
	// a member of system:masters, for tests.
	Authenticate func(*http.Request) (*api.User, error)
	// Authorize decides about requests for resources, AuthorizePath about all others; nil allows everything.
	Authorize     func(ctx context.Context, r *api.Request) error
	AuthorizePath func(u *api.User, verb, path string) error
	// Admission judges and completes what is written; nil admits everything as it is.
	Admission Admission

	// Connect serves subresources that are neither status nor scale nor declared with an Apply: "pods/log", "pods/exec",
	// by "RESOURCE/SUBRESOURCE". The response of a stream has its Handler set.
	Connect map[string]api.Handler
	// Answers serves what is created for its answer and not kept: "tokenreviews", "serviceaccounts/token".
	Answers map[string]Answer

	// Committed is told of every object written or deleted (rec is its last state then), before the writer is
	// answered: what must be in force by then, such as a CRD's registration, is done here.
	Committed func(ctx context.Context, d *resource.Definition, rec *api.Record, deleted bool) error

	// Bound is given every pod that is bound to a node, exactly as its record decodes; nil gives it to nobody.
	Bound func(rec *api.Record, pod any)

	// Checks are the named conditions that /readyz, /livez and /healthz report, in order.
	Checks []Check

	// MaxReads and MaxWrites bound the requests from the network served at once, watches and streams aside; what comes
	// on top gets a 429. Default 400 and 200, upstream's.
	MaxReads, MaxWrites int
	// FrameBudget bounds, in bytes, the memory of encoded watch events that watchers share. Default 8 MiB.
	FrameBudget int
	// ConvertBudget bounds the bytes of objects kept in another form than stored. Default 16 MiB.
	ConvertBudget int
	// BookmarkInterval is the time between bookmarks of a quiet watch. Default one minute.
	BookmarkInterval time.Duration

	Log *slog.Logger
}

// Admission is package admission's chain as the server sees it.
type Admission interface {
	// Completes reports whether Admit may change w.New.
	Completes(w *resource.Write) bool
	// Admit may change w.New, add Guards, or refuse.
	Admit(ctx context.Context, w *resource.Write) error
	// Validate may refuse.
	Validate(ctx context.Context, w *resource.Write) error
}

// Server answers API requests. Make one with New.
type Server struct {
	Config
	frames    frames
	converted conversions
	documents *describe.Documents
	metrics   *metrics
	reads     semaphore
	writes    semaphore
	watches   watches
	stopping  context.Context
	stop      context.CancelFunc

	bodyPatience    time.Duration
	arriving, large *weighted.Weighted // bytes of large bodies: in memory, and worked on
}

// New returns a Server. It owns no goroutine until the first watch; Close ends its watches.
func New(c Config) (*Server, error) {
	if c.Store == nil || c.Registry == nil {
		return nil, errors.New("server: a Store and a Registry are needed")
	}
	if c.MaxReads == 0 {
		c.MaxReads = 400
	}
	if c.MaxWrites == 0 {
		c.MaxWrites = 200
	}
	if c.FrameBudget == 0 {
		c.FrameBudget = 8 << 20
	}
	if c.ConvertBudget == 0 {
		c.ConvertBudget = 16 << 20
	}
	if c.BookmarkInterval == 0 {
		c.BookmarkInterval = time.Minute
	}
	if c.Log == nil {
		c.Log = slog.Default()
	}
	s := &Server{
		Config: c, reads: newSemaphore(c.MaxReads), writes: newSemaphore(c.MaxWrites), bodyPatience: bodyPatience,
		arriving: weighted.NewWeighted(arrivingBudget), large: weighted.NewWeighted(largeBudget),
	}
	s.frames.budget = c.FrameBudget
	s.converted.budget = c.ConvertBudget
	s.documents = describe.New(c.Registry)
	s.metrics = newMetrics(s)
	s.stopping, s.stop = context.WithCancel(context.Background())
	return s, nil
}

// Close ends the watches and streams that are open, as an orderly shutdown wants before the listener closes.
func (s *Server) Close() { s.stop() }

// semaphore bounds what runs at once without making anybody wait.
type semaphore chan struct{}

func newSemaphore(n int) semaphore { return make(semaphore, n) }

func (s semaphore) tryAcquire() bool {
	select {
	case s <- struct{}{}:
		return true
	default:
		return false
	}
}

func (s semaphore) release() { <-s }
