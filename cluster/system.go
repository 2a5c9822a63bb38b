package cluster

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"log"
	"log/slog"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"sync"
	"sync/atomic"
	"syscall"
	"time"

	"pintle.dev/admission"
	"pintle.dev/api"
	"pintle.dev/auth"
	"pintle.dev/client"
	"pintle.dev/resource"
	"pintle.dev/resource/builtin"
	"pintle.dev/resource/builtin/core"
	"pintle.dev/server"
	"pintle.dev/server/http2"
	"pintle.dev/store"
	"pintle.dev/store/pebble"
)

// System is a running cluster. Make one with Start.
type System struct {
	config    Config
	log       *slog.Logger
	authority *auth.Authority
	tokens    *auth.Tokens
	store     *store.Store
	engine    *pebble.Backend // of the store; nil when it is in memory
	registry  *resource.Registry
	custom    *resource.CustomResources
	server    *server.Server
	http      *http.Server
	listener  net.Listener

	nodeDir string           // of this machine's node; "" without one
	bound   *client.Handover // pods for the nodes in this process; nil without any
	streams sync.Map         // http.Handler by node name: logs, exec, attach and port-forward
	toNodes nodeCredentials
	ready   atomic.Bool
	running sync.WaitGroup // the workers: controllers, scheduler, nodes
	stop    context.CancelFunc
	admin   *x509.Certificate // in the administrator's kubeconfig; nil when none was written
	failed  chan error        // what ended the system, at most one
}

// shutdownGrace is how long requests that are being answered may take when the system ends.
const shutdownGrace = 5 * time.Second

// Start brings a system up and returns when it is ready. ctx bounds the start only; Close ends the system.
func Start(ctx context.Context, c Config) (_ *System, err error) {
	if err := c.complete(); err != nil {
		return nil, err
	}
	s := &System{config: c, log: c.Log, failed: make(chan error, 1)}
	run, stop := context.WithCancel(context.WithoutCancel(ctx))
	s.stop = stop
	defer func() {
		if err != nil {
			s.Close()
		}
	}()
	if !c.NoNode {
		if s.nodeDir, err = nodeDirectory(c); err != nil {
			return nil, err
		}
	}
	for _, step := range []struct {
		part string
		do   func(ctx, run context.Context) error
	}{
		{"store", s.startStore}, // before all else: its lock keeps a second process from the data directory
		{"certificates", s.startAuthority},
		{"API server", s.startServer},
		{"cluster objects", s.startObjects},
		{"controllers", s.startControllers},
		{"nodes", s.startNodes},
		{"kubeconfig", s.finish},
	} {
		began := time.Now()
		if err := step.do(ctx, run); err != nil {
			return nil, fmt.Errorf("starting %s: %w", step.part, err)
		}
		c.Progress(step.part, time.Since(began))
	}
	return s, nil
}

func (s *System) startAuthority(context.Context, context.Context) (err error) {
	if s.config.Ephemeral {
		s.authority, err = auth.NewAuthority()
	} else {
		s.authority, err = auth.LoadAuthority(filepath.Join(s.config.Data, pkiDirectory))
	}
	if err != nil {
		return err
	}
	if s.config.now != nil {
		s.authority.Now = s.config.now
	}
	s.tokens = auth.NewTokens(s.authority, s.snapshot)
	_, err = s.authority.Renew()
	return err
}

func (s *System) startStore(ctx, run context.Context) error {
	backend, err := openBackend(s.config)
	if err != nil {
		return err
	}
	s.engine, _ = backend.(*pebble.Backend)
	c := s.config.Store
	c.Backend = backend
	if s.store, err = store.Open(ctx, c); err != nil {
		return err
	}
	s.running.Go(func() {
		select {
		case <-run.Done():
		case <-s.store.Failed():
			s.fail(fmt.Errorf("the store has stopped: %w", s.store.Err()))
		}
	})
	return nil
}

func (s *System) startServer(ctx, _ context.Context) error {
	s.registry = resource.NewRegistry(builtin.All()...)
	if err := s.reindex(ctx); err != nil {
		return err
	}
	if err := s.startCustom(ctx); err != nil {
		return err
	}
	authenticator := &auth.Authenticator{Authority: s.authority, Tokens: s.tokens, Log: s.log.Info}
	authorizer := &auth.Authorizer{Snapshot: s.snapshot}
	var bound func(*api.Record, any)
	if s.config.HollowNodes > 0 || !s.config.NoNode {
		s.bound = new(client.Handover)
		bound = s.bound.Give
	}
	var err error
	s.server, err = server.New(server.Config{
		Store:         s.store,
		Registry:      s.registry,
		Authenticate:  authenticator.Authenticate,
		Authorize:     authorizer.Authorize,
		AuthorizePath: authorizer.AuthorizePath,
		Admission:     admission.All(s.snapshot),
		Connect:       s.connections(),
		Answers:       s.answers(authorizer),
		Committed:     s.committed,
		Bound:         bound,
		Checks: []server.Check{
			{Name: "started", Check: s.started},
		},
		Log: s.log,
	})
	if err != nil {
		return err
	}
	if err := s.server.Register(&storeFigures{s.store, s.engine}); err != nil {
		return err
	}
	if s.listener, err = net.Listen("tcp", s.config.Listen); err != nil {
		if errors.Is(err, syscall.EADDRINUSE) {
			return fmt.Errorf("%w: is another server running there? Choose another address with --listen", err)
		}
		return fmt.Errorf("%w: choose another address with --listen", err)
	}
	s.http = &http.Server{
		Handler:           s.renewing(profiled(s.backedUp(s.server, authenticator, authorizer), authenticator, authorizer), authenticator),
		TLSConfig:         authenticator.TLS(s.authority.Serve(s.hosts())),
		ConnContext:       auth.ConnContext,
		ReadHeaderTimeout: 10 * time.Second,
		IdleTimeout:       3 * time.Minute,
		ErrorLog:          log.New(connectionErrors{s.log}, "", 0),
	}
	http2.Configure(s.http)
	s.running.Go(func() {
		if err := s.http.ServeTLS(s.listener, "", ""); err != nil && !errors.Is(err, http.ErrServerClosed) {
			s.fail(fmt.Errorf("serving on %s: %w", s.listener.Addr(), err))
		}
	})
	return nil
}

// connectionErrors logs what net/http says of single connections, handshakes that fail above all, where it can be
// looked for but disturbs nobody.
type connectionErrors struct{ log *slog.Logger }

func (w connectionErrors) Write(p []byte) (int, error) {
	w.log.Debug("connection", "err", string(p))
	return len(p), nil
}

// hosts are the names and addresses in the server's certificate.
func (s *System) hosts() []string {
	hosts := []string{"localhost", "127.0.0.1", "::1", core.KubernetesService,
		"kubernetes", "kubernetes.default", "kubernetes.default.svc", "kubernetes.default.svc.cluster.local"}
	if name, err := os.Hostname(); err == nil {
		hosts = append(hosts, name)
	}
	if a := s.addr(); !a.IP.IsUnspecified() {
		hosts = append(hosts, a.IP.String())
	} else if addrs, err := net.InterfaceAddrs(); err == nil {
		for _, a := range addrs {
			if n, ok := a.(*net.IPNet); ok {
				hosts = append(hosts, n.IP.String())
			}
		}
	}
	hosts = append(hosts, s.config.Hosts...)
	slices.Sort(hosts)
	return slices.Compact(hosts)
}

func (s *System) startObjects(ctx, run context.Context) error {
	c := s.Client("kube-apiserver", auth.UserServer, auth.GroupMasters)
	if err := bootstrap(ctx, c, s.addr()); err != nil {
		return err
	}
	s.running.Go(func() { s.keepObjects(run, c, keepInterval) })
	return nil
}

// keepInterval is how often the cluster's own objects are looked after, as upstream does with the kubernetes Service.
const keepInterval = 10 * time.Second

// keepObjects makes again what somebody deletes of the objects every cluster has.
func (s *System) keepObjects(ctx context.Context, c client.Client, every time.Duration) {
	tick := time.NewTicker(every)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
		if err := bootstrap(ctx, c, s.addr()); err != nil && ctx.Err() == nil {
			s.log.Warn("the cluster's own objects cannot be kept", "err", err)
		}
	}
}

func (s *System) finish(_, run context.Context) error {
	s.ready.Store(true)
	if err := s.writeKubeconfig(); err != nil {
		return err
	}
	s.running.Go(func() { s.keepCertificates(run) })
	return nil
}

// started is the check behind /readyz.
func (s *System) started(context.Context) error {
	if !s.ready.Load() {
		return errors.New("starting")
	}
	return nil
}

func (s *System) snapshot(ctx context.Context) (store.View, error) { return s.store.View(ctx, 0) }

// Client returns a client that calls the request chain in process as the given user. manager is the name its writes
// are owned under.
func (s *System) Client(manager, user string, groups ...string) client.Client {
	c := client.NewLocal(s.server.Handle, func(ctx context.Context, atLeast api.Revision) (client.View, error) {
		return s.store.View(ctx, atLeast)
	}, &api.User{Name: user, Groups: append(slices.Clip(groups), auth.GroupAuthenticated)}, manager)
	c.Handover = s.bound
	return c
}

func (s *System) addr() *net.TCPAddr { return s.listener.Addr().(*net.TCPAddr) }

// URL is where the API is served.
func (s *System) URL() string {
	a := *s.addr()
	if a.IP.IsUnspecified() {
		a.IP = net.IPv4(127, 0, 0, 1)
	}
	return "https://" + a.String()
}

// TLS is a client configuration with a certificate for the given user.
func (s *System) TLS(user string, groups ...string) (*tls.Config, error) {
	cert, key, err := s.authority.Issue(auth.Leaf{User: user, Groups: groups})
	if err != nil {
		return nil, err
	}
	pair, err := tls.X509KeyPair(cert, key)
	if err != nil {
		return nil, err
	}
	return &tls.Config{RootCAs: s.authority.Pool(), Certificates: []tls.Certificate{pair}, MinVersion: tls.VersionTLS12}, nil
}

func (s *System) fail(err error) {
	select {
	case s.failed <- err:
	default: // the first reason is the one that counts
	}
}

// Failed yields the error that ends the system, if one does: a store that can no longer write, a listener that broke.
func (s *System) Failed() <-chan error { return s.failed }

// Close ends the system in reverse: workers first (they release their leases), then the server, the store last. What
// was acknowledged is on disk long before.
func (s *System) Close() error {
	s.stop()
	var errs []error
	if s.server != nil {
		s.server.Close()
	}
	if s.http != nil {
		ctx, cancel := context.WithTimeout(context.Background(), shutdownGrace)
		defer cancel()
		if err := s.http.Shutdown(ctx); err != nil {
			errs = append(errs, s.http.Close())
		}
	}
	s.running.Wait()
	if s.store != nil {
		errs = append(errs, s.store.Close())
	}
	if s.config.Data == "" && s.nodeDir != "" {
		errs = append(errs, os.RemoveAll(s.nodeDir))
	}
	return errors.Join(errs...)
}
